"""The public keys that an issuer publishes (a JWKS, RFC 7517), remembered between tokens.

Not PyJWT's own client: it blocks the event loop while it fetches, and fetches once for every key id that it does not
know. Here a token never makes more than one fetch a while, whatever it says, and good keys outlive an outage.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import anyio
import httpx
from jwt import PyJWK
from jwt.exceptions import PyJWTError

from tabario.errors import RetryLater
from tabario.single_flight import SingleFlight

ALGORITHMS: Final = frozenset({"ES256", "RS256", "EdDSA"})

FRESH_SECONDS: Final = 300.0
STALE_SECONDS: Final = 3600.0  # keys that old are not trusted any more
UNKNOWN_KEY_SECONDS: Final = 30.0  # between two fetches on account of key ids that nobody knows
FAILURE_SECONDS: Final = 5.0  # between two fetches that fail
ANSWER_SECONDS: Final = 3.0
LARGEST_ANSWER: Final = 64 * 1024

log = logging.getLogger(__name__)


class PublishedKeys:
    """The keys at `url`, by key id."""

    def __init__(self, url: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._url = url
        self._monotonic = monotonic
        self._keys: Mapping[str, PyJWK] = {}
        self._succeeded: float | None = None
        self._tried: float | None = None
        self._fetches: SingleFlight[None] = SingleFlight()

    async def find(self, key_id: str) -> PyJWK | None:
        """The key, or None when the issuer has no such key. Raises RetryLater when no keys can be had."""
        age = self._since(self._succeeded)
        if age > STALE_SECONDS:
            await self._fetch_now()
        elif key_id not in self._keys:
            await self._fetch_again(not_before=UNKNOWN_KEY_SECONDS)
        elif age > FRESH_SECONDS:
            self._fetches.start("", self._fetch_quietly)
        return self._keys.get(key_id)

    async def close(self) -> None:
        """Ends a fetch that is still under way."""
        await self._fetches.close()

    async def _fetch_now(self) -> None:
        await self._fetch_again(not_before=FAILURE_SECONDS)
        if self._since(self._succeeded) > STALE_SECONDS:
            raise RetryLater("Access tokens cannot be verified just now; try again in a few seconds.")

    async def _fetch_again(self, *, not_before: float) -> None:
        """Fetches, or waits for the fetch that is under way, unless the last one was just now."""
        if self._fetches.is_under_way("") or self._since(self._tried) >= not_before:
            await self._fetches.share("", self._fetch_quietly)

    async def _fetch_quietly(self) -> None:
        if self._since(self._tried) < FAILURE_SECONDS:
            return
        self._tried = self._monotonic()
        try:
            with anyio.fail_after(ANSWER_SECONDS):
                keys = _read_keys(await self._download())
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            log.warning("The issuer's keys cannot be fetched: %s", error or type(error).__name__)
            return
        if keys or not self._keys:  # an empty set, perhaps of a project that is broken, takes no good key away
            self._keys, self._succeeded = keys, self._tried

    async def _download(self) -> bytes:
        async with (
            httpx.AsyncClient(timeout=ANSWER_SECONDS, follow_redirects=False) as http,
            http.stream("GET", self._url, headers={"Accept": "application/json"}) as response,
        ):
            if response.status_code != httpx.codes.OK:
                raise ValueError(f"status {response.status_code}")
            body = b""
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_ANSWER:
                    raise ValueError(f"more than {LARGEST_ANSWER} bytes")
            return body

    def _since(self, moment: float | None) -> float:
        return float("inf") if moment is None else self._monotonic() - moment


def _read_keys(body: bytes) -> dict[str, PyJWK]:
    """The usable keys of a set. Raises ValueError when it is no key set at all."""
    answer = json.loads(body)
    if not isinstance(answer, dict) or not isinstance(answer.get("keys"), list):
        raise ValueError("not a key set")  # noqa: TRY004 - a wrong value from outside, not a wrong call
    found = ((entry, _read_key(entry)) for entry in answer["keys"])
    return {entry["kid"]: key for entry, key in found if key is not None}


def _read_key(entry: Any) -> PyJWK | None:  # noqa: ANN401 - whatever stands in the set
    """The key, unless it is of another kind: a set may hold keys for other uses, and never shared secrets."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str) or entry.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(entry)
    except PyJWTError:
        return None
    return key if key.algorithm_name in ALGORITHMS else None
