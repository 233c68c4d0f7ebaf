"""Every error of the project, in one tree. The type says what to do next.

TabarioError
├── CallerError            the request is wrong: the caller mends it (4xx)
│   ├── InvalidInput           a field is wrong; names it and says how to mend it (422)
│   ├── Unauthenticated        no valid token (401)
│   ├── Forbidden              a valid token that may not do this (403)
│   ├── NotFound               no such run of this user (404)
│   ├── Conflict               the state of things refuses it (409)
│   │   ├── SlotsFull              every slot of the tier is taken (409, Retry-After)
│   │   └── InProgress             the same request is being served (409, Retry-After)
│   └── TooManyRequests        the caller asks too often (429, Retry-After)
├── RetryLater             a part is down or busy: the same call may succeed later (503)
├── ConfigurationError     the operator mends a setting; the start is refused
└── StageFailed            a stage of a job failed for good
    ├── VoiceFailed
    ├── ImageFailed
    │   └── ImageTimedOut
    ├── MergeFailed
    │   └── FilmRefused        the finished film did not pass its gate
    └── PublishFailed

`code` is stable and goes to callers; the message must be fit for a caller's eyes:
no secret, no path, no address of an internal server.
"""

from __future__ import annotations

from typing import ClassVar


class TabarioError(Exception):
    """Root of the tree. `str(error)` is one sentence fit for callers and operators."""

    code: ClassVar[str] = "internal_error"


class CallerError(TabarioError):
    """The caller's request is at fault."""

    code = "bad_request"


class InvalidInput(CallerError):
    """A field of the request is wrong. `field` is its dotted path in the body."""

    code = "invalid_input"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Unauthenticated(CallerError):
    """No valid access token. The message is for the log, never for the caller."""

    code = "invalid_token"


class Forbidden(CallerError):
    """The token is valid but does not allow this."""

    code = "forbidden"


class NotFound(CallerError):
    """There is no such thing, or it belongs to somebody else."""

    code = "not_found"


class Conflict(CallerError):
    """The present state of things does not allow the request."""

    code = "conflict"

    def __init__(self, message: str, *, code: str = "conflict") -> None:
        super().__init__(message)
        self.conflict_code = code


class SlotsFull(Conflict):
    """Every slot of the user's tier is taken.

    `limit` is the number of slots, `retry_after` a hint in whole seconds.
    """

    code = "slots_full"

    def __init__(self, *, limit: int, retry_after: int) -> None:
        taken = "Your slot is" if limit == 1 else f"All of your {limit} slots are"
        super().__init__(f"{taken} taken. Wait for a job to end, or cancel one.", code="slots_full")
        self.limit = limit
        self.retry_after = retry_after


class InProgress(Conflict):
    """The same request is being served at this moment. `retry_after` is in whole seconds."""

    code = "in_progress"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message, code="in_progress")
        self.retry_after = retry_after


class TooManyRequests(CallerError):
    """The caller asks too often. `retry_after` is in whole seconds."""

    code = "too_many_requests"

    def __init__(self, message: str, *, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class RetryLater(TabarioError):
    """A part of the system cannot serve now. `retry_after` is in whole seconds."""

    code = "unavailable"

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigurationError(TabarioError):
    """A setting is missing or contradicts another; the message says what to set."""

    code = "misconfigured"


class StageFailed(TabarioError):
    """A stage of a job failed for good.

    `reason` is one of a closed list fit for a metric label: "timeout" or "error".
    """

    code = "stage_failed"
    stage: ClassVar[str] = "job"

    def __init__(self, message: str, *, reason: str = "error") -> None:
        super().__init__(message)
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), str(self), self.reason))


def _rebuild(kind: type[StageFailed], message: str, reason: str) -> StageFailed:
    return kind(message, reason=reason)


class VoiceFailed(StageFailed):
    """No voice engine could speak the script."""

    code = "voice_failed"
    stage = "voiceover"


class ImageFailed(StageFailed):
    """ComfyUI could not make a picture."""

    code = "image_failed"
    stage = "images"


class ImageTimedOut(ImageFailed):
    """A picture was not ready in time."""

    code = "image_timed_out"

    def __init__(self, message: str, *, reason: str = "timeout") -> None:
        super().__init__(message, reason=reason)


class MergeFailed(StageFailed):
    """ffmpeg could not make the film."""

    code = "merge_failed"
    stage = "merge"


class FilmRefused(MergeFailed):
    """The finished film did not pass its gate; the message says why."""

    code = "film_refused"


class PublishFailed(StageFailed):
    """The finished film could not be stored."""

    code = "publish_failed"
    stage = "publish"
