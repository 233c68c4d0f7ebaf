"""An issuer of tokens for tests: a real HTTP server that publishes the keys it is told to."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, Literal

import anyio
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from tabario.tiers import Tier
from tests.support.servers import free_port
from tests.support.waiting import eventually

Algorithm = Literal["ES256", "RS256", "EdDSA"]

PRIVATE_KEYS: Final[dict[str, Any]] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
OTHER_KEY: Final = ec.generate_private_key(ec.SECP256R1())

_WRITERS: Final[dict[str, Any]] = {"ES256": ECAlgorithm, "RS256": RSAAlgorithm, "EdDSA": OKPAlgorithm}


def public_key(algorithm: str, *, private_key: Any = None, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - any key, any field
    """The published form of a key, under its algorithm's name as key id."""
    public = (private_key or PRIVATE_KEYS[algorithm]).public_key()
    return {**_WRITERS[algorithm].to_jwk(public, as_dict=True), "kid": algorithm, "alg": algorithm, **fields}


class Issuer:
    """Answers with `keys`, or with `reply` instead. `asked` is how many requests came; `stalls` answers none."""

    def __init__(self) -> None:
        self.port = free_port()
        self.keys: list[Any] = [public_key(algorithm) for algorithm in PRIVATE_KEYS]
        self.reply: Response | None = None
        self.stalls = False
        self.asked = 0

    @property
    def url(self) -> str:
        """Address of the project."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def project(self) -> str:
        """The same by name, as a project is known to the services of docker-compose.yml."""
        return f"http://localhost:{self.port}"

    def token(self, user_id: str, tier: Tier) -> str:
        """What the project gives a user who signs in; serves for an hour."""
        now = int(time.time())
        claims = {
            "iss": f"{self.project}/auth/v1",
            "aud": "authenticated",
            "role": "authenticated",
            "sub": user_id,
            "iat": now,
            "exp": now + 3600,
            "app_metadata": {"tier": tier.value},
        }
        return jwt.encode(claims, PRIVATE_KEYS["ES256"], algorithm="ES256", headers={"kid": "ES256"})

    def breaks(self) -> None:
        """Answers with an error from now on."""
        self.reply = Response("the database is at 10.0.0.7", 500)

    def redirects(self, target: str) -> None:
        """Sends everybody elsewhere from now on."""
        self.reply = RedirectResponse(target)

    async def answer(self, _: Request) -> Response:
        """The answer to any request."""
        self.asked += 1
        if self.stalls:
            await anyio.sleep_forever()
        return self.reply or Response(json.dumps({"keys": self.keys}), media_type="application/json")


async def _tier(_: Request) -> JSONResponse:
    """What the project's function says of any user: tokens carry the tier, so it is asked only whether it is there."""
    return JSONResponse({"tier": Tier.STANDARD.value, "changed_at": None})


@asynccontextmanager
async def issuer_running() -> AsyncIterator[Issuer]:
    """Serves until the block ends."""
    issuer = Issuer()
    keys = Route("/auth/v1/.well-known/jwks.json", issuer.answer)
    app = Starlette(routes=[keys, Route("/rest/v1/rpc/tier_of_user", _tier, methods=["POST"])])
    config = uvicorn.Config(
        app, port=issuer.port, log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=0
    )
    server = uvicorn.Server(config)

    async def has_started() -> bool:
        return server.started

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve)
        await eventually(has_started, within=10, what="the issuer listens")
        try:
            yield issuer
        finally:
            server.should_exit = True
