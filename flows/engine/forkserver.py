"""The fork server of a worker: an interpreter that has imported what flow runs need, and forks for each of them.

It has one thread, which is what makes forking safe, and refuses to serve when an import has started another.
It is not `multiprocessing.forkserver`: there, forks end without the exit handlers that send Prefect's last logs.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from setproctitle import setproctitle

from flows.engine.handshake import (
    FINGERPRINT,
    FORWARDED,
    GO,
    MADE_WAY,
    MESSAGE_BYTES,
    PID,
    STATUS,
    STREAMS,
    VARIABLES,
    encode,
    require_own,
)
from tabario.parent import end_with_parent

PRELOADED: Final = (
    "prefect.flow_engine",
    "prefect._internal.metrics",
    "prefect.task_engine",
    "prefect.utilities.visualization",
    "pydantic.v1",
    "anyio._backends._asyncio",
    "flows.images",
    "flows.merge",
    "flows.publish",
    "flows.scenes",
    "flows.studio",
    "flows.tracking",
    "flows.voiceover",
)
"""What `prefect.engine` and `flows.video` import. Not these two: the one is run, the other starts to send traces."""

IDLE_SECONDS: Final = 3600.0  # without a run; bounds what stays behind should a worker's end go unnoticed
REQUEST_SECONDS: Final = 1.0  # meanwhile nothing else is attended to


@dataclass(frozen=True)
class Run:
    """What a client asks for: a flow run's own variables and its standard streams."""

    fingerprint: str
    variables: dict[str, str]
    streams: list[int]

    def become(self) -> None:
        """Makes this process that of the run, until the run ends."""
        os.environ.update(self.variables)  # the server was started with those of no run
        for target, stream in zip(STREAMS, self.streams, strict=True):
            os.dup2(stream, target)
            os.close(stream)
        os.environ["SPT_NOENV"] = "1"  # tells setproctitle to overwrite the command line, and not the environment too
        setproctitle(f"prefect.engine {self.variables.get('PREFECT__FLOW_RUN_ID', '')}")
        del os.environ["SPT_NOENV"]
        sys.argv = ["prefect.engine"]
        sys.modules.pop("prefect.engine", None)  # a run as a script does not find it imported either
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


@dataclass(frozen=True)
class Fork:
    """A fork as the server sees it. The client holds the other end of the connection for as long as it lives."""

    pid: int
    pidfd: int
    client: socket.socket


