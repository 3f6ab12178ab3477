import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from models.errors import ModelError
from models.reports import report
from models.reports.images import RIGHT, WRONG, Sample, sheet
from models.reports.page import page
from models.reports.plots import bits_plot
from tests.html_pages import HOSTILE, assert_hostile_text_is_shown

MODE = {
    "precision": {"1": 1.0, "5": 0.75},
    "map_1000": 0.5,
    "map": 0.25,
    "precision_by_recall": [1.0] * 21,
}


def measured(**changes: Any) -> dict[str, Any]:
    codes = {"map_tie_aware": 0.26, "precision_radius_2": 0.4, "empty_radius_2": 0.1}
    health = {"bits": 8, "dead": 1, "nearly_dead": 2, "entropy": 0.9, "correlation": 0.1, "distinct": 3}
    data = {"folder": "shoes & <hats>", "classes": ["a", "b"], "database": 20, "queries": 4, "unreadable": ["a/x.jpg"]}
    both = {"es": MODE, "hds": MODE}
    return {
        "accuracy": 0.875,
        "modes": {"es": MODE, "hds": MODE, "bcs": MODE | codes},
        "modes_missing": {"imagenet": "no weights <here>"},
        "feature_norm": {"used": "raw", "raw": both, "unit": both},
        "codes": {**health, "pictures": 20, "colliding": 5, "ones": [0.5] * 8},
        "unseen": None,
        "checkpoint": {"name": "mine", "fingerprint": "f" * 16, "backbone": "alexnet", "bits": 8, "size": 32},
        "data": {**data, "queries_from": "test", "pool": 1000},
        "seconds": {"encoding": 1.0, "total": 2.0},
    } | changes


@pytest.fixture
def samples(tmp_path: Path) -> list[Sample]:
    path = tmp_path / "picture.png"
    Image.new("RGB", (40, 20), "blue").save(path)
    return [Sample(path, {mode: [(path, True), (path, False)] for mode in ("es", "hds", "bcs")})] * 2


def test_write_creates_exactly_the_expected_files(tmp_path: Path, samples: list[Sample]) -> None:
    out = tmp_path / "new" / "report"
    report.require_writable(out)
    report.write(measured(), samples, out)
    names = {path.name for path in out.iterdir()}
    plots, images = {"precision.svg", "recall.svg", "bits.svg"}, {f"results_{m}.webp" for m in ("es", "hds", "bcs")}
    assert names == {"metrics.json", "report.html"} | plots | images


def test_report_page_is_complete_and_self_contained(tmp_path: Path, samples: list[Sample]) -> None:
    report.write(measured(), samples, tmp_path)
    text = (tmp_path / "report.html").read_text()
    titles = [
        "Retrieval",
        "Raw or unit F7",
        "Codes",
        "Unseen classes",
        "Results of sample queries",
        "How it was measured",
    ]
    assert re.findall("<h2>(.*?)</h2>", text) == titles
    assert "//" not in re.sub(r"data:image/webp;base64,[\w+/=]+", "", text)
    assert text.count("<svg ") == 3
    assert text.count('role="img" aria-label=') == 3
    assert text.count("<img ") == text.count('alt="Sampled') == 3


def test_report_page_escapes_names_and_explains_missing_measures() -> None:
    found = measured(accuracy=None, accuracy_missing="Other classes: <x>.")
    text = page(found, dict.fromkeys(("precision", "recall", "bits"), "<svg ></svg>"), {})
    assert "shoes &amp; &lt;hats&gt;" in text
    assert "Other classes: &lt;x&gt;." in text
    assert "ImageNet F7: no weights &lt;here&gt;" in text
    assert "a/x.jpg" in text
    assert "accuracy of F8" not in text


def test_hostile_names_are_shown_as_text() -> None:
    found = measured(
        accuracy=None,
        accuracy_missing=HOSTILE,
        modes_missing={"imagenet": HOSTILE},
        unseen={"classes": [HOSTILE, HOSTILE], "database": 5, "queries": 2, "modes": {"es": MODE}},
    )
    found["checkpoint"] |= dict.fromkeys(("name", "fingerprint", "backbone"), HOSTILE)
    found["data"] |= {"folder": HOSTILE, "unreadable": [HOSTILE]}
    text = page(found, dict.fromkeys(("precision", "recall", "bits"), "<svg ></svg>"), {})
    # The name is the title and the heading.
    assert_hostile_text_is_shown(text, 10)


def test_report_tables_are_accessible(tmp_path: Path, samples: list[Sample]) -> None:
    unseen = {"classes": ["c", "d"], "database": 5, "queries": 2, "modes": {"es": MODE}}
    report.write(measured(unseen=unseen), samples, tmp_path)
    tables = Tables()
    tables.feed((tmp_path / "report.html").read_text())
    assert tables.count == tables.captions == 5
    assert set(tables.scopes) == {"row", "col"}
    assert tables.open == []


class Tables(HTMLParser):
    """Parser that counts tables, captions and scopes, and detects unclosed tags."""

    def __init__(self) -> None:
        super().__init__()
        self.count = self.captions = 0
        self.scopes: list[str | None] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.count += tag == "table"
        self.captions += tag == "caption"
        if tag == "th":
            self.scopes.append(dict(attrs).get("scope"))
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_bits_plot_axis_covers_the_tallest_bar() -> None:
    marks = re.findall(r">(\d+)</text>", bits_plot([0.01] * 24 + [0.5] * 8))
    assert max(int(mark) for mark in marks) >= 20


def test_sheet_frames_right_results_green_and_wrong_ones_red(tmp_path: Path, samples: list[Sample]) -> None:
    path = tmp_path / "sheet.webp"
    path.write_bytes(sheet(samples, "es"))
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    assert height == 2 * 112 + 8
    for x, colour in ((112 + 28 + 2, RIGHT), (width - 3, WRONG)):
        wanted = tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
        pixel = image.getpixel((x, 80))
        assert isinstance(pixel, tuple)
        assert all(abs(a - b) < 40 for a, b in zip(pixel, wanted, strict=True))


def test_require_writable_raises_if_the_folder_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelError, match="file/report is not writable: Not a directory"):
        report.require_writable(tmp_path / "file" / "report")


def test_require_writable_removes_its_probe_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> int:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(ModelError, match="is not writable: No space left on device"):
        report.require_writable(tmp_path)
    assert not list(tmp_path.iterdir())
