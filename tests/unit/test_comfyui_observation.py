"""What is told of an HTTP exchange with ComfyUI that fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from flows.measures import RequestMeasures
from monitoring.families import recorded_families
from tabario.clients.comfyui.routes import ComfyUIUnavailable, Routes
from tabario.metrics.ledger import MetricsLedger
from tabario.metrics.recorder import RedisRecorder
from tabario.metrics.spool import Spool
from tests.support.exposition import Exposition


def raises(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    return answer


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (raises(httpx.ConnectError("refused")), "connect"),
        (raises(httpx.ConnectTimeout("late")), "timeout"),
        (raises(httpx.ReadTimeout("late")), "timeout"),
        (raises(httpx.RemoteProtocolError("gone")), "error"),
        (lambda _: httpx.Response(503), "5xx"),
        (lambda _: httpx.Response(404), "4xx"),
        (lambda _: httpx.Response(302, headers={"Location": "https://proxy.example/login"}), "4xx"),
    ],
)
async def test_an_exchange_is_told_by_its_status_or_by_why_no_answer_came(
    answer: Callable[[httpx.Request], httpx.Response], expected: str
) -> None:
    told: list[tuple[str, str]] = []

    async def observe(endpoint: str, outcome: str, seconds: float) -> None:
        assert seconds >= 0
        told.append((endpoint, outcome))

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://comfyui") as http:
        with pytest.raises(ComfyUIUnavailable):
            await Routes(http, observe).history("0b0f6a52")
    assert told == [("/history", expected)]


async def test_a_redirect_by_a_proxy_counts_as_an_answer_that_refuses(redis: Redis, tmp_path: Path) -> None:
    ledger = MetricsLedger(redis)
    measures = RequestMeasures(RedisRecorder(ledger, Spool(tmp_path)))
    redirect = httpx.MockTransport(lambda _: httpx.Response(302, headers={"Location": "https://proxy.example/login"}))
    async with httpx.AsyncClient(transport=redirect, base_url="http://comfyui") as http:
        with pytest.raises(ComfyUIUnavailable):
            await Routes(http, measures).history("0b0f6a52")
    totals = Exposition.of(recorded_families((await ledger.read()).values))
    assert totals.value("comfyui_requests_total", endpoint="/history", status="4xx") == 1
    assert totals.value("video_orchestrator_comfyui_request_errors_total", reason="error") == 0
