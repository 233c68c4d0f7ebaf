"""docker-compose.yml without Docker: the very same commands, environment, secrets and health checks as processes.

Each service gets a loopback address of its own, so that every port stays what the file says. What differs from
containers stands in the three tables: `PROGRAMS` (what an image's entrypoint adds), `Composition.paths` (where a path
in a container lies here) and the addresses.
"""

from __future__ import annotations

import copy
import os
import re
import secrets
import shlex
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil
import yaml

from tests.support.engine import variable_of
from tests.support.postgresql import find_postgresql, unprivileged
from tests.support.servers import running
from tests.support.waiting import wait_until

ROOT: Final = Path(__file__).parents[2]
COMPOSE_FILE: Final = ROOT / "docker-compose.yml"
OURS: Final = "tabario-flows:"
ELSEWHERE: Final = {"TABARIO_SCRAPE_CREDENTIALS": "prometheus"}  # variables that hold a path in another's container
REPLACED: Final = {"command", "entrypoint"}  # lists that an overlay does not add to
MARK: Final = "TESTED_SERVICE"  # in the environment of every process of a service
_VARIABLE: Final = re.compile(r"\$\$|\$\{(\w+)(?:(:[-?])([^}]*))?\}")


def entrypoint() -> list[str]:
    """What our image runs before each command, from the Dockerfile."""
    [line] = [one for one in (ROOT / "Dockerfile").read_text().splitlines() if one.startswith("ENTRYPOINT ")]
    words: list[str] = yaml.safe_load(line.removeprefix("ENTRYPOINT "))
    return words


