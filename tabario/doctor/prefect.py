"""The Prefect server: whether it answers us and nobody else, fits our version, and keeps leases through a restart."""

from __future__ import annotations

import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final

import httpx

from tabario import names
from tabario.clients.prefect.http import authorization
from tabario.doctor.clocks import judge_clock
from tabario.doctor.findings import Finding, fail, ok, warn
from tabario.errors import ConfigurationError
from tabario.settings import Environment, PrefectSettings, SlotSettings
from tabario.tiers import Tier

SECONDS: Final = 10.0
PAGE: Final = 200
HEADER_SECONDS: Final = 2.0
VOLATILE_LEASES: Final = "memory"


async def check_prefect(settings: PrefectSettings, environment: Environment) -> list[Finding]:
    """Reachability, credentials, version, lease storage, clock and workers."""
    try:
        async with _client(settings) as http:
            health = await http.get("/health")
            if health.status_code != httpx.codes.OK:
                return [_away()]
            skew = _skew(health)
            served = await http.get("/admin/settings")
            if served.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
                return [
                    ok("prefect", "Prefect answers."),
                    fail(
                        "prefect-auth",
                        "Prefect refuses our credentials.",
                        "Set PREFECT_API_AUTH_STRING to the server's PREFECT_SERVER_API_AUTH_STRING.",
                    ),
                ]
            running = (await http.get("/admin/version")).raise_for_status().json()
            workers = await http.post(f"/work_pools/{names.WORK_POOL}/workers/filter", json={})
        return [
            ok("prefect", "Prefect answers."),
            await _auth(settings, environment),
            judge_version(running),
            _leases(served.raise_for_status().json()),
            judge_clock("prefect", skew),
            _workers(workers),
        ]
    except (httpx.TransportError, httpx.InvalidURL):
        return [_away()]
    except (httpx.HTTPStatusError, ValueError):
        return [fail("prefect", "What answers is not Prefect's API.", "Set PREFECT_API_URL; it ends in /api.")]


async def check_slot_limits(settings: PrefectSettings, slots: SlotSettings) -> list[Finding]:
    """Every user's limit must be switched on, and of the size of a tier."""
    limits = [limit for limit in await _limits(settings) if limit["name"].startswith(names.SLOT_LIMIT_PREFIX)]
    sizes = {slots.slots(tier) for tier in Tier}
    off = sum(not limit["active"] for limit in limits)
    odd = sum(limit["limit"] not in sizes for limit in limits)
    if off:
        return [
            fail(
                "slot-limits",
                f"{off} users' limits are switched off: they may start any number of jobs.",
                f"Switch the limits {names.SLOT_LIMIT_PREFIX}* on in the Prefect UI.",
            )
        ]
    if odd:
        return [
            warn(
                "slot-limits",
                f"{odd} users' limits are of no tier's size; each is set right at its user's next job.",
                "Nothing, if TABARIO_SLOTS_STANDARD or TABARIO_SLOTS_PREMIUM has just been changed.",
            )
        ]
    return [ok("slot-limits", f"{len(limits)} users' limits are in order.")]


async def require_durable_leases(settings: PrefectSettings) -> None:
    """Raises ConfigurationError when the server would forget who holds slots."""
    async with _client(settings) as http:
        finding = _leases((await http.get("/admin/settings")).raise_for_status().json())
    if finding.mend:
        raise ConfigurationError(f"{finding.message} {finding.mend}")


def _client(settings: PrefectSettings, *, anonymous: bool = False) -> httpx.AsyncClient:
    headers = {} if anonymous else authorization(settings)
    return httpx.AsyncClient(base_url=settings.url.rstrip("/"), headers=headers, timeout=SECONDS)


async def _limits(settings: PrefectSettings) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    async with _client(settings) as http:
        while True:
            page = await http.post("/v2/concurrency_limits/filter", json={"limit": PAGE, "offset": len(found)})
            found += page.raise_for_status().json()
            if len(page.json()) < PAGE:
                return found


def _away() -> Finding:
    return fail("prefect", "Prefect does not answer.", "Start the server, or set PREFECT_API_URL to where it is.")


def _skew(response: httpx.Response) -> float:
    """Its clock less ours, as far as a header tells that shows whole seconds and may be a second old."""
    shown = parsedate_to_datetime(response.headers["date"]).timestamp()
    now = time.time()
    return 0.0 if shown <= now < shown + HEADER_SECONDS else shown - now


async def _auth(settings: PrefectSettings, environment: Environment) -> Finding:
    async with _client(settings, anonymous=True) as http:
        answer = await http.get("/admin/version")
    if answer.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return ok("prefect-auth", "Without the credentials Prefect refuses to serve.")
    judge = warn if environment is Environment.DEVELOPMENT else fail
    return judge(
        "prefect-auth",
        "Prefect serves whoever can reach it.",
        "Set PREFECT_SERVER_API_AUTH_STRING for the server, and PREFECT_API_AUTH_STRING to the same.",
    )


def judge_version(running: str) -> Finding:
    """A finding about a server of version `running`."""
    ours = version("prefect")
    if running == ours:
        return ok("prefect-version", f"Server and client are of version {ours}.")
    mend = f"Run the server with prefect=={ours}, the version in requirements.lock."
    judge = warn if running.split(".")[:2] == ours.split(".")[:2] else fail
    return judge("prefect-version", f"The server is of version {running}, we are of {ours}.", mend)


def _leases(served: Mapping[str, Any]) -> Finding:
    storage = str(served["server"]["concurrency"]["lease_storage"])
    if storage.endswith(VOLATILE_LEASES):
        return fail(
            "prefect-leases",
            "Prefect keeps leases in its own memory: when it restarts, every slot in use is lost for ever.",
            "Set PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE=prefect_redis.lease_storage for the server.",
        )
    return ok("prefect-leases", f"Prefect keeps leases in {storage}.")


def _workers(answer: httpx.Response) -> Finding:
    workers = answer.json() if answer.status_code == httpx.codes.OK else []
    online = sum(str(worker["status"]).upper() == "ONLINE" for worker in workers)
    if online:
        return ok("workers", "1 worker is online." if online == 1 else f"{online} workers are online.")
    return warn(
        "workers",
        f"No worker of the pool {names.WORK_POOL} is online: jobs wait.",
        f"Start one: prefect worker start --pool {names.WORK_POOL}",
    )
