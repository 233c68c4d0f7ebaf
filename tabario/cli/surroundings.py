"""For commands that look at a running system: the one that the variables describe, else the stack that runs here."""

from __future__ import annotations

from tabario.embedded.stack import Stack
from tabario.embedded.state import StackDirectory
from tabario.settings import (
    ApiSettings,
    ComfyUISettings,
    CoreSettings,
    EmbeddedSettings,
    MetricsSettings,
    RedisSettings,
)
from tabario.settings_source import adopt, is_set, read_group, variable_name


def adopt_running_stack() -> bool:
    """Takes over what the stack in this directory tells its own processes, unless variables say where Redis is.

    Says whether there is a system to look at.
    """
    if is_set(variable_name(RedisSettings, "url")):
        return True
    directory = StackDirectory(read_group(CoreSettings).state_dir)
    running = directory.running()
    if running is not None:
        adopt({**read_stack(directory).environment(), variable_name(ComfyUISettings, "url"): running.comfyui_url})
    return running is not None


def read_stack(directory: StackDirectory) -> Stack:
    """The stack that the variables describe, with a ComfyUI stand-in unless they name real servers."""
    comfyui = read_group(ComfyUISettings) if is_set(variable_name(ComfyUISettings, "url")) else None
    groups = read_group(EmbeddedSettings), read_group(ApiSettings), read_group(MetricsSettings)
    return Stack(directory, *groups, comfyui=comfyui)
