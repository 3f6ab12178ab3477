"""`lookalike look` writes the pixels that a model reads."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.cli.main import app as commands
from app.search.decode.image import DecodeLimits
from app.search.decode.prepare import InProcessPreparer
from models.checkpoint.info import find_checkpoint, list_pretrained, read_info
from tests import colour_profiles as made
from tests.cli.output import output_of
from tests.images import encoded, gradient


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "boots.jpg"
    path.write_bytes(encoded(gradient(640, 480), icc_profile=made.rgb(made.DISPLAY_P3, made.SRGB_GAMMA)))
    return path


@pytest.mark.parametrize("name", list_pretrained())
def test_look_writes_what_each_shipped_model_reads(image: Path, name: str) -> None:
    result = CliRunner().invoke(commands, ["look", str(image), "--model", name, "--out", "seen.png"])
    reads = read_info(find_checkpoint(name)).preprocess
    expected = InProcessPreparer(reads, DecodeLimits())(image.read_bytes()).image
    assert np.array_equal(np.asarray(Image.open("seen.png")), np.asarray(expected))
    assert f"{reads.size} × {reads.size} pixels, as {name} reads an image of 640 × 480." in output_of(result)


def test_look_writes_beside_the_caller(image: Path) -> None:
    assert "boots-seen.png" in output_of(CliRunner().invoke(commands, ["look", str(image)]))
    assert Path("boots-seen.png").is_file()


def test_look_reports_an_ignored_profile(image: Path) -> None:
    image.write_bytes(encoded(gradient(), icc_profile=b"none"))
    result = CliRunner().invoke(commands, ["look", str(image), "--model", "general-small"])
    assert result.exit_code == 0
    assert "The colour profile is damaged" in result.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.jpg"], "nowhere.jpg is not a file."),
        (["boots.jpg", "--model", "nothing"], "There is no checkpoint nothing."),
        (["boots.jpg", "--out", "no/folder/seen.png"], "no/folder/seen.png cannot be written"),
        (["text.jpg"], "not in a supported image format"),
    ],
)
def test_errors_of_look_are_sentences(image: Path, words: list[str], message: str) -> None:
    (image.parent / "text.jpg").write_text("text")
    result = CliRunner().invoke(commands, ["look", *words])
    assert result.exit_code == 1
    assert message in result.stderr
