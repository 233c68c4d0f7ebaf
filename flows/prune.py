"""Makes room in the media store, once a day."""

from __future__ import annotations

from prefect import flow, get_run_logger

from blocks.loading import load
from blocks.media import MediaStoreLocation
from tabario import names
from tabario.pruning import prune


@flow(name=names.PRUNE_FLOW, persist_result=False)
async def prune_media() -> str:
    """Removes films and parts that have had their time."""
    location = await load(MediaStoreLocation, names.MEDIA_STORE_BLOCK)
    pruned = await prune(location.open(), location.settings())
    get_run_logger().info("%s", pruned)
    return str(pruned)
