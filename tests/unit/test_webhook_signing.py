from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tabario.webhooks.schedule import DELAYS, next_delay
from tabario.webhooks.signing import decode_secret, signature_headers


def secret(size: int = 24, fill: bytes = b"s") -> str:
    return f"whsec_{base64.b64encode(fill * size).decode()}"


OLD, NEW = secret(fill=b"o"), secret(fill=b"n")


@given(text=st.text(), size=st.integers(24, 64))
def test_somebody_elses_verifier_accepts_what_was_signed(text: str, size: int) -> None:
    body = json.dumps({"caption": text}, ensure_ascii=True).encode()
    headers = signature_headers(
        [decode_secret(secret(size))], message_id="msg_1", timestamp=int(time.time()), body=body
    )
    assert Webhook(secret(size)).verify(body, headers) == {"caption": text}


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "body"])
def test_each_part_of_a_webhook_is_signed(part: str) -> None:
    body, now = b"{}", int(time.time())
    headers = signature_headers([decode_secret(NEW)], message_id="msg_1", timestamp=now, body=body)
    forged = {**headers, "webhook-id": "msg_2"} if part == "webhook-id" else headers
    forged = {**forged, "webhook-timestamp": str(now + 1)} if part == "webhook-timestamp" else forged
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(b"[]" if part == "body" else body, forged)


def test_while_the_secret_is_changed_both_verify() -> None:
    keys = [decode_secret(one) for one in (NEW, OLD)]
    headers = signature_headers(keys, message_id="msg_1", timestamp=int(time.time()), body=b"{}")
    assert Webhook(NEW).verify(b"{}", headers) == Webhook(OLD).verify(b"{}", headers) == {}
    with pytest.raises(WebhookVerificationError):
        Webhook(secret(fill=b"x")).verify(b"{}", headers)


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ("hunter2", "whsec_"),
        ("whsec_not base64!", "base64"),
        ("whsec_", "24 to 64 bytes"),
        (secret(23), "this one has 23"),
        (secret(65), "this one has 65"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused_without_repeating_it(wrong: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        decode_secret(wrong)
    assert wrong.removeprefix("whsec_") == "" or wrong not in str(caught.value)


def test_tries_go_on_for_more_than_a_day_and_grow_further_apart() -> None:
    delays = [next_delay(tries, chance=lambda: 0) or 0 for tries in range(1, len(DELAYS) + 1)]
    assert delays == sorted(delays)
    assert sum(DELAYS) > 24 * 3600
    assert next_delay(len(DELAYS) + 1) is None


@given(tries=st.integers(1, len(DELAYS)), chance=st.floats(0, 1))
def test_a_delay_is_stretched_by_chance_and_never_cut_short(tries: int, chance: float) -> None:
    delay = next_delay(tries, chance=lambda: chance)
    assert delay is not None
    assert DELAYS[tries - 1] <= delay <= DELAYS[tries - 1] * 1.25


def test_a_host_may_ask_for_a_longer_delay_but_not_for_a_shorter_one() -> None:
    assert next_delay(1, asked=900, chance=lambda: 0) == 900
    assert next_delay(4, asked=1, chance=lambda: 0) == DELAYS[3]
