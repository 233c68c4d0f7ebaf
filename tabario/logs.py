"""Logs as one JSON object a line, each with what it is about: the request, the run, its stage, the trace.

Headers, bodies and queries are in no record, and links to films are cut, so no token can be. Prefect's worker and the
flow runs that it starts are told by `PREFECT_LOGGING`, a file of Prefect's own kind.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from opentelemetry import trace

PREFECT_LOGGING: Final = Path(__file__).with_name("logging.yml")
PREFECT_LOGGING_VARIABLE: Final = "PREFECT_LOGGING_SETTINGS_PATH"

_FROM_PREFECT: Final = {"flow_run_id": "flow_run_id", "task_run_name": "task"}
_QUIET: Final = ("httpx", "httpcore")  # a line for every call to Prefect tells nobody anything

_SECRET_PART: Final = re.compile(r"(?<=/orchestrate/films/)[^?\s]+|(?<=\?)\S+")

_about: Final[ContextVar[dict[str, str]]] = ContextVar("about", default={})  # noqa: B039 - never changed, only replaced


@contextmanager
def logging_about(**fields: str) -> Iterator[None]:
    """Every record of the block, and of the tasks and threads that it starts, carries these fields too."""
    token = _about.set(_about.get() | fields)
    try:
        yield
    finally:
        _about.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_of_prefect(record),
            **_about.get(),
            **_of_trace(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class WithoutSecrets(logging.Filter):
    """Cuts what opens a film out of the paths of requests, and every query."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Lets every record through."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                _SECRET_PART.sub("...", part) if isinstance(part, str) else part for part in record.args
            )
        return True


def configure_logging() -> None:
    """Sends every logger's records of level INFO and above to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("uvicorn.access").addFilter(WithoutSecrets())
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)


def _of_prefect(record: logging.LogRecord) -> dict[str, str]:
    """What Prefect's loggers of runs say of themselves."""
    found = {ours: getattr(record, theirs, None) for theirs, ours in _FROM_PREFECT.items()}
    return {name: str(value) for name, value in found.items() if value not in (None, "<unknown>")}


def _of_trace() -> dict[str, str]:
    context = trace.get_current_span().get_span_context()
    return {"trace_id": trace.format_trace_id(context.trace_id)} if context.is_valid else {}
