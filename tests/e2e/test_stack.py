from __future__ import annotations

import json
import os
from pathlib import Path

import httpx

from tests.support.stack import StackUnderTest, UserShell, shell_in, stack_running
from tests.support.waiting import wait_until


def test_second_stack_in_the_same_directory_is_refused_with_one_sentence(stack: StackUnderTest) -> None:
    second = stack.run("up")
    assert second.returncode == 1
    assert f"already runs in state (process {stack.up.pid})" in second.stderr
    assert "Traceback" not in second.stderr


def test_stack_whose_port_is_taken_is_refused_with_the_port_and_its_variable(
    stack: StackUnderTest, tmp_path: Path
) -> None:
    port = stack.environment["TABARIO_API_PORT"]
    refused = shell_in(tmp_path, TABARIO_API_PORT=port).run("up")
    assert refused.returncode == 1
    assert f"Port {port} is taken" in refused.stderr
    assert "TABARIO_API_PORT" in refused.stderr


def test_killed_front_door_is_back_and_the_terminal_says_so(stack: StackUnderTest) -> None:
    front_door = stack.named("api")
    front_door.kill()

    def is_back() -> bool:
        try:
            ready = httpx.get(f"{stack.addresses.api_url}/ready", timeout=5)
        except httpx.TransportError:
            return False
        return ready.is_success and stack.named("api").pid != front_door.pid

    wait_until(is_back, within=90, what="the front door is ready again")
    assert "front-door" in stack.output.read_text()
    assert "was killed by signal 9" in stack.output.read_text()


def test_stack_listens_on_loopback_only(stack: StackUnderTest) -> None:
    addresses = {
        connection.laddr.ip
        for process in stack.processes()
        for connection in process.net_connections(kind="inet")
        if connection.status == "LISTEN"
    }
    assert addresses <= {"127.0.0.1"}
    assert addresses


def test_development_tokens_are_for_this_stack_only(stack: StackUnderTest, tmp_path: Path) -> None:
    elsewhere = shell_in(tmp_path)
    refused = elsewhere.run("token")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "run make up first" in " ".join(refused.stderr.split())
    assert not elsewhere.state.exists()
    elsewhere.directory.secrets()
    foreign = elsewhere.run("token").stdout.strip()
    own = stack.run("token").stdout.strip()
    slots = f"{stack.addresses.api_url}/orchestrate/slots"
    assert httpx.get(slots, headers={"Authorization": f"Bearer {own}"}, timeout=20).status_code == 200
    assert httpx.get(slots, headers={"Authorization": f"Bearer {foreign}"}, timeout=20).status_code == 401


def test_stopped_stack_leaves_no_process_and_starts_again_with_what_it_knew(tmp_path: Path) -> None:
    with stack_running(tmp_path) as first:
        secrets = first.directory.secrets()
        assert first.processes()
    assert first.processes() == []
    assert "Stopped." in first.output.read_text()
    with stack_running(tmp_path) as second:
        assert second.directory.secrets() == secrets
        assert UserShell(second.state, dict(os.environ)).directory.running() == second.addresses
    assert second.processes() == []


def test_the_doctor_finds_no_fault_in_the_stack_and_leases_that_outlive_it(stack: StackUnderTest) -> None:
    examined = stack.run("doctor", "--json")
    verdicts = {finding["check"]: finding["verdict"] for finding in json.loads(examined.stdout)}
    assert examined.returncode == 0, examined.stdout
    assert len(verdicts) > 20
    assert "fail" not in verdicts.values()
    assert verdicts["prefect-leases"] == "ok"
    assert verdicts["slot-keeper"] == "ok"
