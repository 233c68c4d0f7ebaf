"""Logs as one JSON object a line, each with the id of the request that it belongs to."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from api.headers import current_request_id


class JsonFormatter(logging.Formatter):
    """Formats a record as a JSON object. Headers and bodies are in no record, so no token can be."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request_id := current_request_id.get():
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def configure_logging() -> None:
    """Sends every logger's records of level INFO and above to standard error as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every call to Prefect tells nobody anything
