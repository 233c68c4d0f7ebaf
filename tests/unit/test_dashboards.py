"""The dashboards: shipped as rendered, and held to the rules of Grafana's own dashboard linter."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any, NamedTuple

import pytest
import yaml
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.files import DIRECTORY, encoded, rendered
from tabario.metrics.definitions import ALL
from tabario.settings import AlertSettings
from tests.support.dashboards import at_a_moment, panels_of, targets_of
from tests.support.promql import alternatives, cumulative_series, known_series, selectors

SHIPPED: dict[str, dict[str, Any]] = {
    path.stem: json.loads(path.read_text()) for path in sorted(DIRECTORY.glob("*.json"))
}
GROWTH = {"rate", "increase"}


class Place(NamedTuple):
    """A panel on the page's grid."""

    x: int
    y: int
    w: int
    h: int

    def overlaps(self, other: Place) -> bool:
        apart = self.x + self.w <= other.x or other.x + other.w <= self.x
        return not (apart or self.y + self.h <= other.y or other.y + other.h <= self.y)


@pytest.fixture(params=SHIPPED)
def dashboard(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = SHIPPED[request.param]
    return found


def test_the_shipped_dashboards_are_what_the_default_settings_render() -> None:
    shipped = {path.name: path.read_text(encoding="utf-8") for path in DIRECTORY.iterdir()}
    assert shipped == rendered(AlertSettings()), "run `make rules`"


def test_the_limits_of_the_alerts_colour_the_numbers() -> None:
    text = rendered(AlertSettings(queue_depth=7))["tabario-operators.json"]
    waiting = next(panel for panel in panels_of(json.loads(text)) if panel["title"] == "Jobs waiting")
    assert waiting["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"] == 8


def test_no_key_is_misspelt(dashboard: dict[str, Any]) -> None:
    assert json.loads(encoded(Dashboard.from_json(dashboard))) == dashboard


def test_the_viewer_chooses_data_source_job_and_window(dashboard: dict[str, Any]) -> None:
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "window"]
    assert (variables["datasource"]["type"], variables["datasource"]["query"]) == ("datasource", "prometheus")
    assert all(variable["label"] for variable in variables.values())


def test_every_panel_says_what_it_shows_and_in_which_unit(dashboard: dict[str, Any]) -> None:
    for panel in panels_of(dashboard):
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["targets"], panel["title"]


def test_ids_are_given_once_and_panels_lie_side_by_side(dashboard: dict[str, Any]) -> None:
    everything = dashboard["panels"]
    ids = [panel["id"] for panel in everything]
    assert sorted(set(ids)) == sorted(ids)
    places = [Place(**panel["gridPos"]) for panel in everything]
    assert all(place.x + place.w <= 24 for place in places)
    assert not [pair for pair in combinations(places, 2) if pair[0].overlaps(pair[1])]


def test_no_two_dashboards_share_a_uid_or_title() -> None:
    assert {board["uid"] for board in SHIPPED.values()} == set(SHIPPED)
    assert len({board["title"] for board in SHIPPED.values()}) == len(SHIPPED)


def test_every_query_names_series_that_exist_and_asks_for_the_chosen_job(dashboard: dict[str, Any]) -> None:
    for target in targets_of(dashboard):
        for selector in selectors(at_a_moment(target["expr"])):
            if selector.name != "ALERTS":
                assert selector.name in known_series(), target["expr"]
                assert "job" in selector.labels, target["expr"]


def test_no_query_has_an_answer_of_its_own_where_there_are_no_metrics(dashboard: dict[str, Any]) -> None:
    for target in targets_of(dashboard):
        for part in alternatives(at_a_moment(target["expr"])):
            assert selectors(part), target["expr"]


def test_what_only_grows_is_read_by_its_growth_over_a_chosen_time(dashboard: dict[str, Any]) -> None:
    for target in targets_of(dashboard):
        for selector in selectors(at_a_moment(target["expr"])):
            assert selector.name not in cumulative_series() or GROWTH & set(selector.within), target["expr"]
        assert set(re.findall(r"\[([^\]]+)\]", target["expr"])) <= {"$__rate_interval", "$window"}


def test_every_metric_is_shown_somewhere() -> None:
    text = "".join(target["expr"] for board in SHIPPED.values() for target in targets_of(board))
    hidden = {metric.name for metric in ALL if not re.search(rf"\b{metric.name}(_bucket|_count)?\b", text)}
    assert hidden == {"video_orchestrator_build_info"}


def test_the_operators_see_what_they_asked_for() -> None:
    text = "".join(target["expr"] for target in targets_of(SHIPPED["tabario-operators"]))
    for histogram in ("voiceover_generation_seconds", "image_generation_seconds", "job_total_seconds"):
        for share in ("0.5", "0.95", "0.99"):
            assert re.search(rf"histogram_quantile\({share}, sum by \(le\) \(rate\({histogram}_bucket", text)
    for name in ("jobs_enqueued_total", "jobs_completed_total", "jobs_failed_total", "comfyui_requests_total"):
        assert re.search(rf"rate\({name}", text)
    assert "queue_depth{" in text
    assert "worker_active{" in text


def test_grafana_is_told_where_everything_lies() -> None:
    provisioning = DIRECTORY.parent / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "tabario.yml").read_text())["providers"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert provider["type"] == "file"
    assert (source["type"], source["url"]) == ("prometheus", "http://127.0.0.1:9090")
