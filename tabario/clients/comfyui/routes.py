"""The routes of a ComfyUI server, one method each: what is sent, what comes back, and which error each status means."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple, Protocol, TypedDict, TypeVar, Unpack

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from tabario.clients.comfyui.graph import Nodes
from tabario.clients.comfyui.replies import (
    CancelReply,
    EndedPrompt,
    Queue,
    SavedFile,
    Submission,
    SystemStats,
    UploadedImage,
)
from tabario.errors import ImageFailed, RetryLater
from tabario.metrics.definitions import status_class

MAX_BODY_BYTES: Final = 64 * 1024 * 1024  # far above any picture and any /object_info seen

_History = TypeAdapter(dict[str, EndedPrompt])
_ObjectInfo = TypeAdapter(dict[str, dict[str, Any]])

R = TypeVar("R", bound=BaseModel)
T = TypeVar("T")


class ComfyUIUnavailable(RetryLater):
    """The server cannot be reached, is in trouble, or answers in no known way."""


class Observe(Protocol):
    """Told of every HTTP exchange, for metrics.

    `endpoint` is the route without ids, `outcome` a status class ("2xx", "4xx", "5xx") or, when no answer came,
    the reason ("connect", "timeout" or "error").
    """

    async def __call__(self, endpoint: str, outcome: str, seconds: float) -> None:
        """Takes note of one exchange."""


async def unobserved(endpoint: str, outcome: str, seconds: float) -> None:
    """Takes note of nothing."""


class _Answer(NamedTuple):
    status: int
    body: bytes


class _Parts(TypedDict, total=False):
    """What a request carries beside its path."""

    json: Mapping[str, object]
    params: Mapping[str, str]
    files: Mapping[str, tuple[str, bytes]]


class Routes:
    """Speaks to one server. Every method raises ComfyUIUnavailable when the answer does not come or makes no sense."""

    def __init__(self, http: httpx.AsyncClient, observe: Observe = unobserved) -> None:
        self._http = http
        self._observe = observe

    async def submit(self, nodes: Nodes, *, prompt_id: str, extra_data: Mapping[str, str]) -> Submission:
        """Queues a prompt. After ComfyUIUnavailable it may be queued all the same: look before sending again."""
        body = {
            "prompt": nodes,
            "prompt_id": prompt_id,
            # Nobody listens under this id, so progress and previews go to nobody. Without one they go to everybody.
            "client_id": prompt_id,
            "extra_data": dict(extra_data),
        }
        answer = await self._exchange("/prompt", "POST", json=body)
        if answer.status in (HTTPStatus.OK, HTTPStatus.BAD_REQUEST):
            return _parse(Submission, answer)
        raise ImageFailed(f"ComfyUI refuses the picture with status {answer.status}.")

    async def queue(self) -> Queue:
        """The prompts that run and wait."""
        return _parse(Queue, _good(await self._exchange("/queue")))

    async def history(self, prompt_id: str) -> EndedPrompt | None:
        """The end of a prompt; None while it waits or runs, and for one that the server does not know."""
        answer = _good(await self._exchange("/history", path=f"/history/{prompt_id}"))
        return _validate(_History, answer).get(prompt_id)

    async def view(self, file: SavedFile) -> bytes:
        """The bytes of a saved file. Raises ImageFailed when it is gone."""
        answer = await self._exchange("/view", params=file.model_dump())
        if answer.status == HTTPStatus.OK:
            return answer.body
        raise ImageFailed(f"ComfyUI made the picture, but its file cannot be read (status {answer.status}).")

    async def upload(self, name: str, data: bytes) -> UploadedImage:
        """Stores an input picture. Raises ImageFailed when the server refuses it."""
        answer = await self._exchange("/upload/image", "POST", files={"image": (name, data)})
        if answer.status == HTTPStatus.OK:
            return _parse(UploadedImage, answer)
        raise ImageFailed(f"ComfyUI refuses an input picture with status {answer.status}.")

    async def delete_pending(self, prompt_id: str) -> None:
        """Takes a prompt out of the queue if it waits there; does nothing to a running one."""
        _good(await self._exchange("/queue", "POST", json={"delete": [prompt_id]}))

    async def interrupt(self, prompt_id: str) -> None:
        """Stops the running prompt if it is this one. Servers before 0.3.56 stop any: check who runs first."""
        _good(await self._exchange("/interrupt", "POST", json={"prompt_id": prompt_id}))

    async def cancel_job(self, prompt_id: str) -> bool | None:
        """Stops or removes this prompt only; says whether there was one. None when the server lacks the route."""
        answer = await self._exchange("/api/jobs", "POST", path=f"/api/jobs/{prompt_id}/cancel")
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED):
            return None
        return _parse(CancelReply, _good(answer)).cancelled

    async def system_stats(self) -> SystemStats:
        """Version and devices."""
        return _parse(SystemStats, _good(await self._exchange("/system_stats")))

    async def object_info(self) -> dict[str, dict[str, Any]]:
        """Every node class that the server knows, with its inputs and their choices."""
        return _validate(_ObjectInfo, _good(await self._exchange("/object_info")))

    async def _exchange(
        self, endpoint: str, method: str = "GET", *, path: str = "", **parts: Unpack[_Parts]
    ) -> _Answer:
        request = self._http.build_request(method, path or endpoint, **parts)
        started = time.perf_counter()
        try:
            answer = await self._read(request)
        except httpx.RequestError as error:
            timed_out, refused = isinstance(error, httpx.TimeoutException), isinstance(error, httpx.ConnectError)
            await self._tell(endpoint, "timeout" if timed_out else "connect" if refused else "error", started)
            reason = "does not answer in time" if timed_out else "cannot be reached"
            raise ComfyUIUnavailable(f"The ComfyUI server {reason}.") from error
        await self._tell(endpoint, status_class(answer.status), started)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise ComfyUIUnavailable(f"The ComfyUI server is in trouble (status {answer.status}).")
        return answer

    async def _read(self, request: httpx.Request) -> _Answer:
        response = await self._http.send(request, stream=True)
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > MAX_BODY_BYTES:
                    raise ImageFailed("ComfyUI answers with more data than any picture has.")
        finally:
            await response.aclose()
        return _Answer(response.status_code, bytes(body))

    async def _tell(self, endpoint: str, outcome: str, started: float) -> None:
        await self._observe(endpoint, outcome, time.perf_counter() - started)


def _good(answer: _Answer) -> _Answer:
    if answer.status != HTTPStatus.OK:
        raise ComfyUIUnavailable(f"The ComfyUI server refuses to serve us (status {answer.status}).")
    return answer


def _parse(kind: type[R], answer: _Answer) -> R:
    return _validate(TypeAdapter(kind), answer)


def _validate(adapter: TypeAdapter[T], answer: _Answer) -> T:
    try:
        return adapter.validate_json(answer.body)
    except ValidationError as error:
        raise ComfyUIUnavailable("Something answers at the ComfyUI server's address, but not like ComfyUI.") from error
