"""The scene plan: which words are shown over which picture, and for how long.

A scene begins with its first word and lasts until the next scene's first word; the first begins at 0, the last ends
with the film. Explicit prompts of the caller decide how many scenes there are; otherwise sentences are grouped, or
divided, into scenes that last a pleasant time.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tabario.errors import InvalidInput
from tabario.jobs import JobSpec, SceneChange, ScenePrompt
from tabario.scenes import Scene, Word
from tabario.script import Break, Token, tokens
from tabario.styles import STYLES

TARGET_SECONDS: Final = 4.5
SHORTEST_SECONDS: Final = 2.5
LONGEST_SECONDS: Final = 8.0

_SPREAD_SECONDS: Final = 2.0  # a scene that is this much off the target costs 1
_BREAK_COST: Final = {Break.SENTENCE: 0.0, Break.CLAUSE: 1.5, Break.WORD: 6.0}
_OUT_OF_BOUNDS_COST: Final = 40.0  # per second beyond the bounds: worse than any break
_SNAP: Final = 0.35  # share of an explicit scene that its end may move to meet the end of a sentence or clause
_NOT_DESCRIBING: Final = frozenset({"So", "Sk", "Cf", "Pi", "Pf", "Cn", "Co"})  # Unicode categories
_EDGES: Final = re.compile(r"^\W+|[^\w%]+$")


class _Cut(NamedTuple):
    """A moment where a scene may begin: with the word of this index."""

    word: int
    second: float
    strength: Break


def plan_scenes(spec: JobSpec, words: Sequence[Word], duration: float, *, user_id: str) -> tuple[Scene, ...]:
    """The scenes of a film of `duration` seconds, contiguous and in order.

    `words` are those of `tabario.script.tokens(spec.script)` with their times.
    Raises InvalidInput when the caller gives more prompts than the script has words to spread over them.
    """
    script = tokens(spec.script)
    cuts = _possible_cuts(script, words, duration)
    chosen = _divide(cuts, duration, len(spec.prompts)) if spec.prompts else _group(cuts, duration)
    bounds = [(0, 0.0), *((cut.word, cut.second) for cut in chosen), (len(script), duration)]
    return tuple(
        _scene(spec, number, _text(spec.script, script[first:until]), start, end, user_id=user_id)
        for number, ((first, start), (until, end)) in enumerate(pairwise(bounds), 1)
    )


def change_scenes(scenes: Sequence[Scene], spec: JobSpec, changes: Mapping[int, SceneChange]) -> tuple[Scene, ...]:
    """The scenes with other seeds, and other prompts where the changes have one."""
    return tuple(_changed(scene, spec, changes.get(scene.index)) for scene in scenes)


def _changed(scene: Scene, spec: JobSpec, change: SceneChange | None) -> Scene:
    if change is None:
        return scene
    image_prompt = _styled(change.image_prompt, spec) if change.image_prompt else scene.image_prompt
    return scene.model_copy(update={"seed": change.seed, "image_prompt": image_prompt})


def _possible_cuts(script: Sequence[Token], words: Sequence[Word], duration: float) -> list[_Cut]:
    """Every word's start that is later than the one before."""
    cuts: list[_Cut] = []
    last = 0.0
    for index, (before, word) in enumerate(zip(script, words[1:], strict=False), 1):
        if last < word.start < duration:
            cuts.append(_Cut(index, word.start, before.break_after))
            last = word.start
    return cuts


def _group(cuts: Sequence[_Cut], duration: float) -> list[_Cut]:
    """The cheapest choice of cuts, by how long the scenes last and by what they cut apart."""
    starts = [0.0, *(cut.second for cut in cuts), duration]
    prices = [0.0, *(_BREAK_COST[cut.strength] for cut in cuts), 0.0]
    costs, origins = [0.0], [0]
    for end in range(1, len(starts)):
        cost, origin = min(
            (costs[start] + _length_cost(starts[end] - starts[start]), start) for start in _near(starts, end)
        )
        costs.append(cost + prices[end])
        origins.append(origin)
    chosen: list[_Cut] = []
    at = origins[-1]
    while at:
        chosen.append(cuts[at - 1])
        at = origins[at]
    return chosen[::-1]


def _near(starts: Sequence[float], end: int) -> Iterator[int]:
    """Where a scene that ends there may begin: as far back as the longest scene, and at least one step."""
    for start in range(end - 1, -1, -1):
        yield start
        if starts[end] - starts[start] > LONGEST_SECONDS + SHORTEST_SECONDS:
            return


def _length_cost(seconds: float) -> float:
    beyond = max(SHORTEST_SECONDS - seconds, seconds - LONGEST_SECONDS, 0.0)
    return ((seconds - TARGET_SECONDS) / _SPREAD_SECONDS) ** 2 + _OUT_OF_BOUNDS_COST * beyond


def _divide(cuts: Sequence[_Cut], duration: float, count: int) -> list[_Cut]:
    """`count - 1` cuts that share the film out evenly, each moved to a better break that is near."""
    if len(cuts) < count - 1:
        raise InvalidInput("prompts", f"has {count} scenes, more than the script has words: {len(cuts) + 1}.")
    share = duration / count
    chosen: list[_Cut] = []
    first = 0
    for number in range(1, count):
        after_last = len(cuts) - (count - 1 - number)  # leaves one cut for each scene that follows
        ideal = number * share
        nearest = min(range(first, after_last), key=lambda at: abs(cuts[at].second - ideal))
        near = [at for at in range(first, after_last) if abs(cuts[at].second - ideal) <= _SNAP * share]
        best = max([nearest, *near], key=lambda at: (cuts[at].strength, -abs(cuts[at].second - ideal)))
        chosen.append(cuts[best])
        first = best + 1
    return chosen


def _text(script: str, words: Sequence[Token]) -> str:
    return " ".join(script[words[0].start : words[-1].stop].split())


def _scene(spec: JobSpec, number: int, text: str, start: float, end: float, *, user_id: str) -> Scene:  # noqa: PLR0913 - a scene has this many sides
    given = spec.prompts[number - 1] if spec.prompts else None
    subject = given.image_prompt if given else _describe(text)
    image_prompt = _styled(subject, spec)
    return Scene(
        index=number,
        text=text,
        image_prompt=image_prompt,
        start=start,
        end=end,
        seed=_seed(spec, given, image_prompt, number, user_id=user_id),
        black=given is not None and given.black,
    )


def _styled(subject: str, spec: JobSpec) -> str:
    return ", ".join(filter(None, (subject, STYLES[spec.image_style].prompt)))


def _describe(text: str) -> str:
    """The spoken words as a description: without quotes, symbols such as emoji, and the marks at its end."""
    plain = "".join(" " if unicodedata.category(character) in _NOT_DESCRIBING else character for character in text)
    return _EDGES.sub("", " ".join(plain.split()))


def _seed(spec: JobSpec, given: ScenePrompt | None, image_prompt: str, number: int, *, user_id: str) -> int:
    """The same for the same scene of the same user, so that a job sent again finds its pictures. 0 to 2**32 - 1.

    What the caller asks for goes first: the scene's own seed, then the job's, from which each scene gets another.
    """
    if given is not None and given.seed is not None:
        return given.seed
    parts = (user_id, image_prompt, spec.image_style, str(number))
    digest = hashlib.sha256("\x00".join(parts if spec.seed is None else (*parts, str(spec.seed))).encode())
    return int.from_bytes(digest.digest()[:4], "big")
