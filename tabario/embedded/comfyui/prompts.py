"""Routes of the prompts' life: /prompt, /queue, /history, /interrupt and /free."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tabario.embedded.comfyui.bodies import Garbled, read_json
from tabario.embedded.comfyui.faults import Fault
from tabario.embedded.comfyui.queue import QueuedPrompt
from tabario.embedded.comfyui.standin import StandIn
from tabario.embedded.comfyui.validation import PromptCheck, Refused
from tabario.embedded.comfyui.versions import Version


async def submit(request: Request) -> Response:
    """POST /prompt."""
    standin: StandIn = request.app.state.standin
    body = await read_json(request)
    if standin.faults.take(Fault.PROMPT_ANSWERS_500):
        raise Garbled
    try:
        prompt, node_errors = _accept(standin, body)
    except Refused as refused:
        return JSONResponse({"error": refused.error, "node_errors": refused.node_errors}, 400)
    is_unique = standin.queue.put(prompt)
    if not is_unique or standin.faults.take(Fault.QUEUED_BUT_500):
        raise Garbled
    if standin.faults.take(Fault.REPLY_DROPPED):
        return StreamingResponse(_nothing(), headers={"content-length": "64"}, media_type="application/json")
    if slow := standin.faults.take(Fault.SLOW_REPLY):
        await asyncio.sleep(slow.seconds)
    return JSONResponse({"prompt_id": prompt.prompt_id, "number": prompt.number, "node_errors": node_errors})


async def show_remaining(request: Request) -> Response:
    """GET /prompt."""
    standin: StandIn = request.app.state.standin
    return JSONResponse(standin.status())


async def show_queue(request: Request) -> Response:
    """GET /queue."""
    queue = request.app.state.standin.queue
    running = [queue.running.row()] if queue.running else []
    return JSONResponse({"queue_running": running, "queue_pending": [prompt.row() for prompt in queue.pending]})


async def change_queue(request: Request) -> Response:
    """POST /queue: clears or deletes what is pending; 200 whatever happened."""
    standin: StandIn = request.app.state.standin
    body = await read_json(request)
    if body.get("clear"):
        standin.queue.clear()
    if "delete" in body:
        standin.queue.delete(body["delete"])
    return Response()


async def interrupt(request: Request) -> Response:
    """POST /interrupt: stops the running prompt, or only the one named."""
    standin: StandIn = request.app.state.standin
    try:
        body = await read_json(request)
    except Garbled:
        body = {}
    standin.executor.interrupt(body.get("prompt_id"))
    return Response()


async def free(request: Request) -> Response:
    """POST /free: drops the node cache."""
    standin: StandIn = request.app.state.standin
    if (await read_json(request)).get("free_memory"):
        standin.executor.drop_cache()
    return Response()


async def list_history(request: Request) -> Response:
    """GET /history."""
    standin: StandIn = request.app.state.standin
    try:
        numbers = {
            name: int(request.query_params[name]) for name in ("max_items", "offset") if name in request.query_params
        }
    except ValueError:
        raise Garbled from None
    page = standin.queue.page(max_items=numbers.get("max_items"), offset=numbers.get("offset"))
    return JSONResponse(page)


async def show_history(request: Request) -> Response:
    """GET /history/{id}: an empty object for whatever has not ended."""
    standin: StandIn = request.app.state.standin
    prompt_id = request.path_params["prompt_id"]
    entry = standin.queue.history.get(prompt_id)
    return JSONResponse({prompt_id: entry} if entry else {})


async def change_history(request: Request) -> Response:
    """POST /history: clears it or deletes entries."""
    standin: StandIn = request.app.state.standin
    body = await read_json(request)
    if body.get("clear"):
        standin.queue.history.clear()
    for prompt_id in body.get("delete", ()):
        standin.queue.history.pop(prompt_id, None)
    return Response()


def _accept(standin: StandIn, body: dict[str, Any]) -> tuple[QueuedPrompt, dict[str, Any]]:
    """The prompt as it is to be queued. Raises Garbled or Refused."""
    number = _number(standin, body)
    if "prompt" not in body:
        raise Refused.because("no_prompt", "No prompt provided", "No prompt provided")
    prompt_id = _prompt_id(body, standin.version)
    check = PromptCheck(body["prompt"], version=standin.version, directories=standin.directories)
    verdict = check.run(body.get("partial_execution_targets"))
    extra_data = _extra_data(body, standin.version)
    return QueuedPrompt(number, prompt_id, body["prompt"], extra_data, verdict.output_nodes), verdict.node_errors


def _number(standin: StandIn, body: dict[str, Any]) -> float:
    if "number" in body:
        try:
            return float(body["number"])
        except (TypeError, ValueError):
            raise Garbled from None
    number = standin.queue.take_number()
    return -number if body.get("front") else number


def _prompt_id(body: dict[str, Any], version: Version) -> str:
    if not version.is_strict:
        return str(body.get("prompt_id", uuid.uuid4()))
    given = body.get("prompt_id")
    if given is None:
        return str(uuid.uuid4())
    if not _is_canonical_uuid(given):
        details = "prompt_id must be a UUID string in canonical lowercase hyphenated form"
        raise Refused.because("invalid_prompt_id", "prompt_id must be a valid UUID", details)
    return str(given)


def _is_canonical_uuid(given: object) -> bool:
    try:
        return isinstance(given, str) and str(uuid.UUID(given)) == given
    except ValueError:
        return False


def _extra_data(body: dict[str, Any], version: Version) -> dict[str, Any] | None:
    given = body.get("extra_data", {})
    if given is None:
        if version.is_strict or "client_id" in body:
            raise Garbled
        return None  # 0.3.64 accepts it, and its executor dies of it
    extra_data = dict(given)
    if "client_id" in body:
        extra_data["client_id"] = body["client_id"]
    if version.is_strict:
        extra_data["create_time"] = int(time.time() * 1000)
    return extra_data


async def _nothing() -> AsyncIterator[bytes]:
    """A body that ends before it begins: the server then closes the connection."""
    return
    yield b""


PROMPT_ROUTES: Final = (
    Route("/prompt", show_remaining),
    Route("/prompt", submit, methods=["POST"]),
    Route("/queue", show_queue),
    Route("/queue", change_queue, methods=["POST"]),
    Route("/interrupt", interrupt, methods=["POST"]),
    Route("/free", free, methods=["POST"]),
    Route("/history", list_history),
    Route("/history", change_history, methods=["POST"]),
    Route("/history/{prompt_id}", show_history),
)
