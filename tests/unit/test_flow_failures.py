from __future__ import annotations

import errno

import pytest
from prefect.client.schemas.objects import State, TaskRun
from prefect.states import Failed

from flows.failures import failure_of
from flows.stages import can_be_repeated
from flows.voiceover import voiceover
from tabario.errors import (
    ConfigurationError,
    ImageFailed,
    ImageTimedOut,
    InvalidInput,
    MergeFailed,
    RetryLater,
    TabarioError,
)
from tabario.records import JobFailure, Stage


@pytest.mark.parametrize(
    ("stage", "error", "expected"),
    [
        (
            Stage.IMAGES,
            ImageFailed("ComfyUI could not paint."),
            ("image_failed", "error", "images: ComfyUI could not paint."),
        ),
        (Stage.IMAGES, ImageTimedOut("Too slow."), ("image_timed_out", "timeout", "images: Too slow.")),
        (
            Stage.IMAGES,
            RetryLater("ComfyUI does not answer."),
            (
                "unavailable",
                "error",
                "images: ComfyUI does not answer. Start ComfyUI or check TABARIO_COMFYUI_URL.",
            ),
        ),
        (Stage.QUEUED, ConfigurationError("Deploy first."), ("misconfigured", "error", "start: Deploy first.")),
        (
            Stage.SCENE_PLAN,
            InvalidInput("prompts", "has 9 scenes, too many."),
            ("invalid_input", "error", "scene_plan: prompts has 9 scenes, too many."),
        ),
        (
            Stage.MERGE,
            OSError(errno.ENOSPC, "No space left on device", "/secret/path"),
            ("disk_full", "error", "merge: The disk is full. Free some space."),
        ),
    ],
)
def test_a_failure_says_stage_code_reason_and_what_to_do(
    stage: Stage, error: Exception, expected: tuple[str, str, str]
) -> None:
    code, reason, message = expected
    assert failure_of(stage, error) == JobFailure(stage=stage, code=code, reason=reason, message=message)


def test_the_text_of_an_unknown_error_stays_in_the_log() -> None:
    failure = failure_of(Stage.MERGE, KeyError("redis://:secret@host"))

    assert failure.code == "internal_error"
    assert "secret" not in failure.message


def caused_by_a_full_disk() -> TabarioError:
    error = RetryLater("The store cannot be read.")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


def test_a_full_disk_is_named_behind_another_error() -> None:
    assert failure_of(Stage.MERGE, caused_by_a_full_disk()).code == "disk_full"


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (RetryLater("Busy."), True),
        (MergeFailed("Broken."), False),
        (ValueError("A mistake."), False),
        (caused_by_a_full_disk(), False),
    ],
)
def test_only_what_may_succeed_later_is_tried_again(error: Exception, *, repeated: bool) -> None:
    state: State[Exception] = Failed(data=error)

    assert can_be_repeated(voiceover, TaskRun(task_key="voiceover", dynamic_key="1"), state) is repeated