def image_environment() -> dict[str, str]:
    """What our image sets, from the Dockerfile; where programs are found is a matter of this machine."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    [line] = re.findall(r"^ENV (.*)$", text, re.MULTILINE)
    pairs = dict(word.partition("=")[::2] for word in shlex.split(line))
    return {name: value for name, value in pairs.items() if name != "PATH"}


def read_compose(variables: Mapping[str, str], path: Path = COMPOSE_FILE) -> dict[str, Any]:
    """The file with its variables filled in. Raises KeyError for one that must be set."""

    def fill(match: re.Match[str]) -> str:
        name, operator, word = match.groups()
        if name is None:
            return "$"
        value = variables.get(name, "")
        if not value and operator == ":?":
            raise KeyError(name)
        return value or (word or "")

    def walk(node: Any) -> Any:  # noqa: ANN401 - YAML
        match node:
            case str():
                return _VARIABLE.sub(fill, node)
            case dict():
                return {name: walk(value) for name, value in node.items()}
            case list():
                return [walk(value) for value in node]
        return node

    compose: dict[str, Any] = walk(yaml.safe_load(path.read_text()))
    return compose


def overlaid(base: Any, over: Any) -> Any:  # noqa: ANN401 - YAML
    """What Docker makes of a file and another one that is laid over it."""
    match base, over:
        case dict(), dict():
            found = {name: overlaid(base.get(name), over.get(name)) for name in [*base, *(over.keys() - base.keys())]}
            return found | {name: over[name] for name in REPLACED & over.keys()}
        case list(), list():
            return [*base, *over]
    return base if over is None else over


@dataclass
class Composition:
    """The services of the file; `start` runs one as a process, `directory` holds all that it writes."""

    directory: Path
    compose: dict[str, Any]
    prefix: str = field(default_factory=lambda: f"127.{1 + secrets.randbelow(250)}.{secrets.randbelow(250)}")
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stack: ExitStack = field(default_factory=ExitStack)

    @property
    def services(self) -> dict[str, Any]:
        found: dict[str, Any] = self.compose["services"]
        return found

    def in_order(self, *, without: Collection[str]) -> list[str]:
        """The services, each after those that it depends on."""
        order: list[str] = []

        def add(service: str) -> None:
            for needed in self.services[service].get("depends_on", ()):
                add(needed)
            if service not in order and service not in without:
                order.append(service)

        for service in self.services:
            add(service)
        return order

    def scale(self, service: str, number: int) -> str:
        """Declares another container of a service; says its name."""
        name = f"{service}-{number}"
        self.services[name] = copy.deepcopy(self.services[service])
        return name

    def address(self, service: str) -> str:
        """The loopback address that stands for a service's host."""
        return f"{self.prefix}.{1 + list(self.services).index(service)}"

    def path(self, service: str, container_path: str) -> Path:
        """Where a path in a service's container lies here."""
        for name, place in self.paths(service).items():
            if container_path == name or container_path.startswith(f"{name}/"):
                return place / container_path.removeprefix(name).lstrip("/")
        raise AssertionError(f"{service} uses {container_path}, which is neither mounted nor a secret")

    def paths(self, service: str) -> dict[str, Path]:
        """Every mount of a service: secrets, volumes, files of this project, and memory."""
        declared = self.services[service]
        found = {f"/run/secrets/{name}": self.secret(name, service) for name in declared.get("secrets", ())}
        if found:
            found["/run/secrets"] = self.directory / "run" / service / "secrets"
        for volume in declared.get("volumes", ()):
            source, _, target = volume.removesuffix(":ro").partition(":")
            if source.startswith("./"):
                found[target] = ROOT / source
            elif target:
                found[target] = self.directory / "volumes" / source
            else:
                found[source] = self.directory / "volumes" / f"{service}{source.replace('/', '-')}"
        for target in declared.get("tmpfs", ()):
            found[target] = self.directory / "memory" / f"{service}{target.replace('/', '-')}"
        for place in found.values():
            if not place.exists():
                place.mkdir(parents=True)
        return found

    def secret(self, name: str, service: str) -> Path:
        """The file of a secret for one service; only its hosts differ from the one that containers get."""
        source = self.directory / str(self.compose["secrets"][name]["file"])
        here = self.directory / "run" / service / "secrets" / name
        here.parent.mkdir(parents=True, exist_ok=True)
        here.write_text(self.moved(source.read_text()))
        return here

    def moved(self, text: str) -> str:
        """A value with the hosts in addresses replaced."""
        for service in self.services:
            host = rf"(?:(?<=//)|(?<=@)|(?<=,)|^){re.escape(service)}(?=:\d)"
            text = re.sub(host, self.address(service), text)
        return text

    def environment(self, service: str) -> dict[str, str]:
        """What a service's processes see: what the file and the Dockerfile say, and how to run here."""
        declared = self.services[service]
        given = {**(image_environment() if self.is_ours(service) else {}), **declared.get("environment", {})}
        here = {name: self._here(ELSEWHERE.get(name, service), str(value)) for name, value in given.items()}
        hosts = {name: self.address(value) for name, value in here.items() if value in self.services and "HOST" in name}
        here["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        memory = self.paths(service).get("/tmp", self.directory)  # noqa: S108 - the name in the container
        return {
            **here,
            **hosts,
            "HOME": str(memory),
            "TMPDIR": str(memory),
            "PYTHONPATH": str(ROOT),
            MARK: f"{self.directory} {service}",
        }

    def is_ours(self, service: str) -> bool:
        """Whether a service runs our own image."""
        return str(self.services[service]["image"]).startswith(OURS)

    def command(self, service: str) -> list[str]:
        """The command as a process of this machine, listening on the service's own address."""
        words = [self._here(service, str(word)) for word in self.services[service].get("command", ())]
        image = str(self.services[service]["image"]).partition(":")[0]
        return [*entrypoint(), *words] if self.is_ours(service) else PROGRAMS[image](self, service, words)

    def has_ended(self, service: str) -> bool:
        """Whether the process is gone."""
        return self.processes[service].poll() is not None

    def listening(self, service: str) -> set[tuple[str, int]]:
        """The addresses that a service's processes listen on."""
        parent = psutil.Process(self.processes[service].pid)
        found: set[tuple[str, int]] = set()
        for process in (parent, *parent.children(recursive=True)):
            with suppress(psutil.Error):  # a child may end meanwhile
                found |= {
                    (connection.laddr.ip, connection.laddr.port)
                    for connection in process.net_connections(kind="inet")
                    if connection.status == psutil.CONN_LISTEN
                }
        return found

    def start(self, service: str) -> None:
        """Starts a service that goes on, and waits until its own health check is content."""
        log = self.directory / f"{service}.log"
        environment = self.environment(service)
        process = running(self.command(service), environment=environment, log=log, session=True)  # as a container
        self.processes[service] = self.stack.enter_context(process)
        if "test" in self.services[service].get("healthcheck", {}):
            wait_until(
                lambda: self.has_ended(service) or (bool(self.listening(service)) and self.is_healthy(service)),
                within=280,
                what=f"{service} is healthy; its log ends with {log.read_text()[-2000:]}",
            )
        assert not self.has_ended(service), log.read_text()[-3000:]

    def stop(self, service: str, *, grace: float) -> None:
        """Stops a service as Docker does: a signal to its first process, and after `grace` seconds the end of all."""
        tree = self.tree(service)
        self.processes[service].terminate()
        with suppress(subprocess.TimeoutExpired):
            self.processes[service].wait(grace)
        end_all([*tree, *self.tree(service)])
        self.processes[service].wait()

    def kill(self, service: str) -> None:
        """Ends all processes of a service at once."""
        end_all(self.tree(service))
        self.processes[service].wait()

    def tree(self, service: str) -> list[psutil.Process]:
        """The processes of a service, the first one first, also those whose parent is gone."""
        mark = self.environment(service)[MARK]
        marked = [process for process in psutil.process_iter() if variable_of(process, MARK) == mark]
        with suppress(psutil.NoSuchProcess):
            first = psutil.Process(self.processes[service].pid)
            return list(dict.fromkeys([first, *first.children(recursive=True), *marked]))
        return marked

    def run(self, service: str, *command: str) -> str:
        """Runs a one-off service, or another command in its place, to its good end; returns what it printed."""
        done = self.execute(service, *command)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def execute(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """The same, to whatever end."""
        words = [*entrypoint(), *command] if command else self.command(service)
        return subprocess.run(
            words, env=self.environment(service), cwd=self.directory, capture_output=True, text=True, check=False
        )

    def is_healthy(self, service: str) -> bool:
        """One run of the health check."""
        kind, *words = self.services[service]["healthcheck"]["test"]
        words = [self._here(service, word) for word in words]
        command = ["sh", "-c", *words] if kind == "CMD-SHELL" else words
        environment = {**self.environment(service), "PGHOST": str(self.directory)}
        return subprocess.run(command, env=environment, capture_output=True, check=False).returncode == 0

    def _here(self, service: str, text: str) -> str:
        """A word of the file as it must read on this machine."""
        places = self.paths(service)
        names = "|".join(re.escape(name) for name in sorted(places, key=len, reverse=True))
        if names:
            text = re.sub(rf"(?<![\w/.-])({names})(?=$|[/\s;\")])", lambda match: str(places[match[1]]), text)
        return re.sub(r"\b(?:0\.0\.0\.0|127\.0\.0\.1)\b", self.address(service), self.moved(text))


def end_all(processes: Sequence[psutil.Process]) -> None:
    """Kills those that still run."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _postgres(composition: Composition, service: str, words: list[str]) -> list[str]:
    """The image makes the database cluster at its first start."""
    programs = find_postgresql()
    assert programs is not None
    environment = composition.environment(service)
    data = composition.path(service, "/var/lib/postgresql/data")
    password = Path(environment["POSTGRES_PASSWORD_FILE"])
    if not (data / "PG_VERSION").exists():
        owner = environment["POSTGRES_USER"]
        initialise = (
            "-D",
            data,
            "-U",
            owner,
            "--auth-host=scram-sha-256",
            "--auth-local=trust",
            f"--pwfile={password}",
        )
        os.chown(data, Path(composition.directory).stat().st_uid, -1)
        subprocess.run(unprivileged(programs / "initdb", *initialise), cwd=data, capture_output=True, check=True)
        single = unprivileged(programs / "postgres", "--single", "-D", data, "postgres")
        create = f"create database {environment['POSTGRES_DB']} owner {owner}\n"
        subprocess.run(single, input=create, text=True, cwd=data, capture_output=True, check=True)
    where = ("-D", data, "-k", composition.directory, "-c", f"listen_addresses={composition.address(service)}")
    return unprivileged(programs / "postgres", *where, *words)


PROGRAMS: Final[dict[str, Callable[[Composition, str, list[str]], list[str]]]] = {
    "postgres": _postgres,
    "redis": lambda _composition, _service, words: words,
    "prom/prometheus": lambda _composition, _service, words: ["prometheus", *words],
    "prom/alertmanager": lambda _composition, _service, words: ["prometheus-alertmanager", *words],
}
"""What the entrypoint of each image that is not ours makes of the command."""
