"""Real Prometheus and Alertmanager, and somebody who receives what they have to say."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from monitoring.rules.files import rendered, write
from monitoring.rules.pace import Pace
from tabario.settings import AlertSettings, MetricsScope, ScrapeSettings
from tests.support.servers import free_port, running
from tests.support.tools import tool
from tests.support.waiting import wait_until


@dataclass
class Receiver:
    """Takes Alertmanager's webhooks; remembers the last word on each alert."""

    url: str
    _last: dict[str, str] = field(default_factory=dict)

    def take(self, notification: dict[str, Any]) -> None:
        for alert in notification["alerts"]:
            self._last[alert["labels"]["alertname"]] = alert["status"]

    def status_of(self, alert: str) -> str | None:
        """`firing`, `resolved`, or None when nothing was ever heard of it."""
        return self._last.get(alert)


@contextmanager
def receiver_running() -> Iterator[Receiver]:
    """A webhook receiver on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    receiver = Receiver(f"http://127.0.0.1:{server.server_address[1]}/alerts")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True)
class Alerting:
    """A running Prometheus with its Alertmanager."""

    prometheus: httpx.AsyncClient
    alertmanager: httpx.AsyncClient
    receiver: Receiver

    async def query(self, expr: str) -> list[float]:
        """The values of a query's series at this moment. Raises AssertionError for a query that is refused."""
        answer = (await self.prometheus.get("/api/v1/query", params={"query": expr})).json()
        assert answer["status"] == "success", answer
        data = answer["data"]
        samples = [data] if data["resultType"] == "scalar" else data["result"]
        return [float(sample["value"][1]) for sample in samples]

    async def is_true(self, expr: str) -> bool:
        """Whether a query has an answer."""
        return bool(await self.query(expr))

    async def is_silenced_by_another(self, alert: str) -> bool:
        """Whether Alertmanager holds an alert back because of another."""
        alerts = (await self.alertmanager.get("/api/v2/alerts", params={"filter": f'alertname="{alert}"'})).json()
        return bool(alerts) and all(one["status"]["inhibitedBy"] for one in alerts)

    async def is_reported(self, *alerts: str, status: str) -> bool:
        """Whether the last word on each alert is this one."""
        return all(self.receiver.status_of(alert) == status for alert in alerts)


@contextmanager
def alerting_running(directory: Path, *, target: str, faster: int) -> Iterator[tuple[str, str, Receiver]]:
    """The addresses of Prometheus, which reads `target` by the shipped rules, and of Alertmanager, and its receiver."""
    prometheus_binary = tool("prometheus", package="prometheus")
    alertmanager_binary = tool("alertmanager", "prometheus-alertmanager", package="prometheus-alertmanager")
    prometheus, alertmanager = (f"127.0.0.1:{free_port()}" for _ in range(2))
    with receiver_running() as receiver:
        settings = AlertSettings.model_validate({"webhook_url": receiver.url})
        scrape = ScrapeSettings(front_doors=(target,), alertmanager=alertmanager)
        write(rendered(settings, scrape, MetricsScope.ALL, Pace(faster)), directory)
        commands = {
            "alertmanager": [
                alertmanager_binary,
                f"--config.file={directory}/alertmanager/alertmanager.yml",
                f"--storage.path={directory}/alertmanager/data",
                f"--web.listen-address={alertmanager}",
                "--cluster.listen-address=",
            ],
            "prometheus": [
                prometheus_binary,
                f"--config.file={directory}/prometheus/prometheus.yml",
                f"--storage.tsdb.path={directory}/prometheus/data",
                f"--web.listen-address={prometheus}",
            ],
        }
        with (
            running(commands["alertmanager"], environment={}, log=directory / "alertmanager.log"),
            running(commands["prometheus"], environment={}, log=directory / "prometheus.log"),
        ):
            for address in (alertmanager, prometheus):
                wait_until(partial(_answers, f"http://{address}/-/ready"), within=30, what=f"{address} answers")
            yield f"http://{prometheus}", f"http://{alertmanager}", receiver


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.TransportError:
        return False
