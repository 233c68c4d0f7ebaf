"""What the HTTP voice services have in common: one POST that answers with audio."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import anyio
import httpx
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential, wait_random

from tabario.errors import RetryLater, VoiceFailed

logger = logging.getLogger(__name__)

ATTEMPTS: Final = 3
MAX_AUDIO_BYTES: Final = 128 * 1024 * 1024  # twenty minutes of the largest format in use
_TEXT_TYPES: Final = ("application/json", "text/", "application/problem+json")


class VoiceService:
    """A voice service behind an HTTP client. `timeout` is what one answer may take in seconds, from first to last byte.

    `pause` is the seconds before the first retry; each further one waits about twice as long.
    """

    def __init__(
        self, client: httpx.AsyncClient, *, timeout: float, pause: float = 0.5, max_bytes: int = MAX_AUDIO_BYTES
    ) -> None:
        self._client = client
        self._timeout = timeout
        self._pause = pause
        self._max_bytes = max_bytes

    async def post(self, path: str, body: Mapping[str, str], destination: Path) -> None:
        """Posts JSON and writes the audio of the answer to `destination`.

        Raises VoiceFailed when the service refuses, answers with something else or takes too long; RetryLater when it
        is down or busy, after `ATTEMPTS` tries.
        """
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(RetryLater),
            stop=stop_after_attempt(ATTEMPTS),
            wait=wait_exponential(multiplier=self._pause, max=10) + wait_random(0, self._pause),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                await self._post_once(path, body, destination)

    async def _post_once(self, path: str, body: Mapping[str, str], destination: Path) -> None:
        try:
            with anyio.fail_after(self._timeout):
                async with self._client.stream("POST", path, json=body) as response:
                    await _require_success(response)
                    await self._save(response, destination)
        except (httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise RetryLater("The voice service cannot be reached.") from error
        except (httpx.TimeoutException, TimeoutError) as error:
            raise VoiceFailed(
                f"The voice service gave no audio within {self._timeout:g} s.", reason="timeout"
            ) from error
        except httpx.TransportError as error:
            raise RetryLater("The voice service cannot be reached.") from error
        except httpx.HTTPError as error:
            raise VoiceFailed("The voice service's answer could not be read.") from error

    async def _save(self, response: httpx.Response, destination: Path) -> None:
        received = 0
        async with await anyio.open_file(destination, "wb") as file:
            async for chunk in response.aiter_bytes():
                received += len(chunk)
                if received > self._max_bytes:
                    raise VoiceFailed("The voice service's answer is too large to be the script's audio.")
                await file.write(chunk)
        if not received:
            raise VoiceFailed("The voice service answered with no audio.")


async def _require_success(response: httpx.Response) -> None:
    status = response.status_code
    if response.is_success:
        if response.headers.get("content-type", "").startswith(_TEXT_TYPES):
            raise VoiceFailed("The voice service answered with text instead of audio.")
        return
    logger.warning("the voice service answered %s: %s", status, (await _beginning(response))[:500])
    if response.is_server_error or status == httpx.codes.TOO_MANY_REQUESTS:
        raise RetryLater("The voice service is down or busy.")
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        raise VoiceFailed("The voice service refused the key that this installation uses.")
    raise VoiceFailed(f"The voice service refused the script ({status}).")


async def _beginning(response: httpx.Response) -> bytes:
    async for chunk in response.aiter_bytes(1024):
        return chunk
    return b""
