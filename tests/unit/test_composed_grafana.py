"""What docker-compose.yml mounts into Grafana: the dashboards, and the Prometheus that they ask."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
import yaml

from monitoring.rules.scraping import grafana_document
from tabario.settings import ScrapeSettings
from tests.support.composition import ROOT, read_compose

VARIABLES: Final = dict.fromkeys(("PUBLIC_URL", "SUPABASE_URL", "COMFYUI_URL"), "https://somewhere.example")
PROVISIONING: Final = Path("/etc/grafana/provisioning")  # the image's own, unless GF_PATHS_PROVISIONING says otherwise


class Container:
    """The files of this project that a service sees, by their paths in its container."""

    def __init__(self, service: dict[str, Any]) -> None:
        self.files: dict[Path, Path] = {}
        for volume in service["volumes"]:
            source, target = volume.removesuffix(":ro").split(":")
            place = ROOT / source
            if source.startswith("./"):
                files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
                self.files |= {Path(target) / path.relative_to(place): path for path in files}

    def below(self, directory: Path, suffix: str) -> list[Path]:
        """The files with a suffix in a directory of the container."""
        return [here for path, here in self.files.items() if path.parent == directory and path.suffix == suffix]

    def documents(self, kind: str) -> list[dict[str, Any]]:
        """What stands in the files that Grafana reads of one kind."""
        return [yaml.safe_load(path.read_text()) for path in self.below(PROVISIONING / kind, ".yml")]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = read_compose(VARIABLES)["services"]
    return found


@pytest.fixture(scope="module")
def grafana(services: dict[str, Any]) -> Container:
    assert "GF_PATHS_PROVISIONING" not in services["grafana"]["environment"]
    return Container(services["grafana"])


def test_every_dashboard_is_where_grafana_is_told_to_look(grafana: Container) -> None:
    providers = [provider for document in grafana.documents("dashboards") for provider in document["providers"]]
    found = {path.name for provider in providers for path in grafana.below(Path(provider["options"]["path"]), ".json")}
    assert found == {path.name for path in (ROOT / "monitoring" / "grafana" / "dashboards").iterdir()}


def test_the_dashboards_can_choose_a_source_that_is_there(grafana: Container, services: dict[str, Any]) -> None:
    sources = [source for document in grafana.documents("datasources") for source in document["datasources"]]
    boards = [json.loads(path.read_text()) for path in grafana.files.values() if path.suffix == ".json"]
    wanted = {
        variable["query"]
        for board in boards
        for variable in board["templating"]["list"]
        if variable["type"] == "datasource"
    }
    assert wanted == {source["type"] for source in sources}
    assert [source["isDefault"] for source in sources] == [True]

    asked = urlsplit(sources[0]["url"])
    assert set(services["grafana"]["networks"]) & set(services[str(asked.hostname)]["networks"])
    assert f"--web.listen-address=0.0.0.0:{asked.port}" in services[str(asked.hostname)]["command"]


def test_the_source_is_the_one_that_the_settings_render(grafana: Container) -> None:
    assert grafana.documents("datasources") == [grafana_document(ScrapeSettings(prometheus="prometheus:9090"))]
