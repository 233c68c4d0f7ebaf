"""A worker's runs are forked from one interpreter, and each behaves as a process of its own would."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from flows.engine.__main__ import received
from flows.engine.forkserver import PRELOADED
from flows.engine.handshake import GO, STATUS, address_of, encode, new_socket, require_own
from tests.support.engine import FORK_SERVER, command_of, forks, variable_of
from tests.support.servers import free_port
from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]
MARK = "TABARIO_TEST_WORKER"
ENGINE = f"{shlex.quote(sys.executable)} -m flows.engine"
PATIENCE = 60.0


@dataclass
class Worker:
    """A shell in the part of the worker: it starts the processes of flow runs, and they see it as their parent."""

    shell: subprocess.Popen[str]
    directory: Path
    mark: str
    runs: list[str] = field(default_factory=list)

    def say(self, line: str) -> None:
        assert self.shell.stdin is not None
        self.shell.stdin.write(f"{line}\n")
        self.shell.stdin.flush()

    def start(self, run: str | None = None) -> str:
        """Starts a flow run; returns its id. One of a proper id asks Prefect, which does not answer, for ever."""
        run = run or str(uuid4())
        here = shlex.quote(str(self.directory / run))
        self.say(f"PREFECT__FLOW_RUN_ID={run} {ENGINE} >{here}.out 2>{here}.err & echo $! >{here}.pid")
        return run

    def client(self, run: str) -> psutil.Process:
        """The process that the worker knows."""
        file = self.directory / f"{run}.pid"
        wait_until(lambda: file.is_file() and file.read_text().endswith("\n"), within=PATIENCE, what="a pid is known")
        return psutil.Process(int(file.read_text()))

    def exit_code(self, run: str) -> int:
        """As a shell tells it: 128 and the number of the signal."""
        file = self.directory / f"{run}.code"
        self.say(f"wait {self.client(run).pid}; echo $? >{shlex.quote(str(file))}")
        wait_until(lambda: file.is_file() and file.read_text().endswith("\n"), within=PATIENCE, what="the run ends")
        return int(file.read_text())

    def errors(self, run: str) -> str:
        return (self.directory / f"{run}.err").read_text()

    def servers(self) -> list[psutil.Process]:
        return [one for one in self._family() if FORK_SERVER in command_of(one)]

    def fork(self, run: str) -> psutil.Process:
        """The process that makes the run, once it has begun."""
        found: list[psutil.Process] = []

        def is_there() -> bool:
            found.extend(forks(self._family(), run))
            return bool(found)

        wait_until(is_there, within=PATIENCE, what="the run is forked")
        return found[0]

    def _family(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if variable_of(process, MARK) == self.mark]

    def end(self) -> None:
        self.shell.kill()
        self.shell.communicate()

    def clear(self) -> None:
        self.end()
        for process in self._family():
            with suppress(psutil.Error):
                process.kill()


@contextmanager
def working(directory: Path, **variables: str) -> Iterator[Worker]:
    mark = str(uuid4())
    environment = {**os.environ, MARK: mark, "PREFECT_HOME": str(directory / "home"), **variables}
    with (directory / "worker.log").open("wb") as log:
        shell = subprocess.Popen(
            ["/usr/bin/env", "--default-signal=HUP", "/bin/sh"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
        )
    worker = Worker(shell, directory, mark)
    try:
        yield worker
    finally:
        worker.clear()


@pytest.fixture
def silent_prefect() -> Iterator[str]:
    """Takes connections and never answers: a run stays in its first question."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/api"


@pytest.fixture
def worker(tmp_path: Path, silent_prefect: str) -> Iterator[Worker]:
    with working(tmp_path, PREFECT_API_URL=silent_prefect) as worker:
        yield worker


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_runs_of_a_worker_are_forked_from_one_interpreter(worker: Worker) -> None:
    first, second = worker.fork(worker.start()), worker.fork(worker.start())

    assert [server.pid for server in worker.servers()] == [first.ppid()] == [second.ppid()]


def test_runs_that_start_at_once_share_one_server(worker: Worker) -> None:
    runs = [worker.start() for _ in range(5)]

    parents = {worker.fork(run).ppid() for run in runs}

    assert parents == {server.pid for server in worker.servers()}
    assert len(parents) == 1


