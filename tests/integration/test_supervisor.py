from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest

from tabario.embedded.processes import MARK, end_marked
from tabario.embedded.supervisor import Service, ServiceDidNotStart, Supervisor
from tests.support.servers import free_port
from tests.support.waiting import eventually, wait_until

GRANDCHILD = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()'])"
SERVE = """
import http.server, sys
http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind="127.0.0.1")
"""


@dataclass
class Notes:
    """What the supervisor told."""

    started_services: list[str] = field(default_factory=list)
    ended_services: list[tuple[str, int]] = field(default_factory=list)

    def started(self, service: str, *, seconds: float) -> None:
        assert seconds > 0
        self.started_services.append(service)

    def ended(self, service: str, *, code: int, pause: float) -> None:
        assert pause > 0
        self.ended_services.append((service, code))


@dataclass
class Bench:
    """A supervisor with its notes and its mark."""

    supervisor: Supervisor
    notes: Notes
    directory: Path

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.supervisor.mark:
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    notes = Notes()
    supervisor = Supervisor(
        mark=str(tmp_path), directory=tmp_path, log=lambda name: tmp_path / f"{name}.log", listener=notes
    )
    yield Bench(supervisor, notes, tmp_path)
    await supervisor.stop()
    end_marked(str(tmp_path), grace=5)


def web_server(name: str, code: str = SERVE) -> Service:
    port = free_port()

    async def is_ready() -> bool:
        async with httpx.AsyncClient(verify=False) as client:  # noqa: S501 - plain HTTP on loopback
            try:
                return (await client.get(f"http://127.0.0.1:{port}")).is_success
            except httpx.TransportError:
                return False

    return Service(name, [sys.executable, "-c", code, str(port)], {}, is_ready)


async def test_started_service_answers(bench: Bench) -> None:
    service = web_server("web")
    await bench.supervisor.start(service)
    assert await service.is_ready()
    assert bench.notes.started_services == ["web"]


async def test_killed_service_is_started_again_and_said_so(bench: Bench) -> None:
    service = web_server("web")
    await bench.supervisor.start(service)
    bench.processes()[0].kill()

    async def is_back() -> bool:
        return bench.notes.started_services == ["web", "web"]

    await eventually(is_back, within=20, what="the service runs again")
    assert await service.is_ready()
    assert bench.notes.ended_services == [("web", -signal.SIGKILL)]


async def test_service_that_cannot_start_is_named_with_its_log(bench: Bench) -> None:
    service = web_server("broken", "print('no such thing'); raise SystemExit(3)")
    with pytest.raises(ServiceDidNotStart, match=r"broken did not start.*broken\.log"):
        await bench.supervisor.start(service)
    assert "no such thing" in (bench.directory / "broken.log").read_text()


async def test_stop_leaves_no_process_behind_not_even_a_service_s_own_children(bench: Bench) -> None:
    await bench.supervisor.start(web_server("web", GRANDCHILD + SERVE))
    assert len(bench.processes()) == 2
    await bench.supervisor.stop()
    assert bench.processes() == []


async def test_orphan_of_a_killed_service_is_ended_by_its_mark(bench: Bench) -> None:
    await bench.supervisor.start(web_server("web", GRANDCHILD + SERVE))
    server = next(process for process in bench.processes() if process.ppid() == os.getpid())
    orphan = server.children()[0]
    server.kill()
    wait_until(lambda: orphan.ppid() != server.pid, within=5, what="the grandchild is an orphan")
    await bench.supervisor.stop()
    assert end_marked(bench.supervisor.mark, grace=5) == 1
    assert not orphan.is_running()
