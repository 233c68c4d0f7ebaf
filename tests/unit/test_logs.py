"""What a line of a log holds."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import anyio
import yaml
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext

from tabario.logs import PREFECT_LOGGING, JsonFormatter, WithoutSecrets, logging_about


def line(*, extra: Mapping[str, object] | None = None, error: Exception | None = None) -> Any:  # noqa: ANN401 - JSON
    trouble = (type(error), error, None) if error is not None else None
    record = logging.getLogger("tabario.test").makeRecord(
        "tabario.test", logging.WARNING, "test.py", 1, "Painted.", (), trouble, extra=extra
    )
    return json.loads(JsonFormatter().format(record))


def test_a_record_is_one_line_of_json() -> None:
    text = JsonFormatter().format(logging.makeLogRecord({"msg": "two\nlines, %s", "args": ("ä",), "name": "x"}))
    assert "\n" not in text
    assert json.loads(text)["message"] == "two\nlines, ä"


def test_a_line_says_when_how_bad_and_from_where() -> None:
    found = line()
    assert found.keys() == {"time", "level", "logger", "message"}
    assert (found["level"], found["logger"], found["message"]) == ("warning", "tabario.test", "Painted.")
    assert found["time"].endswith("+00:00")


def test_a_line_says_what_it_is_about_within_the_block_only() -> None:
    with logging_about(run_id="lisbon"):
        with logging_about(stage="images"):
            inner = line()
        outer = line()
    assert (inner["run_id"], inner["stage"]) == ("lisbon", "images")
    assert outer["run_id"] == "lisbon"
    assert "stage" not in outer
    assert "run_id" not in line()


async def test_threads_and_tasks_of_the_block_know_what_they_are_about() -> None:
    found: list[Any] = []

    async def note() -> None:
        found.append(line())

    with logging_about(run_id="lisbon"):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(note)
        found.append(await anyio.to_thread.run_sync(line))
    assert [one["run_id"] for one in found] == ["lisbon", "lisbon"]


def test_what_prefect_knows_of_a_run_is_on_the_line() -> None:
    extra = {"flow_run_id": "0b0f6a52", "task_run_name": "image 01"}
    assert line(extra=extra).items() >= {"flow_run_id": "0b0f6a52", "task": "image 01"}.items()
    assert "task" not in line(extra={"flow_run_id": "0b0f6a52", "task_run_name": None})


def test_the_trace_is_on_the_line() -> None:
    span = NonRecordingSpan(SpanContext(trace_id=0xABC, span_id=1, is_remote=False))
    with trace.use_span(span):
        assert line()["trace_id"] == f"{0xABC:032x}"
    assert "trace_id" not in line()


def test_an_error_brings_its_traceback() -> None:
    assert line(error=ValueError("no such voice"))["exception"].endswith("ValueError: no such voice")


def test_prefect_is_told_to_log_so_and_to_show_a_runs_log_in_its_ui() -> None:
    told = yaml.safe_load(PREFECT_LOGGING.read_text(encoding="utf-8"))
    assert told["formatters"]["json"]["()"] == "tabario.logs.JsonFormatter"
    assert told["root"]["handlers"] == ["console"]
    assert all(told["loggers"][name]["handlers"] == ["run"] for name in ("prefect.flow_runs", "prefect.task_runs"))


def test_a_request_is_logged_without_what_opens_a_film() -> None:
    record = logging.LogRecord("uvicorn.access", logging.INFO, __file__, 1, '%s - "%s %s" %d', None, None)
    record.args = ("10.0.0.7:4711", "GET", "/orchestrate/films/eyJhbGciOi.JIUzI1.NiJ9?token=eyJhbGciOi", 206)
    assert WithoutSecrets().filter(record)
    line = record.getMessage()
    assert "eyJ" not in line
    assert line.startswith('10.0.0.7:4711 - "GET /orchestrate/films/')
    assert line.endswith(" 206")
