"""The embedded stack: which services it has, how each is started, and how it is known to be ready."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

import httpx
from redis.asyncio import Redis
from redis.exceptions import RedisError

from tabario import names
from tabario.doctor.prefect import require_durable_leases
from tabario.embedded.prefect import prefect_server_command, prefect_server_environment
from tabario.embedded.processes import child_environment, end_marked, spawn
from tabario.embedded.redis import find_redis_server, redis_command
from tabario.embedded.state import RunningStack, StackDirectory
from tabario.embedded.supervisor import Listener, Service, ServiceDidNotStart, Supervisor
from tabario.errors import ConfigurationError
from tabario.logs import PREFECT_LOGGING, PREFECT_LOGGING_VARIABLE
from tabario.settings import ApiSettings, ComfyUISettings, EmbeddedSettings, MetricsSettings, PrefectSettings

LOOPBACK: Final = "127.0.0.1"
DEPLOY_TIMEOUT: Final = 120.0
WORKER_NAME: Final = "embedded"
WORKER_QUERY_SECONDS: Final = "0.5"


@dataclass(frozen=True)
class StackPorts:
    """The loopback ports of the stack, each with the variable that sets it."""

    redis: int
    prefect: int
    comfyui: int
    api: int
    exporter: int

    def variables(self, *, stand_in: bool) -> dict[str, int]:
        """Port by the name of its environment variable, of what is to be started."""
        ports = {
            "TABARIO_EMBEDDED_REDIS_PORT": self.redis,
            "TABARIO_EMBEDDED_PREFECT_PORT": self.prefect,
            "TABARIO_EMBEDDED_COMFYUI_PORT": self.comfyui,
            "TABARIO_API_PORT": self.api,
            "TABARIO_EXPORTER_PORT": self.exporter,
        }
        if not stand_in:
            del ports["TABARIO_EMBEDDED_COMFYUI_PORT"]
        return ports


class Stack:
    """One embedded stack in one directory."""

    def __init__(  # noqa: PLR0913 - the groups of settings that it is made of
        self,
        directory: StackDirectory,
        embedded: EmbeddedSettings,
        api: ApiSettings,
        metrics: MetricsSettings,
        *,
        comfyui: ComfyUISettings | None = None,
        front_door: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`comfyui` are servers to use instead of the stand-in.

        `front_door` are variables for the front door alone, instead of what all processes are told.
        """
        self._directory = directory
        self._embedded = embedded
        self._metrics = metrics
        self._front_door = front_door
        self._secrets = directory.secrets()
        self._ports = StackPorts(
            redis=embedded.redis_port,
            prefect=embedded.prefect_port,
            comfyui=embedded.comfyui_port,
            api=api.port,
            exporter=metrics.exporter_port,
        )
        self._stand_in = comfyui is None
        self._comfyui_url = comfyui.url if comfyui else f"http://{LOOPBACK}:{self._ports.comfyui}"

    @property
    def mark(self) -> str:
        """What every process of this stack carries in its environment."""
        return str(self._directory.root)

    @asynccontextmanager
    async def running(self, listener: Listener) -> AsyncIterator[RunningStack]:
        """Runs the stack until the block ends. Raises ConfigurationError or ServiceDidNotStart."""
        with self._directory.lock():
            await asyncio.to_thread(end_marked, self.mark, grace=5)
            self._require_free_ports()
            supervisor = Supervisor(self.mark, self._directory.root, self._directory.log, listener)
            try:
                await self._start(supervisor)
                stack = self._addresses()
                self._directory.announce(stack)
                yield stack
            finally:
                await asyncio.shield(self._stop(supervisor))

    async def _start(self, supervisor: Supervisor) -> None:
        await supervisor.start(self._redis())
        await asyncio.gather(*(supervisor.start(service) for service in self.neighbours()))
        await require_durable_leases(PrefectSettings(url=self.environment()["PREFECT_API_URL"]))
        await self._deploy()
        await asyncio.gather(*(supervisor.start(service) for service in self._own_services()))

    async def _stop(self, supervisor: Supervisor) -> None:
        await supervisor.stop()
        await asyncio.to_thread(end_marked, self.mark, grace=5)

    async def _deploy(self) -> None:
        """Registers blocks, work pool, queues and deployments; safe to repeat."""
        process = await spawn(
            [sys.executable, "-m", "tabario.cli", "deploy"],
            environment=child_environment(self.mark, self.environment()),
            log=self._directory.log("deploy"),
            cwd=self._directory.root,
        )
        try:
            code = await asyncio.wait_for(process.wait(), DEPLOY_TIMEOUT)
        except TimeoutError:
            code = None
        if code != 0:
            raise ServiceDidNotStart(f"deploy did not succeed; its log says why: {self._directory.log('deploy')}")

    def _addresses(self) -> RunningStack:
        return RunningStack(
            pid=os.getpid(),
            api_url=f"http://{LOOPBACK}:{self._ports.api}",
            prefect_url=f"http://{LOOPBACK}:{self._ports.prefect}",
            exporter_url=f"http://{LOOPBACK}:{self._ports.exporter}",
            comfyui_url=self._comfyui_url,
        )

    def environment(self) -> dict[str, str]:
        """What the project's own processes are told, the same for all."""
        root = self._directory.root
        return {
            "TABARIO_ENVIRONMENT": "development",
            "TABARIO_STATE_DIR": str(root),
            "TABARIO_DEVELOPMENT_KEY": self._secrets.development_key,
            "TABARIO_REDIS_URL": f"redis://:{self._secrets.redis_password}@{LOOPBACK}:{self._ports.redis}/0",
            "TABARIO_COMFYUI_URL": self._comfyui_url,
            "TABARIO_MEDIA_ROOT": str(root / "media"),
            "TABARIO_PREFECT_ONE_WRITER": "true",
            "TABARIO_API_LINK_KEY": hashlib.sha256(f"links/{self._secrets.development_key}".encode()).hexdigest(),
            "TABARIO_API_HOST": LOOPBACK,
            "TABARIO_API_PORT": str(self._ports.api),
            "TABARIO_API_PUBLIC_URL": f"http://{LOOPBACK}:{self._ports.api}",
            "TABARIO_METRICS_DIRECTORY": str(root / "metrics"),
            "TABARIO_EXPORTER_HOST": LOOPBACK,
            "TABARIO_EXPORTER_PORT": str(self._ports.exporter),
            "PREFECT_API_URL": f"http://{LOOPBACK}:{self._ports.prefect}/api",
            "PREFECT_HOME": str(root / "prefect"),
            "DO_NOT_TRACK": "1",
        }

    def _require_free_ports(self) -> None:
        for variable, port in self._ports.variables(stand_in=self._stand_in).items():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((LOOPBACK, port))
                except OSError:
                    raise ConfigurationError(
                        f"Port {port} is taken: end what listens there, or set {variable} to a free port."
                    ) from None

    def _redis(self) -> Service:
        binary = find_redis_server(self._embedded.redis_server)
        password = self._secrets.redis_password
        command = redis_command(
            binary, port=self._ports.redis, password=password, directory=self._directory.root / "redis"
        )

        async def is_ready() -> bool:
            client = Redis(host=LOOPBACK, port=self._ports.redis, password=password, socket_timeout=1)
            try:
                return bool(await client.ping())
            except (RedisError, OSError):
                return False
            finally:
                await client.aclose()

        return Service("redis", command, {}, is_ready)

    def neighbours(self) -> list[Service]:
        """What the project's own processes need besides Redis."""
        return [self._prefect(), *([self._comfyui()] if self._stand_in else [])]

    def _prefect(self) -> Service:
        home = self._directory.root / "prefect"
        home.mkdir(exist_ok=True, mode=0o700)
        environment = prefect_server_environment(
            home=home,
            port=self._ports.prefect,
            redis_port=self._ports.redis,
            redis_password=self._secrets.redis_password,
        )
        ready = _answers(f"{environment['PREFECT_API_URL']}/health")
        command = prefect_server_command(port=self._ports.prefect)
        return Service("prefect-server", command, environment, ready, start_timeout=120)

    def _comfyui(self) -> Service:
        command = [sys.executable, "-m", "tabario.embedded.comfyui", "--port", str(self._ports.comfyui)]
        command += ["--image-seconds", str(self._embedded.image_seconds)]
        command += ["--directory", str(self._directory.root / "comfyui")]
        return Service(
            "comfyui-stand-in", command, {}, _answers(f"http://{LOOPBACK}:{self._ports.comfyui}/system_stats")
        )

    def _own_services(self) -> list[Service]:
        environment = self.environment()
        worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", names.WORK_POOL, "--type", "process"]
        habits = {
            "PREFECT_WORKER_QUERY_SECONDS": WORKER_QUERY_SECONDS,
            PREFECT_LOGGING_VARIABLE: str(PREFECT_LOGGING),
        }
        return [
            Service(
                "worker",
                [*worker, "--name", WORKER_NAME],
                {**environment, **habits},
                _is_online(environment["PREFECT_API_URL"]),
            ),
            Service(
                "front-door",
                [sys.executable, "-m", "api"],
                {**environment, **self._front_door},
                _answers(f"http://{LOOPBACK}:{self._ports.api}/ready"),
            ),
            Service(
                "exporter",
                [sys.executable, "-m", "monitoring"],
                environment,
                _answers(f"http://{LOOPBACK}:{self._ports.exporter}/health"),
            ),
        ]


def _loopback_client() -> httpx.AsyncClient:
    """A client without TLS: reading the system's certificates for each question would cost more than the question."""
    return httpx.AsyncClient(timeout=5, verify=False)  # noqa: S501 - plain HTTP on loopback


def _answers(url: str) -> Callable[[], Awaitable[bool]]:
    async def is_ready() -> bool:
        async with _loopback_client() as client:
            try:
                return (await client.get(url)).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

    return is_ready


def _is_online(prefect_api_url: str) -> Callable[[], Awaitable[bool]]:
    begun = datetime.now(UTC)  # an earlier worker of the same name still counts as online for a while

    async def is_ready() -> bool:
        async with _loopback_client() as client:
            try:
                workers = await client.post(f"{prefect_api_url}/work_pools/{names.WORK_POOL}/workers/filter", json={})
            except httpx.TransportError:
                return False
        return workers.is_success and any(
            worker["status"] == "ONLINE" and datetime.fromisoformat(worker["last_heartbeat_time"]) > begun
            for worker in workers.json()
        )

    return is_ready