def test_a_run_writes_to_its_own_streams_and_its_exit_code_arrives(worker: Worker) -> None:
    run = worker.start("not-an-id")

    assert worker.exit_code(run) == 1
    assert "Invalid flow run id" in worker.errors(run)
    assert worker.servers()
    assert (worker.directory / "worker.log").read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])  # a shell lets its background ignore SIGINT
def test_a_signal_to_the_process_that_the_worker_knows_ends_the_run(worker: Worker, number: signal.Signals) -> None:
    run = worker.start()
    fork = worker.fork(run)

    worker.client(run).send_signal(number)

    assert worker.exit_code(run) == 128 + number
    assert is_gone(fork)


def test_a_run_dies_with_the_process_that_the_worker_knows(worker: Worker) -> None:
    run, other = worker.start(), worker.start()
    fork, bystander = worker.fork(run), worker.fork(other)

    worker.client(run).kill()

    wait_until(lambda: is_gone(fork), within=PATIENCE, what="the fork is killed")
    assert not is_gone(bystander)
    assert worker.exit_code(run) == 128 + signal.SIGKILL


def test_a_killed_run_looks_killed_to_the_worker(worker: Worker) -> None:
    run = worker.start()

    worker.fork(run).kill()

    assert worker.exit_code(run) == 128 + signal.SIGKILL


def test_runs_die_with_their_server_and_the_next_one_starts_another(worker: Worker) -> None:
    run = worker.start()
    fork = worker.fork(run)
    server = psutil.Process(fork.ppid())

    server.kill()

    assert worker.exit_code(run) == 128 + signal.SIGKILL
    assert is_gone(fork)
    assert worker.fork(worker.start()).ppid() != server.pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_server_ends_no_run(worker: Worker, number: signal.Signals) -> None:
    fork = worker.fork(worker.start())

    psutil.Process(fork.ppid()).send_signal(number)

    assert worker.fork(worker.start()).ppid() == fork.ppid()
    assert not is_gone(fork)


def test_no_signal_is_lost_while_a_run_begins(worker: Worker) -> None:
    worker.fork(worker.start())
    for _ in range(10):
        run = worker.start()
        client = worker.client(run)
        wait_until(partial(catches_or_is_gone, client, signal.SIGTERM), within=PATIENCE, what="the run may begin")
        client.terminate()
        assert worker.exit_code(run) == 128 + signal.SIGTERM
        assert "by itself" not in worker.errors(run)


