"""`GET /report` and `GET /report/summary`: the report written by the command line."""

import json

from fastapi.testclient import TestClient

from app.bootstrap import report_folder
from app.settings import Settings


def test_report_returns_404_until_there_is_one(client: TestClient, settings: Settings) -> None:
    missing = client.get("/report")
    assert missing.status_code == 404
    assert missing.json()["detail"] == "There is no report yet. Run `lookalike report` to write one."
    report_folder(settings).mkdir(parents=True)
    (report_folder(settings) / "report.html").write_text("<!doctype html><title>How good?</title>")
    shown = client.get("/report")
    assert shown.status_code == 200
    assert shown.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in shown.headers["content-security-policy"]
    assert "How good?" in shown.text


def test_summary_lists_the_labels_of_reports_of_this_version_and_earlier_ones(
    client: TestClient, settings: Settings
) -> None:
    missing = client.get("/report/summary")
    assert (missing.status_code, missing.json()["code"]) == (404, "not_found")
    label = {"label": "hats", "pictures": 9, "queries": 3, "recall": 0.9, "both": 0.5, "codes": 0.4, "exact": 0.5}
    found = {
        "catalogue": {"pictures": 40},
        "queries": 30,
        "k": 10,
        "pool": 100,
        "lost": {"found": 0.98},
        "precision": None,
        "advice": {"pool": 300, "why": "It is enough."},
        "labels": [label, label | {"label": "caps", "both": None, "examples": [3, 1]}],
    }
    report_folder(settings).mkdir(parents=True)
    (report_folder(settings) / "report.json").write_text(json.dumps(found))
    summary = client.get("/report/summary").json()
    assert (summary["images"], summary["precision"], summary["recommended_pool"]) == (40, None, 300)
    assert [(one["label"], one["precision"], one["examples"]) for one in summary["labels"]] == [
        ("hats", 0.5, []),
        ("caps", None, [3, 1]),
    ]
