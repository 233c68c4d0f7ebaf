"""What route functions ask for, as annotated aliases."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Path, Request
from fastapi.security import HTTPBearer

from api.services import Services
from tabario.jobs import RunId
from tabario.tokens.claims import Identity

# Only describes the scheme in the OpenAPI document: `api.authentication` has verified the token before.
BEARER: Final = HTTPBearer(
    scheme_name="access_token",
    bearerFormat="JWT",
    description="An access token of the app's sign-in, or a development token from `tabario token`.",
    auto_error=False,
)


def _caller(request: Request) -> Identity:
    caller: Identity = request.state.caller
    return caller


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


CurrentCaller = Annotated[Identity, Depends(_caller)]
CurrentServices = Annotated[Services, Depends(_services)]
RunReference = Annotated[
    RunId,
    Path(
        description="The job's `run_id` or `flow_run_id`.",
        examples=["lisbon-trams-1", "0190f3c2-6f0e-7c5b-9d8b-2f1f4f6f1c11"],
    ),
]
