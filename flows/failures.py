"""Why a job failed, in words that its owner and an operator understand."""

from __future__ import annotations

import errno
from typing import Final

from tabario.errors import ConfigurationError, InvalidInput, RetryLater, StageFailed
from tabario.records import JobFailure, Stage

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

_ADVICE: Final[dict[Stage, str]] = {
    Stage.VOICEOVER: "Start the voice service or check TABARIO_VOICE_URL.",
    Stage.IMAGES: "Start ComfyUI or check TABARIO_COMFYUI_URL.",
    Stage.PUBLISH: "Check Redis and the media store.",
}


def failure_of(stage: Stage, error: Exception) -> JobFailure:
    """The record of a failure. The message of an unknown error stays in the log: it may hold anything."""
    match error:
        case _ if is_disk_full(error):
            return _failure(stage, "disk_full", "The disk is full. Free some space.")
        case StageFailed():
            return _failure(stage, error.code, str(error), reason=error.reason)
        case RetryLater():
            return _failure(stage, error.code, f"{error} {_ADVICE.get(stage, 'Try again later.')}")
        case InvalidInput():
            return _failure(stage, error.code, f"{error.field} {error}")
        case ConfigurationError():
            return _failure(stage, error.code, str(error))
        case _:
            return _failure(stage, "internal_error", "An unexpected error. The log of the flow run has the details.")


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk is the error or what led to it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return True
        error = error.__cause__
    return False


def _failure(stage: Stage, code: str, sentence: str, *, reason: str = "error") -> JobFailure:
    place = "start" if stage is Stage.QUEUED else stage.value
    return JobFailure(stage=stage, code=code, reason=reason, message=f"{place}: {sentence}")