def catches_or_is_gone(process: psutil.Process, number: signal.Signals) -> bool:
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return True
    caught = next(line for line in status.splitlines() if line.startswith("SigCgt:"))
    return bool(int(caught.split()[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("room", [0, 1, 4])  # of a connection, three streams and a pidfd
def test_a_server_without_room_for_more_leaves_its_runs_alone_and_makes_way(worker: Worker, room: int) -> None:
    fork = worker.fork(worker.start())
    server = psutil.Process(fork.ppid())
    used = {int(entry.name) for entry in Path(f"/proc/{server.pid}/fd").iterdir()}
    limit = [number for number in range(max(used) + 6) if number not in used][room]
    server.rlimit(psutil.RLIMIT_NOFILE, (limit, limit))

    turned_away = worker.start("not-an-id")

    assert worker.exit_code(turned_away) == 1
    assert "Invalid flow run id" in worker.errors(turned_away)
    assert "takes no more runs" in (worker.directory / "worker.log").read_text()
    assert worker.fork(worker.start()).ppid() != server.pid
    assert not is_gone(fork)


def test_a_request_that_makes_no_sense_costs_the_server_nothing(worker: Worker) -> None:
    fork = worker.fork(worker.start())
    server = psutil.Process(fork.ppid())
    descriptors = server.num_fds()
    for message in (b"", b"nonsense", b"{}"):
        with new_socket() as connection:
            connection.settimeout(PATIENCE)
            connection.connect(address_of(worker.shell.pid))
            socket.send_fds(connection, [message], [0, 1, 2])
            assert connection.recv(100) == b""

    assert worker.fork(worker.start()).ppid() == server.pid
    assert server.num_fds() == descriptors + 2  # of the second fork


def test_a_run_that_its_server_cannot_report_has_ended_all_the_same(worker: Worker) -> None:
    run = worker.start()
    fork = worker.fork(run)
    server = psutil.Process(fork.ppid())
    server.suspend()

    fork.kill()

    assert worker.exit_code(run) == 128 + signal.SIGKILL
    assert "could not say how" in worker.errors(run)


def test_a_run_whose_worker_has_just_ended_leaves_no_server_behind(worker: Worker) -> None:
    errors, over = worker.directory / "orphan.err", worker.directory / "orphan"
    worker.say(f"PREFECT__FLOW_RUN_ID=not-an-id setsid {ENGINE} 2>{errors}; echo >{over}")
    wait_until(over.exists, within=PATIENCE, what="the orphan ends")

    assert "the worker has ended" in errors.read_text()
    assert not worker.servers()


def test_the_server_ends_after_its_worker_and_its_last_run(worker: Worker) -> None:
    run = worker.start()
    fork = worker.fork(run)
    server = psutil.Process(fork.ppid())
    client = worker.client(run)

    worker.end()
    idle_worker_gone = worker.shell.poll() is not None
    fork_outlives = not is_gone(fork)
    client.terminate()

    assert idle_worker_gone
    assert fork_outlives
    wait_until(lambda: is_gone(server), within=PATIENCE, what="the server has ended")
    assert is_gone(fork)


def test_another_environment_is_not_served_from_the_old_one(worker: Worker) -> None:
    before = worker.fork(worker.start())
    worker.say("export TABARIO_MEDIA_ROOT=/elsewhere")

    run = worker.start()
    after = worker.fork(run)

    assert after.ppid() != before.ppid()
    assert not is_gone(before)
    before.kill()
    wait_until(lambda: len(worker.servers()) == 1, within=PATIENCE, what="the server that made way ends")


def test_changed_code_is_not_served_from_the_old_one(worker: Worker, tmp_path: Path) -> None:
    before = worker.fork(worker.start())
    changed = ROOT / "flows" / f"changed_{tmp_path.name}.py"
    changed.touch()
    try:
        assert worker.fork(worker.start()).ppid() != before.ppid()
    finally:
        changed.unlink()


def test_a_run_starts_by_itself_where_nothing_can_be_forked(worker: Worker) -> None:
    with new_socket() as squatter:
        squatter.bind(address_of(worker.shell.pid))  # nobody listens: connecting is refused, and so is the address

        run = worker.start("not-an-id")

        assert worker.exit_code(run) == 1
    assert "the engine starts by itself" in worker.errors(run)
    assert "Invalid flow run id" in worker.errors(run)


def test_a_server_that_has_threads_refuses_to_fork(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading\n"
        "if 'flows.engine.forkserver' in sys.orig_argv:\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    with working(tmp_path, PYTHONPATH=path, PREFECT_API_URL=f"http://127.0.0.1:{free_port()}/api") as worker:
        run = worker.start("not-an-id")

        assert worker.exit_code(run) == 1
        assert "the engine starts by itself" in worker.errors(run)
        assert "would not be safe to fork" in (tmp_path / "worker.log").read_text()
        assert not worker.servers()


@pytest.mark.parametrize("said", [[{STATUS: signal.SIGTERM}], []])
def test_what_the_server_said_arrives_although_it_did_not_hear_all(said: list[dict[str, int]]) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            ours.send(GO)
            for message in said:
                theirs.send(encode(message))
        assert received(ours) == next(iter(said), None)


def test_nothing_is_told_to_a_process_of_another_user(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        require_own(ours)
        monkeypatch.setattr(os, "getuid", lambda: 54321)
        with pytest.raises(PermissionError):
            require_own(ours)


def test_the_flow_imports_nothing_of_ours_that_was_not_preloaded() -> None:
    script = (
        "import importlib, sys\n"
        f"for module in {PRELOADED!r}: importlib.import_module(module)\n"
        "before = set(sys.modules)\n"
        "import flows.video\n"
        "print(*sorted(set(sys.modules) - before))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["flows.video"]


def test_what_the_worker_starts_imports_the_standard_library_alone() -> None:
    script = (
        "import sys\n"
        "before = set(sys.modules)\n"
        "import flows.engine.__main__\n"
        "print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["flows"]