class ForkServer:
    """Forks on request until the worker has ended, or a request wants other code, and no fork is left."""

    def __init__(self, listener: socket.socket, worker: int, fingerprint: str) -> None:
        """`worker` is a pidfd; `fingerprint` is that of the code and the environment which were imported here."""
        self._listener = listener
        self._worker = worker
        self._fingerprint = fingerprint
        self._pid = os.getpid()
        self._forks: dict[int, Fork] = {}  # under both of a fork's descriptors
        self._retired = False
        self._poll = select.poll()
        self._poll.register(listener, select.POLLIN)
        self._poll.register(worker, select.POLLIN)

    def serve(self) -> Run | None:
        """Returns the run to become in each fork, and None in the server at its end."""
        while self._forks or not self._retired:
            ready = self._poll.poll(None if self._forks else IDLE_SECONDS * 1000)
            if not ready:
                return None
            # One at a time: what is done about it may give the others' numbers to new ones. Ends go before requests.
            descriptor, _ = ready[-1]
            if fork := self._forks.get(descriptor):
                self._settle(fork) if descriptor == fork.pidfd else self._kill(fork)
            elif descriptor == self._worker:
                self._retire()
            elif run := self._accept():
                return run
        return None

    def _accept(self) -> Run | None:
        """Answers one request; whatever goes wrong with it must not end the server, and every fork with it."""
        try:
            client, _ = self._listener.accept()
        except OSError as error:
            self._give_up(error)
            return None
        with ExitStack() as streams, ExitStack() as connection:
            connection.enter_context(client)
            try:
                run = receive(client, streams)
            except (OSError, ValueError, KeyError) as error:
                _complain(f"a request came to nothing ({error})")
                return None
            if run.fingerprint != self._fingerprint:
                self._retire()  # before the client hears of it, so that it finds the address free
                _tell(client, MADE_WAY)
                return None
            try:
                pid = os.fork()
            except OSError as error:
                self._give_up(error)
                return None
            if not pid:
                streams.pop_all()
                connection.pop_all()
                self._begin(client)
                return run
            if self._watch(pid, client):
                connection.pop_all()
            return None

    def _watch(self, pid: int, client: socket.socket) -> bool:
        """Follows a fork and its client from now on; says False when it had to be ended."""
        try:
            fork = Fork(pid, os.pidfd_open(pid), client)
        except OSError as error:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            self._give_up(error)
            return False
        self._forks |= {fork.pidfd: fork, client.fileno(): fork}
        self._poll.register(fork.pidfd, select.POLLIN)
        self._poll.register(client, 0)  # of its end alone, which needs no asking
        _tell(client, {PID: pid})
        return True

    def _begin(self, client: socket.socket) -> None:
        """In the fork: dies with the server, holds nothing of it, and ends here unless the client lets it begin."""
        end_with_parent(signal.SIGKILL)
        self._listener.close()
        os.close(self._worker)
        for fork in set(self._forks.values()):
            os.close(fork.pidfd)
            fork.client.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)
        client.settimeout(None)
        if os.getppid() != self._pid or client.recv(len(GO)) != GO:
            sys.exit("Fork server: the run was not let begin.")
        client.close()

    def _settle(self, fork: Fork) -> None:
        """The fork has ended: its client is told how."""
        _, status = os.waitpid(fork.pid, 0)
        self._forget_client(fork)
        del self._forks[fork.pidfd]
        self._poll.unregister(fork.pidfd)
        os.close(fork.pidfd)
        _tell(fork.client, {STATUS: status})
        fork.client.close()

    def _kill(self, fork: Fork) -> None:
        """The client was killed, and whoever did that meant the run."""
        self._forget_client(fork)
        signal.pidfd_send_signal(fork.pidfd, signal.SIGKILL)

    def _forget_client(self, fork: Fork) -> None:
        if self._forks.pop(fork.client.fileno(), None):
            self._poll.unregister(fork.client)

    def _give_up(self, error: OSError) -> None:
        """Lets another server take the requests: this one has no room for more."""
        _complain(f"it takes no more runs ({error})")
        self._retire()

    def _retire(self) -> None:
        """Takes no more requests."""
        if not self._retired:
            self._retired = True
            for descriptor in (self._listener.fileno(), self._worker):
                self._poll.unregister(descriptor)
            self._listener.close()


def _tell(client: socket.socket, message: Mapping[str, object]) -> None:
    try:
        client.send(encode(message))
    except OSError:  # it is gone; its connection says so as well
        return


def _complain(text: str) -> None:
    with suppress(OSError):  # the disk may be full, the worker gone
        sys.stderr.write(f"Fork server: {text}.\n")


def receive(client: socket.socket, streams: ExitStack) -> Run:
    """What a client asks for; `streams` then closes the descriptors. Raises OSError, ValueError or KeyError."""
    client.settimeout(REQUEST_SECONDS)
    require_own(client)
    message, descriptors, _, _ = socket.recv_fds(client, MESSAGE_BYTES, len(STREAMS))
    for descriptor in descriptors:
        streams.callback(os.close, descriptor)
    request = json.loads(message)
    return Run(request[FINGERPRINT], request[VARIABLES], descriptors)


def preload() -> None:
    """Imports what runs need. Ends the process when an import has started a thread: a fork would lack it."""
    for module in PRELOADED:
        importlib.import_module(module)
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        sys.exit(f"Fork server: the imports started {threads - 1} threads, so that it would not be safe to fork.")
    gc.collect()
    gc.freeze()  # forks then share these pages for longer


def main(listener: int, worker: int, fingerprint: str) -> None:
    """Serves on a listening socket that was handed down, as long as the process of the pidfd `worker` lives."""
    signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED)  # ends with its worker, and not before the last run
    preload()
    run = ForkServer(socket.socket(fileno=listener), worker, fingerprint).serve()
    if run is not None:
        run.become()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
