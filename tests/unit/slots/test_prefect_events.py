from __future__ import annotations

import json
from uuid import UUID

import pytest

from tabario.clients.prefect.events import ended_run, events_url
from tabario.settings import PrefectSettings

RUN = UUID("7d0c7a30-5b1e-4a57-9a3e-0d6c0d2f3a11")


def message(resource_id: str, state_type: str | None) -> str:
    resource = {"prefect.resource.id": resource_id, "prefect.resource.name": "a run"}
    if state_type is not None:
        resource["prefect.state-type"] = state_type
    return json.dumps({"type": "event", "event": {"event": "prefect.flow-run.X", "resource": resource}})


@pytest.mark.parametrize("state_type", ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"])
def test_an_end_names_its_run(state_type: str) -> None:
    assert ended_run(message(f"prefect.flow-run.{RUN}", state_type)) == RUN


@pytest.mark.parametrize(
    "text",
    [
        message(f"prefect.flow-run.{RUN}", "RUNNING"),
        message(f"prefect.flow-run.{RUN}", None),
        message(f"prefect.task-run.{RUN}", "COMPLETED"),
        message("prefect.flow-run.not-an-id", "COMPLETED"),
        '{"type": "event"}',
        "[]",
        "no json",
    ],
)
def test_anything_else_names_none(text: str) -> None:
    assert ended_run(text) is None


def test_the_stream_has_the_apis_host_and_the_websocket_scheme() -> None:
    assert events_url(PrefectSettings(url="https://prefect/api/")) == "wss://prefect/api/events/out"
