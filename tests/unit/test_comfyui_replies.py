from __future__ import annotations

from typing import Any

import pytest

from tabario.clients.comfyui.replies import EndedPrompt, Queue, Submission, UploadedImage, public
from tabario.clients.comfyui.watchdog import HeadWatch


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("cannot identify image file '/opt/data/input/a.png'\n", "cannot identify image file '(path)'"),
        (r"no such file: C:\Users\me\a.png", "no such file: (path)"),
        ("Invalid image file: ../../etc/passwd", "Invalid image file: (path)"),
        ("could not reach http://10.0.0.7:80/x now", "could not reach (address) now"),
        ("expected 4 and/or 5 channels", "expected 4 and/or 5 channels"),
        ("CUDA out of memory.\nTried at 0x7f00", "CUDA out of memory."),
        ("", ""),
    ],
)
def test_message_loses_its_paths_and_addresses(message: str, shown: str) -> None:
    assert public(message) == shown


def test_long_message_is_cut() -> None:
    assert len(public("x" * 5_000)) == 301


def ended(**changes: object) -> EndedPrompt:
    entry = {
        "prompt": [3, "an-id", {}, {"job_id": "j"}, ["9"]],
        "outputs": {},
        "status": {"status_str": "success", "completed": True, "messages": []},
        "meta": {},
        **changes,
    }
    return EndedPrompt.model_validate(entry)


def test_picture_is_chosen_by_its_node_and_only_saved_files_count() -> None:
    def saved(name: str, kind: str = "output") -> dict[str, str]:
        return {"filename": name, "subfolder": "s", "type": kind}

    entry = ended(
        outputs={
            "4": {"images": [saved("other.png")]},
            "9": {
                "text": ["a text"],
                "animated": [False],
                "images": [saved("preview.png", "temp"), saved("right.png")],
            },
        }
    )
    assert [file.filename for file in entry.saved_files("9")] == ["right.png"]
    assert entry.saved_files("no such node") == []


def test_failure_names_the_node_and_its_exception() -> None:
    error = {
        "node_type": "KSampler",
        "exception_type": "torch.OutOfMemoryError",
        "exception_message": "Allocation on device\nmore",
        "traceback": ["/opt/secret.py"],
    }
    status = {"status_str": "error", "completed": False, "messages": [["execution_error", error]]}
    entry = ended(status=status)
    assert entry.failure == "its node KSampler failed with torch.OutOfMemoryError: Allocation on device"
    assert not entry.succeeded
    assert not entry.interrupted


def test_interruption_is_told_from_failure() -> None:
    status = {"status_str": "error", "completed": False, "messages": [["execution_interrupted", {"node_id": "3"}]]}
    assert ended(status=status).interrupted


def queue(*running: list[Any], pending: tuple[list[Any], ...] = ()) -> Queue:
    return Queue.model_validate({"queue_running": list(running), "queue_pending": list(pending)})


def test_queue_finds_running_and_pending_prompts_and_bears_missing_extra_data() -> None:
    both = queue([1, "a", {}, None, []], pending=([2.5, "b", {}, {"job_id": "j"}, [], "one field more"],))
    assert both.head is not None
    assert (both.head.prompt_id, both.head.extra_data) == ("a", {})
    found = both.find("b")
    assert found is not None
    assert (found.number, found.extra_data) == (2.5, {"job_id": "j"})
    assert both.find("c") is None


@pytest.mark.parametrize(
    ("reply", "refusal"),
    [
        ({"prompt_id": "x", "number": 1, "node_errors": {}}, None),
        (
            {"prompt_id": "x", "number": 1, "node_errors": {"3": {"class_type": "SaveImage", "errors": [
                {"type": "required_input_missing", "message": "Required input is missing", "details": "images"}]}}},
            "SaveImage: Required input is missing (images)",
        ),
        (
            {"error": {"type": "missing_node_type", "message": "Node 'X' not found.", "details": "Node ID '#1'"},
             "node_errors": {}},
            "Node 'X' not found. (Node ID '#1')",
        ),
        ({"error": "a plain text"}, "a plain text"),
        ({"error": {"message": "No prompt provided", "details": ""}, "node_errors": []}, "No prompt provided"),
    ],
)  # fmt: skip
def test_refusal_says_why(reply: dict[str, Any], refusal: str | None) -> None:
    assert Submission.model_validate(reply).refusal == refusal


def test_uploaded_image_is_referred_to_by_the_name_the_server_gave_it() -> None:
    assert (
        UploadedImage.model_validate({"name": "ref (1).png", "subfolder": "", "type": "input"}).reference
        == "ref (1).png"
    )
    assert UploadedImage.model_validate({"name": "a.png", "subfolder": "s", "type": "input"}).reference == "s/a.png"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_head_that_stays_too_long_is_stuck_and_a_new_submission_of_it_is_not() -> None:
    clock = Clock()
    watch = HeadWatch(10, clock)
    watch.note(queue([1, "a", {}, {}, []]))
    clock.now = 9
    watch.note(queue([1, "a", {}, {}, []]))
    assert not watch.is_stuck
    clock.now = 11
    watch.note(queue([1, "a", {}, {}, []]))
    assert watch.is_stuck
    watch.note(queue([2, "a", {}, {}, []]))
    assert not watch.is_stuck


def test_queue_that_waits_without_a_head_is_stuck_and_an_empty_one_is_not() -> None:
    clock = Clock()
    watch = HeadWatch(10, clock)
    watch.note(queue())
    clock.now = 11
    watch.note(queue())
    assert not watch.is_stuck
    watch.note(queue(pending=([1, "a", {}, {}, []],)))
    clock.now = 22
    watch.note(queue(pending=([1, "a", {}, {}, []],)))
    assert watch.is_stuck
