"""Grafana dashboard: its queries use existing metrics and labels, and its files are provisioned."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML

from tests.api.test_index import INVALID_IMAGE, add_images, random_image

DOCKER = Path(__file__).parents[1] / "docker"
DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana" / "dashboards" / "lookalike.json").read_text())
# Labels that Prometheus adds.
PROMETHEUS_LABELS = {"instance", "job", "le"}
WIDTH = 24


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def names_in(query: str) -> set[str]:
    return set(re.findall(r"\blookalike_[a-z_]+", query))


def labels_in(query: str) -> set[str]:
    """Labels that a query filters or groups by."""
    compared = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", query)
    grouped = re.findall(r"(?:by|ignoring|on)\s*\(([^)]*)\)", query)
    return set(compared) | {label.strip() for group in grouped for label in group.split(",")}


@pytest.fixture
def samples(client: TestClient) -> dict[str, set[str]]:
    """All samples that the service exports after some requests, with their labels."""
    add_images(client, random_image(1), INVALID_IMAGE)
    client.post("/search", files={"image": random_image(1)})
    client.post("/search", files={"image": INVALID_IMAGE})
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def test_queries_use_existing_metrics_and_labels(samples: dict[str, set[str]]) -> None:
    assert len(queries()) > 20
    for query in queries():
        names = names_in(query)
        assert names or "up{" in query, query
        assert names <= set(samples), names - set(samples)
        known = set().union(*(samples[name] for name in names)) | PROMETHEUS_LABELS
        assert labels_in(query) <= known, (query, labels_in(query) - known)


def test_every_metric_is_shown(samples: dict[str, set[str]]) -> None:
    shown = set().union(*(names_in(query) for query in queries()))
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    exported = {re.sub(r"_(bucket|sum|count)$", "", name) for name in samples if not name.endswith("_created")}
    assert exported - shown == {"lookalike_model_info"}


def test_rates_use_grafanas_rate_interval() -> None:
    for query in queries():
        assert query.count("rate(") == query.count("[$__rate_interval]"), query


def test_queries_use_the_selected_datasource_and_instance() -> None:
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert target["expr"].count('instance=~"$instance"') == len(re.findall(r"\blookalike_", target["expr"]))


def test_panels_have_titles_and_do_not_overlap() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(panel["title"] and panel["description"] for panel in panels())
    occupied = [cell for panel in DASHBOARD["panels"] for cell in cells(panel["gridPos"])]
    assert len(set(occupied)) == len(occupied)
    assert all(column < WIDTH for column, _ in occupied)


def cells(position: dict[str, int]) -> Iterator[tuple[int, int]]:
    for column in range(position["x"], position["x"] + position["w"]):
        for line in range(position["y"], position["y"] + position["h"]):
            yield column, line


def test_grafana_is_provisioned_with_dashboards_and_prometheus() -> None:
    yaml = YAML(typ="safe")
    compose = yaml.load(DOCKER.parent / "docker-compose.yml")["services"]
    volumes = dict(volume.split(":")[:2] for volume in compose["grafana"]["volumes"] if volume.startswith("./"))
    targets = {target: DOCKER.parent / source for source, target in volumes.items()}
    assert all(path.exists() for path in targets.values())
    provider = yaml.load(DOCKER / "grafana" / "provisioning" / "dashboards" / "lookalike.yml")["providers"][0]
    assert targets[provider["options"]["path"]] == DOCKER / "grafana" / "dashboards"
    assert targets["/etc/grafana/provisioning"] == DOCKER / "grafana" / "provisioning"
    source = yaml.load(DOCKER / "grafana" / "provisioning" / "datasources" / "prometheus.yml")["datasources"][0]
    assert source["url"] == "http://prometheus:9090"
    scraped = yaml.load(DOCKER / "prometheus" / "prometheus.yml")
    interval = scraped["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == interval
    (job,) = scraped["scrape_configs"]
    assert job["job_name"] == "lookalike", "used by the dashboard"
    assert set(job["dns_sd_configs"][0]["names"]) <= set(compose)
