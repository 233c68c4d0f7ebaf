"""The opaque cursor of a list of runs: where the last page ended.

Runs are ordered by the time they were due. Prefect can only say "at or before", so the cursor also names the runs of
that very time that have been shown.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Self
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from tabario.clients.prefect.models import FlowRunBody
from tabario.errors import InvalidInput


class Cursor(BaseModel):
    """Go on with runs due at or before `due`, without those in `shown`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    due: AwareDatetime
    shown: frozenset[UUID] = Field(max_length=200)

    @classmethod
    def read(cls, text: str) -> Self:
        """The cursor that a caller sent back. Raises InvalidInput."""
        try:
            return cls.model_validate_json(urlsafe_b64decode(text.encode("ascii")))
        except (ValueError, ValidationError) as error:
            raise InvalidInput("cursor", "Is not a cursor of this list; leave it out to start anew.") from error

    @classmethod
    def after(cls, page: Sequence[FlowRunBody], before: Self | None) -> Self:
        """The cursor that follows a page, which came after the cursor `before`."""
        due = _due(page[-1])
        shown = {body.id for body in page if _due(body) == due}
        if before is not None and before.due == due:
            shown |= before.shown
        return cls(due=due, shown=frozenset(shown))

    def __str__(self) -> str:
        return urlsafe_b64encode(self.model_dump_json().encode()).decode("ascii")


def _due(body: FlowRunBody) -> AwareDatetime:
    return body.expected_start_time or body.created
