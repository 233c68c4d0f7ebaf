"""A webhook on its way: what is sent, and what became of each attempt."""

from __future__ import annotations

from enum import StrEnum

from pydantic import AwareDatetime, BaseModel, ConfigDict


class EventName(StrEnum):
    """What a webhook tells."""

    JOB_COMPLETED = "job_completed"
    JOB_FAILED = "job_failed"


class Delivery(StrEnum):
    """How far a webhook is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"


class Attempt(BaseModel):
    """One attempt. `status` is the host's answer, `problem` says why there was none; both fit for operators."""

    model_config = ConfigDict(frozen=True)

    at: AwareDatetime
    seconds: float
    status: int | None = None
    problem: str | None = None

    def __str__(self) -> str:
        return f"answered {self.status}" if self.problem is None else self.problem


class Message(BaseModel):
    """A webhook. `id` and `body` are the same in every attempt; `tries` counts the attempts since the last replay."""

    model_config = ConfigDict(frozen=True)

    id: str
    event: EventName
    run_id: str
    body: str
    created_at: AwareDatetime
    delivery: Delivery = Delivery.PENDING
    tries: int = 0
    attempts: tuple[Attempt, ...] = ()
