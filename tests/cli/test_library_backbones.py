"""Backbones of libraries through all commands: fit, serve, search, reindex, while searches go on.

`BACKBONES` names others than the small ones, separated by commas; sizes follow after `@`:

    BACKBONES=timm:resnet50,timm:vit_small_patch14_dinov2@224 python -m pytest tests/cli/test_library_backbones.py
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from models.checkpoint.info import read_info
from tests.cli.output import output_of
from tests.cli.test_commands import error_of, run
from tests.conftest import running_server
from tests.models.folders import coloured_folder

# Used by OpenVINO's conversion.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")

SMALL = "timm:test_vit,timm:test_convnext@96,torchvision:shufflenet_v2_x0_5@96"
NAMES = os.environ.get("BACKBONES", SMALL).split(",")
# What a network that starts at random needs, since its F7 of any two images differ little.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return coloured_folder(tmp_path_factory.mktemp("colours"), per_class=12)


def fitted(folder: Path, out: Path, backbone: str, data: Path) -> Path:
    """Fit a network with random weights to the images, and return its checkpoint."""
    name, _, size = backbone.partition("@")
    options = ["--backbone", name, "--no-pretrained", "--bits", "16", *(["--image-size", size] if size else [])]
    result = run(data, "fit", str(folder), "--out", str(out), *options)
    assert result.exit_code == 0, result.output
    return out.with_suffix(".json")


def found_by(client: httpx2.Client, image: Path) -> dict[str, Any]:
    """Search with an image by upload and by key; return the first result, which both have."""
    uploaded = client.post(
        "/search", content=image.read_bytes(), headers={"Content-Type": "image/png"}, params={"k": 3}
    )
    assert uploaded.status_code == 200, uploaded.text
    first: dict[str, Any] = uploaded.json()["results"][0]
    by_id = client.post("/search", json={"like": [first["id"]]})
    assert by_id.status_code == 200, by_id.text
    return first


@contextmanager
def client_of(data: Path, **variables: str) -> Iterator[httpx2.Client]:
    with (
        running_server(data, LOOKALIKE_DEMO="off", **variables) as (url, _),
        httpx2.Client(base_url=url, timeout=120) as client,
    ):
        yield client


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("backbone", NAMES)
def test_backbone_is_fitted_served_searched_and_reindexed(backbone: str, folder: Path, tmp_path: Path) -> None:
    data, images = tmp_path / "data", sorted(folder.rglob("*.png"))
    checkpoint = fitted(folder, tmp_path / "net", backbone, data)
    info = read_info(checkpoint)
    variables = {"LOOKALIKE_MODEL": str(checkpoint), "LOOKALIKE_VECTOR_DTYPE": "f16", "LOOKALIKE_DEMO": "off"}
    added = run(data, "index", str(folder), **variables)
    assert f"{len(images)} created" in output_of(added), added.output
    with client_of(data) as client:
        model = client.get("/stats").json()["model"]
        assert (model["fingerprint"], model["feature_dim"]) == (info.fingerprint, info.feature_dim)
        for image in images[::12]:
            first = found_by(client, image)
            assert first["distance"] == 0
            assert first["key"].endswith(image.name)
        for other in ("general-small", str(checkpoint)):
            moved = run(data, "reindex", other)
            assert moved.exit_code == 0, moved.output
            assert found_by(client, images[0])["distance"] == 0
        assert client.get("/stats").json()["model"]["fingerprint"] == info.fingerprint
    checked = run(data, "check")
    assert checked.exit_code == 0, checked.output


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_catalogue_moves_to_larger_networks_and_back_while_searches_go_on(folder: Path, tmp_path: Path) -> None:
    data, images = tmp_path / "data", sorted(folder.rglob("*.png"))
    resnet = fitted(folder, tmp_path / "resnet", "timm:resnet50@96", data)
    assert run(data, "index", str(folder), LOOKALIKE_MODEL="general-small", LOOKALIKE_DEMO="off").exit_code == 0
    stop, errors, searches, models = threading.Event(), list[str](), [0], set[str]()

    def search(client: httpx2.Client) -> None:
        image = images[0].read_bytes()
        while not stop.is_set():
            reply = client.post("/search", content=image, headers={"Content-Type": "image/png"})
            if reply.status_code != 200 or reply.json()["results"][0]["distance"] != 0:
                errors.append(reply.text)
            searches[0] += 1

    with client_of(data) as client:
        searching = threading.Thread(target=search, args=[client])
        searching.start()
        try:
            for model in ("general-large", str(resnet), "general-small"):
                before = searches[0]
                moved = run(data, "reindex", model)
                assert moved.exit_code == 0, moved.output
                models.add(client.get("/stats").json()["model"]["name"])
                assert searches[0] > before
        finally:
            stop.set()
            searching.join()
    assert errors == []
    assert models == {"general-large", "resnet", "general-small"}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_checkpoint_opens_without_a_network_and_serves_without_calibration(folder: Path, tmp_path: Path) -> None:
    """All images are alike, so there is nothing to calibrate on."""
    one = next(folder.rglob("*.png")).read_bytes()
    alike = tmp_path / "alike"
    alike.mkdir()
    for number in range(20):
        (alike / f"{number}.png").write_bytes(one)
    data = tmp_path / "data"
    checkpoint = fitted(alike, tmp_path / "net", "timm:test_resnet@96", data)
    assert read_info(checkpoint).similarity is None
    offline = {"LOOKALIKE_MODEL": str(checkpoint), "HF_HUB_OFFLINE": "1"}
    assert run(data, "index", str(folder), **offline).exit_code == 0
    with client_of(data, **offline) as client:
        first = found_by(client, sorted(folder.rglob("*.png"))[0])
        assert (first["distance"], first["similarity"]) == (0, None)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_library_backbone_is_trained_evaluated_compared_and_calibrated(folder: Path, tmp_path: Path) -> None:
    out, labelled = tmp_path / "net", str(folder)
    options = ("--backbone", "timm:test_vit", "--no-pretrained", "--bits", "16", "--epochs", "2", "--batch-size", "8")
    trained = run(tmp_path, "train", labelled, "--out", str(out), *options)
    assert trained.exit_code == 0, trained.output
    info = read_info(out.with_suffix(".json"))
    assert (info.preprocess.size, info.preprocess.crop_ratio) == (160, 0.95)
    assert info.training["backbone"]["library"].startswith("timm ")
    evaluated = run(tmp_path, "evaluate", str(out), labelled, "--out", str(tmp_path / "evaluation"))
    assert evaluated.exit_code == 0, evaluated.output
    smaller = ("--image-size", "96", "--bits", "16", "--methods", "lsh,itq", "--no-scaling")
    compared = run(tmp_path, "compare", labelled, "--model", str(out), "--out", str(tmp_path / "comparison"), *smaller)
    assert compared.exit_code == 0, compared.output
    calibrated = run(tmp_path, "calibrate", str(out), labelled)
    assert calibrated.exit_code == 0, calibrated.output
    continued = run(tmp_path, "train", labelled, "--out", str(tmp_path / "two"), "--init-from", str(out), *options[:2])
    assert "exclude each other" not in continued.output
    assert continued.exit_code == 0, continued.output


SENTENCES = {
    ("--backbone", "timm:resnet5"): "The nearest names are",
    ("--backbone", "torchvision:maskrcnn_resnet50_fpn"): "has no pooled features",
    ("--backbone", "vgg"): "Unknown backbone vgg",
    ("--backbone", "timm:test_vit", "--image-size", "100"): "Use --image-size",
    ("--backbone", "timm:test_vit", "--weights", "{folder}/nowhere.pth"): "cannot be read",
    ("--backbone", "timm:test_vit", "--weights", "{folder}"): "cannot be read",
    ("--backbone", "timm:test_vit", "--weights", "x", "--no-pretrained"): "exclude each other",
}


@pytest.mark.parametrize("command", ["fit", "train"])
@pytest.mark.parametrize(("options", "sentence"), SENTENCES.items(), ids=map(" ".join, SENTENCES))
def test_bad_backbones_and_weights_are_sentences_before_the_work(
    command: str, options: tuple[str, ...], sentence: str, folder: Path, tmp_path: Path
) -> None:
    words = [option.format(folder=folder) for option in options]
    assert sentence in error_of(run(tmp_path, command, str(folder), "--out", str(tmp_path / "out"), *words))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("command", ["fit", "train"])
def test_without_network_and_weights_the_error_says_how_to_give_a_file(
    command: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", fail)
    options = ("--backbone", "timm:test_resnet", "--bits", "16")
    error = error_of(run(tmp_path, command, str(folder), "--out", str(tmp_path / "out"), *options))
    assert "https://huggingface.co/timm/test_resnet" in error
    assert "--weights FILE" in error


@pytest.mark.parametrize("command", ["fit", "train"])
def test_full_disk_is_an_error_before_the_work(
    command: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import shutil
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    options = ("--backbone", "timm:test_resnet", "--no-pretrained", "--bits", "16")
    error = error_of(run(tmp_path, command, str(folder), "--out", str(tmp_path / "out"), *options))
    assert "has 1,000,000 bytes free, but out needs" in error
