"""Faults that the stand-in can be told to make, by name, so often as asked."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Fault(StrEnum):
    """One way in which a ComfyUI server misbehaves. Each is taken where it strikes and counted there."""

    PROMPT_ANSWERS_500 = "prompt_answers_500"
    """POST /prompt answers 500 and queues nothing."""
    QUEUED_BUT_500 = "queued_but_500"
    """POST /prompt answers 500 although the prompt is queued."""
    REPLY_DROPPED = "reply_dropped"
    """POST /prompt queues the prompt and closes the connection in mid-reply."""
    SLOW_REPLY = "slow_reply"
    """POST /prompt queues the prompt and answers `seconds` later."""
    STATE_LOST = "state_lost"
    """The server restarts in the middle of a prompt: queue, history, cache and sockets are gone."""
    EXECUTOR_DEATH = "executor_death"
    """The executor dies with a prompt in its hands: everything is accepted, nothing runs."""
    NODE_ERROR = "node_error"
    """The sampler raises an error."""
    OUT_OF_MEMORY = "out_of_memory"
    """The sampler runs out of graphics memory."""
    HANG = "hang"
    """The sampler never comes to an end, until it is interrupted."""
    BLACK_PICTURE = "black_picture"
    """The picture is all black."""
    TRUNCATED_PICTURE = "truncated_picture"
    """The picture's file ends in the middle."""
    WRONG_SIZE_PICTURE = "wrong_size_picture"
    """The picture has half the width and height asked for."""
    MISSING_FILE = "missing_file"
    """GET /view answers 404 for a file that is there."""
    LATE_HISTORY = "late_history"
    """The history entry comes `seconds` after the message execution_success."""
    DEAF_WEBSOCKET = "deaf_websocket"
    """A new websocket is told nothing, not even the first status."""


@dataclass
class ArmedFault:
    """A fault that will strike `times` times, after it has spared `after` occasions."""

    fault: Fault
    times: int = 1
    after: int = 0
    seconds: float = 1.0


class Faults:
    """The armed faults. Several of one name strike one after the other."""

    def __init__(self) -> None:
        self._armed: list[ArmedFault] = []

    def arm(self, armed: ArmedFault) -> None:
        """Adds a fault."""
        self._armed.append(armed)

    def disarm(self) -> None:
        """Removes every fault."""
        self._armed.clear()

    def take(self, fault: Fault) -> ArmedFault | None:
        """The fault when it is to strike on this occasion; counts the occasion."""
        armed = next((candidate for candidate in self._armed if candidate.fault is fault), None)
        if armed is None:
            return None
        if armed.after > 0:
            armed.after -= 1
            return None
        armed.times -= 1
        if armed.times <= 0:
            self._armed.remove(armed)
        return armed

    def describe(self) -> list[dict[str, Any]]:
        """The armed faults, for /standin/faults."""
        return [asdict(armed) for armed in self._armed]
