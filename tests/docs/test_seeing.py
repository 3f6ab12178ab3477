"""The page about metrics names those that there are, and no others."""

import re
from pathlib import Path

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from tests.api.test_index import BROKEN, index, picture

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()


def test_every_metric_is_on_the_page_and_every_one_on_the_page_is_there(client: TestClient) -> None:
    index(client, picture(1), BROKEN)
    client.post("/search", files={"image": BROKEN})
    client.post("/search", files={"image": picture(1)})
    families = text_string_to_metric_families(client.get("/metrics").text)
    there = {f"{family.name}_total" if family.type == "counter" else family.name for family in families}
    there -= {name for name in there if name.endswith("_created")}
    assert set(re.findall(r"`(lookalike_\w+)`", PAGE)) == there
