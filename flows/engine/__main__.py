"""What a worker starts for each flow run, instead of `python -m prefect.engine`.

Importing Prefect and the flow takes two seconds of a core. The first run on a worker leaves a fork server behind that
has imported them; it ends with the worker. This process stands for the fork: signals go to it, its end is this one's,
and when this process dies, the fork is killed. Where there can be no fork server, the engine starts as Prefect's own.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from types import FrameType
from typing import Final, NoReturn

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
    address_of,
    common_environment,
    encode,
    fingerprint,
    new_socket,
    require_own,
    run_environment,
)

ANSWER_SECONDS: Final = 30.0  # on a busy machine the imports take many times as long as on an idle one
STATUS_SECONDS: Final = 10.0
BACKLOG: Final = 128


def main() -> NoReturn:
    """Runs the flow run that the environment names, and ends as it ends."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)  # of the front door's processes: a flow run is none of them
    try:
        connection, fork = begin_fork(os.getppid())
    except (OSError, AttributeError) as error:  # a system without pidfds lacks the functions
        sys.stderr.write(f"No fork server ({error}): the engine starts by itself.\n")
        sys.stderr.flush()  # before this program is another one
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])
    end_as(status_of(connection, fork))


def begin_fork(worker: int) -> tuple[socket.socket, int]:
    """Lets a fork of the server of this worker begin; returns the connection to the server, and the fork's pidfd.

    Raises OSError when nothing was begun, and AttributeError on a system that cannot.
    """
    for stream in STREAMS:
        os.fstat(stream)  # a descriptor opened below must not take the place of one that is closed
    if os.getsid(worker) != os.getsid(0):
        raise ProcessLookupError("the worker has ended")
    request = encode({FINGERPRINT: fingerprint(), VARIABLES: run_environment()})
    for _ in range(2):  # a server of other code or another environment makes way
        connection = connect(worker)
        socket.send_fds(connection, [request], STREAMS)
        answer = received(connection)
        if answer is None:
            raise ConnectionError("it ended before it could fork")
        if answer != MADE_WAY:
            fork = os.pidfd_open(answer[PID])
            let_begin(connection, fork)
            return connection, fork
        connection.close()
    raise ConnectionError("it made way twice")


def connect(worker: int) -> socket.socket:
    """A connection to the fork server of this worker, which is started when there is none. Raises OSError."""
    address = address_of(worker)
    connection = new_socket()
    connection.settimeout(ANSWER_SECONDS)
    try:
        connection.connect(address)
    except ConnectionRefusedError:
        start_server(address, worker)
        connection.connect(address)
    require_own(connection)
    return connection


def start_server(address: str, worker: int) -> None:
    """Starts a fork server that outlives this process, but not the worker. Raises OSError when it cannot.

    The address is taken here already, so that nobody has to wait before connecting.
    """
    worker_fd = os.pidfd_open(worker)
    with new_socket() as listener:
        try:
            listener.bind(address)
        except OSError:  # another run was quicker
            return
        listener.listen(BACKLOG)
        descriptors = (listener.fileno(), worker_fd)
        log = _log_of(worker)
        subprocess.Popen(
            [sys.executable, "-m", "flows.engine.forkserver", *map(str, descriptors), fingerprint()],
            env=common_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            pass_fds=descriptors,
            start_new_session=True,
        )
    os.close(log)
    os.close(worker_fd)


def _log_of(worker: int) -> int:
    """Where the worker complains. Not this run's own stream: the worker waits until nobody holds that any more."""
    try:
        return os.open(f"/proc/{worker}/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    except OSError:  # it is a socket
        return os.open(os.devnull, os.O_WRONLY)


def let_begin(connection: socket.socket, fork: int) -> None:
    """Lets the fork begin. Whoever means the run knows this process alone, so that signals go on to the fork."""

    def forward(number: int, _: FrameType | None) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            signal.pidfd_send_signal(fork, number)

    connection.send(GO)  # not after the rest: a fork that a signal ended before would be taken for one that failed
    for number in FORWARDED:
        signal.signal(number, forward)


def status_of(connection: socket.socket, fork: int) -> int:
    """Waits for the fork's end. Returns the status that `waitpid` gave; a fork dies with its server."""
    select.select([connection.fileno(), fork], [], [])
    connection.settimeout(STATUS_SECONDS)  # a server that was stopped says nothing
    with suppress(TimeoutError):
        if answer := received(connection):
            return answer[STATUS]
    select.select([fork], [], [])
    sys.stderr.write("The run has ended; its fork server could not say how.\n")
    return int(signal.SIGKILL)


def received(connection: socket.socket) -> dict[str, int] | None:
    """The next message, or None when there will be none."""
    try:
        message = connection.recv(MESSAGE_BYTES)
    except ConnectionResetError:  # it closed before it read all that was sent; what it said can still be read
        message = connection.recv(MESSAGE_BYTES)
    answer: dict[str, int] | None = json.loads(message) if message else None
    return answer


def end_as(status: int) -> NoReturn:
    """Ends with the exit code, or by the signal, that the fork ended with."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        with suppress(OSError):  # there is no handler for SIGKILL
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    main()
