"""The media store and the space that is left."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Final

from tabario.clients.store import open_store
from tabario.doctor.findings import Finding, fail, ok, warn
from tabario.settings import MediaSettings, MetricsSettings

PROBE_KEY: Final = "doctor/probe"
PROBE: Final = b"written by tabario doctor"
LITTLE: Final = 10 * 2**30
TOO_LITTLE: Final = 2 * 2**30


async def check_store(settings: MediaSettings) -> list[Finding]:
    """Writes a few bytes, reads them again and removes them."""
    store = open_store(settings)
    await store.put_bytes(PROBE_KEY, PROBE)
    read = await store.read_bytes(PROBE_KEY)
    await store.remove(PROBE_KEY)
    if read != PROBE:
        return [fail("media-store", "The media store gives back other bytes than it was given.", "Check its disk.")]
    return [ok("media-store", "The media store can be written and read.")]


async def check_disk(media: MediaSettings, metrics: MetricsSettings) -> list[Finding]:
    """The space on this host: for films, for a film in the making, for metrics that wait."""
    films = {"media": media.root} if media.bucket is None else {}
    places = {**films, "work": Path(tempfile.gettempdir()), "metrics": metrics.directory}
    return [judge_space(name, shutil.disk_usage(_existing(path)).free) for name, path in places.items()]


def judge_space(name: str, free: int) -> Finding:
    """A finding about `free` bytes."""
    check, text = f"disk-{name}", f"{free / 2**30:.1f} GiB are free for {name}."
    if free < TOO_LITTLE:
        return fail(check, text, "Free space, or run `tabario prune`.")
    if free < LITTLE:
        return warn(check, text, "Free space soon, or run `tabario prune`.")
    return ok(check, text)


def _existing(path: Path) -> Path:
    """The directory, or the nearest above it that is there already."""
    path = path.resolve()
    return path if path.exists() else _existing(path.parent)
