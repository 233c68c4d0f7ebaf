"""The commands that an operator types while a stack runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import CompletedProcess
from uuid import uuid4

import pytest

from tests.support.stack import StackUnderTest, shell_in
from tests.support.waiting import wait_until

JOB = {"script": "Trams climb the hills of Lisbon.", "caption": "Trams"}


def one_line(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def door(stack: StackUnderTest) -> tuple[str, str]:
    return "--url", stack.addresses.api_url


def test_a_submitted_job_is_followed_to_its_end(stack: StackUnderTest, door: tuple[str, str], tmp_path: Path) -> None:
    (job := tmp_path / "job.json").write_text(json.dumps(JOB), encoding="utf-8")
    token = stack.run("token", "--user-id", str(uuid4())).stdout.strip()

    def answer_of(*words: str) -> CompletedProcess[str]:
        return stack.run(*words, "--token", token, *door)

    accepted = answer_of("submit", str(job))
    assert accepted.returncode == 0, accepted.stderr
    run_id = json.loads(accepted.stdout)["run_id"]
    wait_until(
        lambda: json.loads(answer_of("status", run_id).stdout)["state"] == "completed",
        within=180,
        what="the job is completed",
    )


def test_a_refused_job_is_told_by_field_on_one_line(
    stack: StackUnderTest, door: tuple[str, str], tmp_path: Path
) -> None:
    (job := tmp_path / "job.json").write_text(json.dumps(JOB | {"video_format": "21:9"}), encoding="utf-8")
    refused = stack.run("submit", str(job), *door)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "video_format: " in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_run_that_never_was_is_said_not_to_be_there(stack: StackUnderTest, door: tuple[str, str]) -> None:
    unknown = stack.run("status", str(uuid4()), *door)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "(404)" in unknown.stderr


def test_a_front_door_that_is_not_there_is_named(stack: StackUnderTest) -> None:
    alone = stack.run("status", "any", "--url", "http://127.0.0.1:1")
    assert alone.returncode == 1
    assert "No front door answers at http://127.0.0.1:1" in one_line(alone.stderr)


def test_a_running_stack_has_nothing_left_to_deploy(stack: StackUnderTest) -> None:
    compared = stack.run("deploy", "--diff")
    assert compared.returncode == 0, compared.stdout + compared.stderr


def test_servers_are_shown_and_one_that_is_drained_says_so(stack: StackUnderTest) -> None:
    server = f"127.0.0.1:{stack.environment['TABARIO_EMBEDDED_COMFYUI_PORT']}"
    assert server in stack.run("servers").stdout
    try:
        drained = stack.run("servers", "--drain", server)
        assert "no, draining" in drained.stdout, drained.stdout + drained.stderr
    finally:
        refilled = stack.run("servers", "--refill", server)
    assert "draining" not in refilled.stdout


def test_a_fresh_store_has_nothing_to_prune(stack: StackUnderTest) -> None:
    for options in ([], ["--dry-run"]):
        pruned = stack.run("prune", *options)
        assert pruned.returncode == 0, pruned.stderr
        assert pruned.stdout.startswith("0 files removed")


def test_a_command_is_given_the_secrets_that_stand_in_files(tmp_path: Path) -> None:
    (secret := tmp_path / "password").write_text("from a file\n", encoding="utf-8")
    shell = shell_in(tmp_path, PREFECT_API_AUTH_STRING_FILE=str(secret))
    show = "import os; print(os.environ['PREFECT_API_AUTH_STRING'])"
    shown = shell.run("exec", "--", sys.executable, "-c", show)
    assert (shown.returncode, shown.stdout) == (0, "from a file\n"), shown.stderr
    missing = shell.run("exec", "--", "no-such-program")
    assert missing.returncode == 1
    assert "no program 'no-such-program'" in one_line(missing.stderr)


def test_the_secrets_of_an_installation_are_made_once(tmp_path: Path) -> None:
    shell, directory = shell_in(tmp_path), tmp_path / "secrets"
    assert shell.run("secrets", str(directory), "--check").returncode == 1
    assert shell.run("secrets", str(directory)).returncode == 0
    made = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert made
    assert shell.run("secrets", str(directory)).returncode == 0
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == made
