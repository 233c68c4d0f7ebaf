"""The running stack that faults are made in: its processes, its users, the proxy before Prefect."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import psutil
from redis.asyncio import Redis
from redis.exceptions import RedisError
from rich.console import Console

from tabario.cli.up import ConsoleListener
from tabario.embedded.processes import MARK
from tabario.embedded.stack import Stack
from tabario.embedded.state import RunningStack, StackDirectory
from tabario.settings import ApiSettings, EmbeddedSettings, MetricsSettings
from tabario.tiers import Tier
from tests.chaos.proxy import LOOPBACK, Proxy, Trap
from tests.chaos.users import ANSWER_SECONDS, Ledger, User
from tests.chaos.witness import ENDED, Sighting, Witness
from tests.support.engine import FORK_SERVER, command_of, forks, started, variable_of
from tests.support.servers import free_port

IMAGE_SECONDS: Final = 0.5
LOOK_SECONDS: Final = 0.05
MOMENT_SECONDS: Final = 120.0

SERVICES: Final[dict[str, tuple[str, ...]]] = {
    "front door": ("-m", "api"),
    "worker": ("prefect", "worker", "start"),
    "prefect": ("tabario.embedded.prefect_server", "server", "start"),
    "redis": ("redis-server",),
    "fork server": (FORK_SERVER,),
}


class MomentMissed(Exception):
    """The moment for a fault did not come; it was not made."""


@dataclass(frozen=True)
class Arena:
    """Everything that a fault needs."""

    stack: RunningStack
    comfyui_url: str
    mark: str
    key: str
    leases: Redis
    proxy: Proxy
    witness: Witness
    http: httpx.AsyncClient
    ledger: Ledger

    def new_user(self, tier: Tier) -> User:
        """A user who has never been here."""
        return User(self.http, self.ledger, key=self.key, tier=tier)

    async def process(self, service: str) -> psutil.Process:
        """The process of a service, as soon as there is one. Raises MomentMissed."""
        async with _moment(f"the {service} is up"):
            while (process := self._find(service)) is None:  # noqa: ASYNC110 - asks the system
                await asyncio.sleep(LOOK_SECONDS)
            return process

    def flow_process(self, flow_run_id: str) -> psutil.Process | None:
        """The process that makes a job, or that from which it is just being forked."""
        processes = list(self._processes())
        return next(iter([*forks(processes, flow_run_id), *started(processes, flow_run_id)]), None)

    def _find(self, service: str) -> psutil.Process | None:
        words = " ".join(SERVICES[service])
        return next((process for process in self._processes() if words in command_of(process)), None)

    def _processes(self) -> Iterator[psutil.Process]:
        """Every live process of the stack; one that is just dying has no environment any more."""
        return (process for process in psutil.process_iter() if variable_of(process, MARK) == self.mark)

    @asynccontextmanager
    async def frozen(self, service: str) -> AsyncIterator[None]:
        """The service does nothing until the block ends."""
        process = await self.process(service)
        process.suspend()
        try:
            yield
        finally:
            with suppress(psutil.NoSuchProcess):  # another fault killed it meanwhile
                process.resume()

    async def kill(self, service: str) -> None:
        """Kills a service, but no flow that it has begun, and returns when it is dead."""
        process = await self.process(service)
        family = [process, *(child for child in process.children() if not _makes_films(child))]
        for one in family:
            one.kill()
        while any(_is_alive(one) for one in family):  # noqa: ASYNC110 - psutil's wait would take our child's exit code
            await asyncio.sleep(LOOK_SECONDS)

    def killer(self, service: str) -> Callable[[], None]:
        """Kills, at once when called, the process that the service has then."""

        def strike() -> None:
            if process := self._find(service):
                process.kill()

        return strike

    async def forget_lease(self, lease_id: str) -> None:
        """What a Redis that loses its latest writes does; Prefect's own count stays. Raises MomentMissed."""
        try:
            gone = await self.leases.delete(f"prefect:concurrency:lease:{lease_id}")
        except RedisError as error:
            raise MomentMissed("Redis is away") from error
        if not gone:
            raise MomentMissed("the run has no lease any more")

    async def accepted(self, user: User, title: str, *, scenes: int = 1) -> str:
        """Submits until a job is accepted. Raises MomentMissed."""
        async with _moment("a job is accepted"):
            while (flow_run_id := await user.submit(title, scenes=scenes)) is None:  # noqa: ASYNC110 - asks a server
                await asyncio.sleep(1)
            return flow_run_id

    async def reached(self, flow_run_id: str, *states: str) -> Sighting:
        """The run as soon as it is in one of the states. Raises MomentMissed when it ends for good before."""
        async with _moment(f"a run is {' or '.join(states)}"):
            while True:
                run = self.witness.run(flow_run_id)
                if run is not None and run.state in states:
                    return run
                if run is not None and run.state in ENDED:
                    raise MomentMissed(f"the run is already {run.state}")
                await asyncio.sleep(LOOK_SECONDS)

    async def sprung(self, trap: Trap, *, while_doing: Awaitable[object] | None = None) -> None:
        """Sets the trap, acts, and returns once the trap has sprung. Raises MomentMissed."""
        async with self.proxy.trapping(trap), _moment(f"a reply to {trap.path} is due"):
            if while_doing is not None:
                await while_doing
            await trap.sprung.wait()

    async def is_ready(self) -> bool:
        """Whether the front door says that jobs can be started."""
        try:
            return (await self.http.get("/ready", timeout=5)).is_success
        except httpx.TransportError:
            return False


@asynccontextmanager
async def _moment(what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(MOMENT_SECONDS):
            yield
    except TimeoutError:
        raise MomentMissed(f"gave up waiting until {what}") from None


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _makes_films(process: psutil.Process) -> bool:
    return bool(forks([process])) or variable_of(process, "PREFECT__FLOW_RUN_ID") is not None


@asynccontextmanager
async def open_arena(directory: Path, console: Console) -> AsyncIterator[Arena]:
    """The stack on free ports in `directory`, the front door's way to Prefect through the proxy."""
    state = StackDirectory(directory)
    embedded = EmbeddedSettings(
        redis_port=free_port(), prefect_port=free_port(), comfyui_port=free_port(), image_seconds=IMAGE_SECONDS
    )
    api, metrics = ApiSettings(port=free_port()), MetricsSettings.model_validate({"exporter_port": free_port()})
    proxy, proxy_port = Proxy(embedded.prefect_port), free_port()
    stack = Stack(state, embedded, api, metrics, front_door={"PREFECT_API_URL": f"http://{LOOPBACK}:{proxy_port}/api"})
    async with (
        proxy.serving(proxy_port),
        stack.running(ConsoleListener(console)) as running,
        httpx.AsyncClient(base_url=running.api_url, timeout=ANSWER_SECONDS) as http,
        Redis(host=LOOPBACK, port=embedded.redis_port, password=state.secrets().redis_password) as leases,
    ):
        yield Arena(
            stack=running,
            comfyui_url=f"http://{LOOPBACK}:{embedded.comfyui_port}",
            mark=stack.mark,
            key=state.secrets().development_key,
            leases=leases,
            proxy=proxy,
            witness=Witness(state.root / "prefect" / "prefect.db"),
            http=http,
            ledger=Ledger(),
        )
