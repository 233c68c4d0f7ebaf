"""Who holds the caller's slots: as a resource, and as the answer when none is free."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from api.bodies import SlotsBody
from api.deps import CurrentCaller, CurrentServices
from api.problems import problem_of
from api.services import Services
from tabario.errors import RetryLater, SlotsFull
from tabario.tokens.claims import Identity

router = APIRouter()


@router.get("/orchestrate/slots", operation_id="get_slots", summary="See the slots")
async def get_slots(caller: CurrentCaller, services: CurrentServices) -> SlotsBody:
    """How many jobs the caller may run at once, and which ones run."""
    tier = (await services.tier_of(caller)).tier
    active = await services.slot_holders(caller.user_id)
    return SlotsBody(tier=tier, limit=services.slots.slots(tier), active=active)


async def answer_slots_full(request: Request, error: SlotsFull) -> JSONResponse:
    """409 that names the jobs which hold the slots, unless they cannot be read just now."""
    services: Services = request.app.state.services
    caller: Identity = request.state.caller
    members: dict[str, object] = {"limit": error.limit}
    try:
        active = await services.slot_holders(caller.user_id)
    except RetryLater:
        return problem_of(error, instance=request.scope["path"], **members)
    members["active"] = [run.model_dump(mode="json") for run in active]
    return problem_of(error, instance=request.scope["path"], **members)
