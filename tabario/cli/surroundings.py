"""For commands that look at a running system: the one that the variables describe, else the stack that runs here."""

from __future__ import annotations

from tabario.embedded.stack import Stack
from tabario.embedded.state import StackDirectory
from tabario.settings import ApiSettings, CoreSettings, EmbeddedSettings, MetricsSettings, RedisSettings
from tabario.settings_source import adopt, is_set, read_group, variable_name


def adopt_running_stack() -> None:
    """Takes over what the stack in this directory tells its own processes, unless variables say where Redis is."""
    if is_set(variable_name(RedisSettings, "url")):
        return
    directory = StackDirectory(read_group(CoreSettings).state_dir)
    if directory.running() is None:
        return
    stack = Stack(directory, read_group(EmbeddedSettings), read_group(ApiSettings), read_group(MetricsSettings))
    adopt(stack.environment())
