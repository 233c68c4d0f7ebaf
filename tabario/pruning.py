"""Which files of the media store have had their time: by age, and by what a user may keep."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from tabario.clients.store import MediaStore, StoredFile
from tabario.errors import NotFound
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
        victims = [file for file in victims if await _removed(store, file)]
    leftovers = await store.remove_leftovers() if write else 0
    return Pruned(files=len(victims), size=sum(file.size for file in victims), leftovers=leftovers)


async def _removed(store: MediaStore, file: StoredFile) -> bool:
    """Removes a file unless a job has adopted it since the store was listed."""
    try:
        if await store.modified(file.key) > file.modified:
            return False
    except NotFound:
        return False
    await store.remove(file.key)
    return True


def overdue(files: Iterable[StoredFile], settings: MediaSettings, *, now: datetime) -> list[StoredFile]:
    """The files to remove: those too old, and of users with too much the oldest, parts before films.

    The files of a part go together: a voiceover without its sound, or without its words, would be of no use.
    """
    users: defaultdict[str, defaultdict[str, list[StoredFile]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        kind, _, rest = file.key.partition("/")
        if kind in (FILMS, PARTS):
            whole = file.key.rpartition(".")[0] if kind == PARTS else file.key
            users[rest.partition("/")[0]][whole].append(file)
    return [
        file
        for wholes in users.values()
        for whole in _overdue_of_user([_Whole.of(kept) for kept in wholes.values()], settings, now=now)
        for file in whole.files
    ]


@dataclass(frozen=True, slots=True)
class _Whole:
    """A film, or the files of a part, as old as the youngest of them. `files` are in the order in which they may go."""

    kind: str
    files: tuple[StoredFile, ...]
    size: int
    modified: datetime

    @classmethod
    def of(cls, files: Sequence[StoredFile]) -> Self:
        return cls(
            kind=files[0].key.partition("/")[0],
            files=tuple(
                sorted(files, key=lambda file: file.key)
            ),  # `.json`, the sign that all are there, before `.wav`
            size=sum(file.size for file in files),
            modified=max(file.modified for file in files),
        )


def _overdue_of_user(wholes: Sequence[_Whole], settings: MediaSettings, *, now: datetime) -> list[_Whole]:
    ages = {FILMS: timedelta(days=settings.keep_films_days), PARTS: timedelta(days=settings.keep_parts_days)}
    old = [whole for whole in wholes if now - whole.modified > ages[whole.kind]]
    kept = [whole for whole in wholes if whole not in old]
    excess = sum(whole.size for whole in kept) - settings.quota_gib * 2**30
    for whole in sorted(kept, key=lambda whole: (whole.kind == FILMS, whole.modified)):
        if excess <= 0:
            break
        if now - whole.modified > UNTOUCHED:
            old.append(whole)
            excess -= whole.size
    return old
