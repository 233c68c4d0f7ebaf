"""One ffmpeg binary: finding it, running it, and ending it."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import anyio
import imageio_ffmpeg
from anyio.abc import ByteReceiveStream

from tabario.clients.ffmpeg.process import group_running
from tabario.errors import ConfigurationError, MergeFailed

logger = logging.getLogger(__name__)

Progress = Callable[[float], Awaitable[None]]

_TAIL_BYTES: Final = 64 * 1024
_QUIET: Final = ("-nostdin", "-hide_banner", "-nostats", "-y")
_KNOWN_FAILURES: Final = {
    "No space left on device": "The disk is full: the film could not be written.",
    "Disk quota exceeded": "The disk is full: the film could not be written.",
    "Invalid data found when processing input": "A media file is damaged or in an unknown format.",
}


@dataclass(frozen=True, slots=True)
class FFmpeg:
    """An ffmpeg that runs on this machine."""

    binary: Path

    @classmethod
    def find(cls, configured: Path | None = None) -> Self:
        """The configured binary, else the one inside imageio-ffmpeg.

        Raises ConfigurationError when there is none or when it does not run.
        """
        if configured is None:
            try:
                configured = Path(imageio_ffmpeg.get_ffmpeg_exe())
            except RuntimeError:
                raise ConfigurationError(
                    "There is no bundled ffmpeg for this platform: install ffmpeg and set TABARIO_MEDIA_FFMPEG to it."
                ) from None
        try:
            subprocess.run([configured, "-version"], check=True, capture_output=True, timeout=30)
        except (OSError, subprocess.SubprocessError):
            raise ConfigurationError("TABARIO_MEDIA_FFMPEG does not name an ffmpeg that runs.") from None
        return cls(configured)

    async def run(  # noqa: PLR0913 - a process has this many sides
        self,
        args: Sequence[str],
        *,
        cwd: Path | None = None,
        on_progress: Progress | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - part of what a run may take, and reported as a failure
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        log_level: str = "warning",
        environment: Mapping[str, str] | None = None,
    ) -> str:
        """Runs ffmpeg with `args` until it ends and returns the last 64 KiB of what it said on standard error.

        `on_progress` is called with the seconds of output done so far and takes standard output for itself.
        `timeout` is in seconds. `environment` is all that ffmpeg gets to see: nothing of ours is inherited.
        Cancelling the caller kills ffmpeg and waits until it is gone.
        Raises MergeFailed when ffmpeg fails or takes too long; what it said goes to the log.
        """
        report = ("-progress", "pipe:1", "-stats_period", "0.5") if on_progress else ()
        command = [str(self.binary), *_QUIET, "-loglevel", log_level, *report, *args]
        try:
            with anyio.fail_after(timeout):
                code, said = await _run_to_end(
                    command,
                    cwd=cwd,
                    on_progress=on_progress,
                    stdin=stdin,
                    stdout=subprocess.PIPE if on_progress else stdout,
                    environment=environment or {},
                )
        except TimeoutError:
            logger.error("ffmpeg was ended after %s s", timeout)  # noqa: TRY400 - the traceback says nothing
            raise MergeFailed("ffmpeg took too long.", reason="timeout") from None
        if code != 0:
            logger.error("ffmpeg ended with code %s and said:\n%s", code, said[-4000:])
            raise MergeFailed(explain(said))
        return said

    async def can(self, args: Sequence[str], *, timeout: float) -> bool:  # noqa: ASYNC109 - as above
        """Whether ffmpeg ends well with `args` within `timeout` seconds: to find out what this machine can do."""
        command = [str(self.binary), *_QUIET, "-loglevel", "quiet", *args]
        with anyio.move_on_after(timeout):
            code, _ = await _run_to_end(
                command, cwd=None, on_progress=None, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, environment={}
            )
            return code == 0
        return False


def explain(said: str) -> str:
    """A sentence fit for callers about why ffmpeg failed, from what it said on standard error."""
    for phrase, sentence in _KNOWN_FAILURES.items():
        if phrase in said:
            return sentence
    return "ffmpeg could not process the film."


async def _run_to_end(  # noqa: PLR0913 - as above
    command: list[str],
    *,
    cwd: Path | None,
    on_progress: Progress | None,
    stdin: int,
    stdout: int,
    environment: Mapping[str, str],
) -> tuple[int, str]:
    tail = bytearray()
    async with (
        group_running(command, cwd=cwd, stdin=stdin, stdout=stdout, environment=environment) as process,
        anyio.create_task_group() as readers,
    ):
        assert process.stderr is not None  # noqa: S101 - it was asked for
        readers.start_soon(_keep_tail, process.stderr, tail)
        if on_progress is not None:
            assert process.stdout is not None  # noqa: S101 - it was asked for
            readers.start_soon(_report_progress, process.stdout, on_progress)
        code = await process.wait()
    return code, tail.decode(errors="replace")


async def _keep_tail(stream: ByteReceiveStream, tail: bytearray) -> None:
    async for chunk in stream:
        tail += chunk
        del tail[:-_TAIL_BYTES]


async def _report_progress(stream: ByteReceiveStream, on_progress: Progress) -> None:
    buffer = b""
    async for chunk in stream:
        *lines, buffer = (buffer + chunk).split(b"\n")
        for line in lines:
            name, _, value = line.partition(b"=")
            if name == b"out_time_us":
                with suppress(ValueError):  # "N/A" until the first packet is written
                    await on_progress(max(0, int(value)) / 1_000_000)
