from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest

from tabario.clients.prefect.http import NotDone, OutcomeUnknown, PrefectHttp, authorization
from tabario.errors import ConfigurationError, RetryLater
from tabario.settings import PrefectSettings

Answer = httpx.Response | Exception


class Server:
    """Answers in turn, the last answer again and again, and notes what arrived."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.arrived: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.arrived.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def http_to(server: Callable[[httpx.Request], httpx.Response], *, one_writer: bool = False) -> PrefectHttp:
    client = httpx.AsyncClient(base_url="http://prefect/api", transport=httpx.MockTransport(server))
    return PrefectHttp(idle=client, fresh=client, one_writer=one_writer)


@pytest.mark.parametrize(
    "failure", [httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("reset"), httpx.Response(500), httpx.Response(503)]
)
async def test_a_claim_is_not_sent_again_when_it_may_have_been_heard(failure: Answer) -> None:
    server = Server(failure, httpx.Response(200))
    with pytest.raises(OutcomeUnknown):
        await http_to(server).write_once("POST", "/claim", {})
    assert len(server.arrived) == 1


@pytest.mark.parametrize("failure", [httpx.ConnectError("nobody"), httpx.Response(429)])
async def test_a_claim_is_sent_again_when_nobody_heard_it(failure: Answer) -> None:
    assert (await http_to(Server(failure, httpx.Response(200))).write_once("POST", "/claim", {})).is_success


async def test_a_claim_is_sent_again_when_sqlite_was_locked() -> None:
    server = Server(httpx.Response(503), httpx.Response(503), httpx.Response(200))
    assert (await http_to(server, one_writer=True).write_once("POST", "/claim", {})).is_success


async def test_a_repeatable_write_outlasts_a_lost_reply() -> None:
    server = Server(httpx.ReadTimeout("slow"), httpx.Response(500), httpx.Response(201))
    assert (await http_to(server).write("POST", "/create", {})).is_success


async def test_a_lost_reply_stays_a_doubt_when_the_server_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tabario.clients.prefect.http.RETRY_SECONDS", 0.2)
    server = Server(httpx.RemoteProtocolError("reset"), httpx.ConnectError("nobody"))
    with pytest.raises(OutcomeUnknown):
        await http_to(server).write("POST", "/create", {})


async def test_a_server_that_stays_locked_is_a_reason_to_try_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tabario.clients.prefect.http.RETRY_SECONDS", 0.2)
    with pytest.raises(NotDone):
        await http_to(Server(httpx.Response(503)), one_writer=True).write_once("POST", "/claim", {})


async def test_wrong_credentials_are_the_operators_to_mend() -> None:
    with pytest.raises(ConfigurationError, match="PREFECT_API_AUTH_STRING"):
        await http_to(Server(httpx.Response(401))).read("GET", "/anything")


@pytest.mark.parametrize("failure", [httpx.ConnectError("10.0.0.7 refused"), httpx.ReadTimeout("10.0.0.7")])
async def test_a_caller_is_not_told_internal_addresses(failure: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tabario.clients.prefect.http.RETRY_SECONDS", 0)
    with pytest.raises(RetryLater) as refusal:
        await http_to(Server(failure)).read("GET", "/anything")
    assert "10.0.0.7" not in str(refusal.value)


def test_the_auth_string_goes_as_basic_authentication() -> None:
    settings = PrefectSettings.model_validate({"url": "http://prefect/api", "auth_string": "admin:pass"})
    assert authorization(settings) == {"Authorization": "Basic YWRtaW46cGFzcw=="}
    assert authorization(PrefectSettings(url="http://prefect/api")) == {}
