"""Which files of the media store have had their time: by age, and by what a user may keep."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tabario.clients.store import MediaStore, StoredFile
from tabario.settings import MediaSettings
from tabario.slots.clock import Clock, utc_now

UNTOUCHED: Final = timedelta(days=1)
"""A younger file may belong to a job that runs: it stays, whatever the quota says."""

FILMS: Final = "runs"
PARTS: Final = "content"


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed: files and bytes; `leftovers` are half-written files of writers that died."""

    files: int
    size: int
    leftovers: int

    def __str__(self) -> str:
        return f"{self.files} files removed, {self.size / 2**30:.2f} GiB; {self.leftovers} leftovers"


async def prune(store: MediaStore, settings: MediaSettings, *, write: bool = True, clock: Clock = utc_now) -> Pruned:
    """Removes what has had its time; without `write` only tells what it would remove."""
    victims = overdue(await store.files(), settings, now=clock())
    if write:
        for file in victims:
            await store.remove(file.key)
    leftovers = await store.remove_leftovers() if write else 0
    return Pruned(files=len(victims), size=sum(file.size for file in victims), leftovers=leftovers)


def overdue(files: Iterable[StoredFile], settings: MediaSettings, *, now: datetime) -> list[StoredFile]:
    """The files to remove: those too old, and of users with too much the oldest, parts before films."""
    users: defaultdict[str, list[StoredFile]] = defaultdict(list)
    for file in files:
        kind, _, rest = file.key.partition("/")
        if kind in (FILMS, PARTS):
            users[rest.partition("/")[0]].append(file)
    return [file for kept in users.values() for file in _overdue_of_user(kept, settings, now=now)]


def _overdue_of_user(files: Sequence[StoredFile], settings: MediaSettings, *, now: datetime) -> list[StoredFile]:
    ages = {FILMS: timedelta(days=settings.keep_films_days), PARTS: timedelta(days=settings.keep_parts_days)}
    old = [file for file in files if now - file.modified > ages[_kind(file)]]
    kept = [file for file in files if file not in old]
    excess = sum(file.size for file in kept) - settings.quota_gib * 2**30
    for file in sorted(kept, key=lambda file: (_kind(file) == FILMS, file.modified)):
        if excess <= 0:
            break
        if now - file.modified > UNTOUCHED:
            old.append(file)
            excess -= file.size
    return old


def _kind(file: StoredFile) -> str:
    return file.key.partition("/")[0]
