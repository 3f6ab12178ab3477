"""`GET /report`: the report written by the command line."""

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
