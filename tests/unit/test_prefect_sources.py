"""Prefect sources in states that a real server cannot be brought into at will."""

from __future__ import annotations

import json

import httpx
import pytest

from monitoring.collectors.runs import FlowRuns
from monitoring.collectors.slots import Slots
from monitoring.collectors.workers import Workers
from monitoring.prefect_reader import PrefectReader, open_prefect_reader
from tabario import names
from tabario.settings import PrefectSettings, SlotSettings
from tests.support.exposition import Exposition

IN_USE = "video_orchestrator_slots_in_use"


class PrefectDouble:
    """Answers with the limits, workers and counts it is given; knows no deployment."""

    def __init__(self) -> None:
        self.limits: list[dict[str, object]] = []

    def reader(self) -> PrefectReader:
        return PrefectReader(
            httpx.AsyncClient(transport=httpx.MockTransport(self._answer), base_url="http://prefect/api")
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        match request.url.path:
            case "/api/v2/concurrency_limits/filter":
                body = json.loads(request.content)
                return httpx.Response(200, json=self.limits[body["offset"] : body["offset"] + body["limit"]])
            case "/api/flow_runs/count":
                return httpx.Response(200, json=0)
            case "/api/flow_runs/filter":
                return httpx.Response(200, json=[])
        return httpx.Response(404)


def limit(user: int, slots: int) -> dict[str, object]:
    return {"name": names.slot_limit(str(user)), "limit": slots, "active_slots": slots}


async def test_slots_of_many_users_are_shown_after_a_complete_pass() -> None:
    prefect = PrefectDouble()
    prefect.limits = [limit(user, 3 if user % 2 else 1) for user in range(5)]
    source = Slots(prefect.reader(), SlotSettings(), page_size=4)

    first = Exposition.of(await source.read())
    assert first.value(IN_USE, tier="standard") is None, "half a pass is not the truth"
    assert first.value("video_orchestrator_slots_limit", tier="premium") == 3

    second = Exposition.of(await source.read())
    assert (second.value(IN_USE, tier="standard"), second.value(IN_USE, tier="premium")) == (3, 6)

    prefect.limits = []
    passes = [Exposition.of(await source.read()).value(IN_USE, tier="premium") for _ in range(2)]
    assert passes == [0, 0]


async def test_a_pass_that_ends_with_a_full_page_is_complete_with_the_empty_one() -> None:
    prefect = PrefectDouble()
    prefect.limits = [limit(user, 1) for user in range(4)]
    source = Slots(prefect.reader(), SlotSettings(), page_size=2)
    seen = [Exposition.of(await source.read()).value(IN_USE, tier="standard") for _ in range(6)]
    assert seen == [None, None, 4, 4, 4, 4]


async def test_before_the_deployment_is_registered_nothing_runs_and_nobody_works() -> None:
    reader = PrefectDouble().reader()
    runs, workers = Exposition.of(await FlowRuns(reader).read()), Exposition.of(await Workers(reader).read())
    assert runs.value("video_orchestrator_flow_runs", state="running") == 0
    assert runs.value("video_orchestrator_queue_oldest_age_seconds", work_queue="premium") == 0
    assert workers.value("worker_active") == 0


async def test_an_unwell_prefect_is_an_error_and_not_a_zero() -> None:
    async with open_prefect_reader(PrefectSettings(url="http://127.0.0.1:1/api")) as reader:
        for source in (Workers(reader), FlowRuns(reader), Slots(reader, SlotSettings())):
            with pytest.raises(httpx.ConnectError):
                await source.read()


async def test_the_auth_string_is_sent_as_basic_credentials() -> None:
    settings = PrefectSettings.model_validate({"url": "http://prefect/api", "auth_string": "admin:pass:word"})
    async with open_prefect_reader(settings) as reader:
        request = reader._http.build_request("GET", "/health")
        flow = reader._http.auth.auth_flow(request) if reader._http.auth else iter((request,))
        assert next(flow).headers["Authorization"] == "Basic YWRtaW46cGFzczp3b3Jk"
