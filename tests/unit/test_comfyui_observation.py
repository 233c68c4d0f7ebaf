"""What is told of an HTTP exchange with ComfyUI that fails."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tabario.clients.comfyui.routes import ComfyUIUnavailable, Routes


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
