"""The monitoring page documents exactly the existing metrics."""

import re
from pathlib import Path

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.api.test_index import INVALID_IMAGE, add_images, random_image

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()


def test_documented_metrics_equal_the_exported_ones(client: TestClient) -> None:
    add_images(client, random_image(1), INVALID_IMAGE)
    client.post("/search", files={"image": INVALID_IMAGE})
    client.post("/search", files={"image": random_image(1)})
    families = text_string_to_metric_families(client.get("/metrics").text)
    exported = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    exported -= {name for name in exported if name.endswith("_created")}
    assert set(re.findall(r"`(lookalike_\w+)`", PAGE)) == exported
