"""A ComfyUI stand-in in a process of its own, and the means to make it misbehave."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support.servers import free_port, running
from tests.support.waiting import wait_until


@dataclass(frozen=True)
class ComfyUIServer:
    """A running stand-in. `process` is None for one in the test's own process."""

    url: str
    directory: Path
    http: httpx.Client
    process: subprocess.Popen[bytes] | None = None

    def kill(self) -> None:
        """Ends the server as SIGKILL does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def arm(self, fault: str, *, times: int = 1, after: int = 0, seconds: float = 1.0) -> None:
        """Makes a fault strike `times` times, after `after` occasions without it."""
        body = {"name": fault, "times": times, "after": after, "seconds": seconds}
        self.http.post("/standin/faults", json=body).raise_for_status()

    def disarm(self) -> None:
        """Removes every fault."""
        self.http.delete("/standin/faults").raise_for_status()

    def restart(self) -> None:
        """Loses everything but the files, at once."""
        self.http.post("/standin/restart").raise_for_status()

    def runs(self) -> list[dict[str, Any]]:
        """Every prompt that has run: prompt_id, extra_data, status, started, ended, images, filename_prefix."""
        runs: list[dict[str, Any]] = self.http.get("/standin/log").raise_for_status().json()["runs"]
        return runs

    def images_painted(self) -> int:
        """Pictures painted since the directory was new."""
        return sum(run["images"] for run in self.runs())


def busy_share(server: ComfyUIServer) -> float:
    """Seconds in which the executor worked, of those from its first picture's beginning to its last one's end."""
    runs = server.runs()
    window = max(run["ended"] for run in runs) - min(run["started"] for run in runs)
    return float(sum(run["ended"] - run["started"] for run in runs) / window)


@contextmanager
def comfyui_running(
    directory: Path, *, image_seconds: float = 0.0, version: str = "0.33.0", port: int | None = None
) -> Iterator[ComfyUIServer]:
    """A stand-in that keeps its files in `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    command = [sys.executable, "-m", "tabario.embedded.comfyui", "--port", str(port), "--directory", str(directory)]
    command += ["--image-seconds", str(image_seconds), "--version", version]
    url = f"http://127.0.0.1:{port}"
    with (
        running(command, environment={}, log=directory / "comfyui.log") as process,
        httpx.Client(base_url=url, timeout=10) as http,
    ):

        def answers() -> bool:
            try:
                return http.get("/prompt").is_success
            except httpx.TransportError:
                return False

        wait_until(answers, within=60, what="the ComfyUI stand-in answers")
        yield ComfyUIServer(url, directory, http, process)
