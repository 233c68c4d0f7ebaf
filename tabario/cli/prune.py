"""`tabario prune`: makes room in the media store now."""

from __future__ import annotations

from tabario.cli.surroundings import adopt_running_stack
from tabario.clients.store import open_store
from tabario.pruning import Pruned, prune
from tabario.settings import MediaSettings
from tabario.settings_source import read_group


async def prune_store(*, write: bool) -> Pruned:
    """Removes from the store of the settings, or of the stack that runs here, what has had its time."""
    adopt_running_stack()
    settings = read_group(MediaSettings)
    return await prune(open_store(settings), settings, write=write)
