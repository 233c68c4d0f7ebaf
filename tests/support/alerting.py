"""Real Prometheus and Alertmanager, and somebody who receives what they have to say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from monitoring.rules.files import rendered, write
from monitoring.rules.pace import Pace
from tabario.settings import AlertSettings, MetricsScope, ScrapeSettings
from tests.support.http_receiver import receiving
from tests.support.servers import free_port, running
from tests.support.tools import tool
from tests.support.waiting import wait_until


class Receiver:
    """Takes Alertmanager's webhooks; remembers the last word on each alert."""

    def __init__(self) -> None:
        self._last: dict[str, str] = {}

    def take(self, notification: bytes) -> None:
        for alert in json.loads(notification)["alerts"]:
            self._last[alert["labels"]["alertname"]] = alert["status"]

    def status_of(self, alert: str) -> str | None:
        """`firing`, `resolved`, or None when nothing was ever heard of it."""
        return self._last.get(alert)


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
    receiver = Receiver()
    with receiving(receiver.take) as url:
        settings = AlertSettings.model_validate({"webhook_url": url})
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
