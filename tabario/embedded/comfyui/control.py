"""Routes that no ComfyUI has, for tests and demonstrations: /standin/faults, /standin/log, /standin/restart."""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tabario.embedded.comfyui.faults import ArmedFault, Fault
from tabario.embedded.comfyui.standin import StandIn


class FaultOrder(BaseModel):
    """Body of POST /standin/faults."""

    model_config = ConfigDict(extra="forbid")

    name: Fault
    times: int = Field(default=1, ge=1, description="how often it strikes")
    after: int = Field(default=0, ge=0, description="occasions spared before")
    seconds: float = Field(default=1.0, ge=0, description="how long, where the fault is a delay")


async def list_faults(request: Request) -> Response:
    """GET /standin/faults: what there is, and what is armed."""
    standin: StandIn = request.app.state.standin
    return JSONResponse({"known": list(Fault), "armed": standin.faults.describe()})


async def arm_fault(request: Request) -> Response:
    """POST /standin/faults."""
    try:
        order = FaultOrder.model_validate_json(await request.body())
    except ValidationError as error:
        return JSONResponse({"error": error.errors(include_url=False, include_context=False)}, 422)
    standin: StandIn = request.app.state.standin
    standin.faults.arm(ArmedFault(order.name, times=order.times, after=order.after, seconds=order.seconds))
    return await list_faults(request)


async def disarm_faults(request: Request) -> Response:
    """DELETE /standin/faults."""
    standin: StandIn = request.app.state.standin
    standin.faults.disarm()
    return await list_faults(request)


async def show_log(request: Request) -> Response:
    """GET /standin/log: every prompt that has run."""
    standin: StandIn = request.app.state.standin
    return JSONResponse({"runs": standin.journal.read()})


async def restart(request: Request) -> Response:
    """POST /standin/restart: forgets everything but the files."""
    standin: StandIn = request.app.state.standin
    await standin.restart()
    return Response()


CONTROL_ROUTES: Final = (
    Route("/standin/faults", list_faults),
    Route("/standin/faults", arm_fault, methods=["POST"]),
    Route("/standin/faults", disarm_faults, methods=["DELETE"]),
    Route("/standin/log", show_log),
    Route("/standin/restart", restart, methods=["POST"]),
)
