"""Saving and loading checkpoints, and every inconsistency between their two files."""

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from models.checkpoint.files import describe, load, save
from models.checkpoint.info import CheckpointInfo, list_pretrained, read_info, write_info
from models.checkpoint.similarity import AnchoredCurve, LogisticCurve, Similarity
from models.checkpoint.successors import SUCCESSORS
from models.errors import CheckpointError
from models.network.backbones import BACKBONES
from models.network.codes import binarise
from models.network.latent_hash_net import LatentHashNet, SearchHead

CLASSES = ("boot", "mug", "τ-shirt")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def network() -> LatentHashNet:
    """EfficientNet with ImageNet weights and a random latent layer, rounded to float16."""
    torch.manual_seed(0)
    backbone = BACKBONES["efficientnet_lite0"]
    made = LatentHashNet(backbone.name, 48, len(CLASSES), replace(backbone.preprocess, size=64), "unit")
    made.load_imagenet()
    return made.half().float().eval()


@pytest.fixture(scope="module")
def saved(network: LatentHashNet, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CheckpointInfo]:
    folder = tmp_path_factory.mktemp("saved")
    info = replace(describe(network, "net", CLASSES), training={"pictures": 3}, metrics={"map": 0.5})
    return folder, save(network, info, folder)


@pytest.fixture
def folder(saved: tuple[Path, CheckpointInfo], tmp_path: Path) -> Path:
    """A copy that a test may modify."""
    return Path(shutil.copytree(saved[0], tmp_path / "copy"))


@torch.inference_mode()
def encode(network: LatentHashNet) -> tuple[np.typing.NDArray[np.uint8], torch.Tensor]:
    images = torch.randint(0, 256, (4, 64, 64, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    h, f7 = SearchHead(network).eval()(images)
    return binarise(h.numpy()), f7


def test_load_restores_identical_codes_and_features(network: LatentHashNet, saved: tuple[Path, CheckpointInfo]) -> None:
    loaded, info = load(saved[0] / "net.json")
    (codes, f7), (codes_before, f7_before) = encode(loaded), encode(network)
    np.testing.assert_array_equal(codes, codes_before)
    torch.testing.assert_close(f7, f7_before, rtol=0, atol=0)
    assert info == saved[1]
    assert not loaded.training
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}


def test_weights_are_saved_as_finite_float16(saved: tuple[Path, CheckpointInfo]) -> None:
    weights = load_file(saved[0] / "net.safetensors")
    assert weights["latent.weight"].dtype == torch.float16
    assert all(value.isfinite().all() for value in weights.values())
    assert sum(path.stat().st_size for path in saved[0].iterdir()) < 8_000_000
    assert sorted(path.name for path in saved[0].iterdir()) == ["net.json", "net.safetensors"]


def test_saving_a_loaded_network_keeps_its_fingerprint(saved: tuple[Path, CheckpointInfo], tmp_path: Path) -> None:
    loaded, info = load(saved[0] / "net.json")
    again = save(loaded, replace(info, name="again", fingerprint=""), tmp_path)
    assert again.fingerprint == info.fingerprint


def test_fingerprint_depends_only_on_what_determines_codes(
    network: LatentHashNet, saved: tuple[Path, CheckpointInfo], tmp_path: Path
) -> None:
    info = saved[1]
    same = [replace(info, name="other"), replace(info, metrics={}), replace(info, training={"recipe": 1})]
    assert {save(network, one, tmp_path).fingerprint for one in same} == {info.fingerprint}
    other = [replace(info, feature_norm="raw"), replace(info, preprocess=replace(info.preprocess, size=65))]
    changed = LatentHashNet(info.backbone, info.bits, len(CLASSES), info.preprocess, "unit")
    found = {save(network, one, tmp_path).fingerprint for one in other} | {save(changed, info, tmp_path).fingerprint}
    assert len(found | {info.fingerprint}) == 4


def test_metrics_can_be_added_to_a_saved_checkpoint(folder: Path) -> None:
    info = read_info(folder / "net.json")
    write_info(replace(info, metrics={"map": 0.9}), folder / f"{info.name}.json")
    assert load(folder / "net.json")[1].metrics == {"map": 0.9}


@pytest.mark.parametrize("given", ["net", "net.json", "net.safetensors"])
def test_find_accepts_either_file_or_the_stem(folder: Path, given: str) -> None:
    assert read_info(folder / "net.json") == load(folder / given)[1] == load(str(folder / given))[1]


def test_find_treats_a_dot_as_part_of_the_name(folder: Path) -> None:
    """`net.v2` is not `net`."""
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load(folder / "net.v2")


@pytest.mark.parametrize("given", ["", ".", "/", "no such", "no/such.json"])
def test_find_raises_for_missing_checkpoints(given: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load(given)


DISAGREEMENTS: dict[str, dict[str, Any]] = {
    "more bits": {"bits": 56},
    "bits that are not a number": {"bits": "48"},
    "fewer classes": {"classes": ["boot", "mug"]},
    "another width": {"feature_dim": 4096},
    "another backbone": {"backbone": "alexnet", "feature_dim": 4096},
    "only the backbone's name": {"backbone": "alexnet"},
    "an unknown backbone": {"backbone": "vgg"},
    "a backbone that is not a name": {"backbone": ["alexnet"]},
    "another norm": {"feature_norm": "raw"},
    "no fingerprint": {"fingerprint": ""},
    "another fingerprint": {"fingerprint": "0123456789abcdef"},
    "another format": {"format": 2},
    "preprocessing that is not an object": {"preprocess": 3},
    "preprocessing without a size": {"preprocess": {"fit": "crop", "mean": [0, 0, 0], "std": [1, 1, 1]}},
    "another scale": {"preprocess": {"size": 64, "fit": "stretch", "mean": [0, 0, 0], "std": [1, 1, 1]}},
    "an unknown field": {"colour": "red"},
    "no list of classes": {"classes": None},
}


@pytest.mark.parametrize("changes", DISAGREEMENTS.values(), ids=DISAGREEMENTS.keys())
def test_load_refuses_json_that_contradicts_the_weights(folder: Path, changes: dict[str, Any]) -> None:
    raw = json.loads((folder / "net.json").read_text())
    (folder / "net.json").write_text(json.dumps(raw | changes))
    with pytest.raises(CheckpointError) as refused:
        load(folder / "net.json")
    assert "net.json" in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"sharpen": 1}, "fields that this version does not know: sharpen"),
        ({"fit": "smart"}, "preprocess.fit is 'smart', not one of stretch"),
        ({"crop_ratio": 2}, "preprocess.crop_ratio is 2, not above 0"),
    ],
)
def test_preprocessing_of_a_newer_version_is_an_error_that_says_so(
    folder: Path, changed: dict[str, Any], message: str
) -> None:
    raw = json.loads((folder / "net.json").read_text())
    (folder / "net.json").write_text(json.dumps(raw | {"preprocess": raw["preprocess"] | changed}))
    with pytest.raises(CheckpointError, match=f"{message}.*A newer version may have written it: upgrade Lookalike"):
        load(folder / "net.json")


SHIPPED = {
    "general": "ea9196f3506def84",
    "clothing": "ab485f69d1c30e50",
    "general-small": "38c80bcc064e8e07",
    "general-large": "fc40e7b6d73d0b44",
}


def test_fingerprints_of_shipped_checkpoints_stay() -> None:
    """Catalogues are encoded with them."""
    assert {name: load(name)[1].fingerprint for name in list_pretrained()} == SHIPPED


def test_successors_ship() -> None:
    for fingerprint, newer in SUCCESSORS.items():
        assert fingerprint in SHIPPED.values()
        assert SHIPPED[newer.name] != fingerprint
        assert newer.gain.endswith(".")
        assert newer.seconds(images=7200, cores=2) == pytest.approx(3.6 * newer.milliseconds)


@pytest.mark.parametrize("name", ["format", "bits", "classes", "preprocess", "backbone", "feature_norm"])
def test_load_refuses_json_with_missing_fields(folder: Path, name: str) -> None:
    raw = json.loads((folder / "net.json").read_text())
    del raw[name]
    (folder / "net.json").write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match=name):
        load(folder / "net.json")


def test_logistic_curves_of_an_earlier_version_are_read(folder: Path) -> None:
    curves = {"features": {"midpoint": 0.8, "steepness": 20.0}, "codes": {"midpoint": 30.0, "steepness": 9.0}}
    raw = json.loads((folder / "net.json").read_text())
    similarity = {"pairs": "two views", **curves, "copies": 0.4, "error": 0.01}
    (folder / "net.json").write_text(json.dumps(raw | {"similarity": similarity}))
    found = read_info(folder / "net.json").similarity
    assert found == Similarity("two views", LogisticCurve(0.8, 20.0), LogisticCurve(30.0, 9.0), 0.4, 0.4)


def test_similarity_is_written_and_read(folder: Path) -> None:
    path = folder / "net.json"
    curve = AnchoredCurve(((0.5, 0.95), (1.0, 0.5)))
    write_info(replace(read_info(path), similarity=Similarity("no labels", curve, curve, 0.6, 0.4)), path)
    assert read_info(path).similarity == Similarity("no labels", curve, curve, 0.6, 0.4)
    raw = json.loads(path.read_text())
    raw["similarity"]["features"]["points"] = []
    path.write_text(json.dumps(raw))
    with pytest.raises(CheckpointError, match="is not a checkpoint's JSON"):
        read_info(path)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'"net"', b"null", b"\xff\xfe\x00", b'{"format": 1}'])
def test_load_refuses_files_that_are_no_checkpoint_json(folder: Path, data: bytes) -> None:
    (folder / "net.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"net\.json is not a checkpoint's JSON"):
        load(folder / "net.json")


class RunsCode:
    """Unpickling this fails the test."""

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return pytest.fail, ("a checkpoint ran code",)


@pytest.mark.parametrize("what", ["truncated", "empty", "text", "pickle", "torch", "folder", "missing"])
def test_load_refuses_weights_that_are_no_safetensors(folder: Path, what: str) -> None:
    path = folder / "net.safetensors"
    whole = path.read_bytes()
    path.unlink()
    if what == "folder":
        path.mkdir()
    elif what == "torch":
        torch.save({"latent.weight": torch.zeros(2)}, path)
    elif what != "missing":
        kinds = {"truncated": whole[:-100], "empty": b"", "text": b"weights" * 99, "pickle": pickle.dumps(RunsCode())}
        path.write_bytes(kinds[what])
    with pytest.raises(CheckpointError, match="cannot be read as safetensors"):
        load(folder / "net.json")


def test_load_detects_a_flipped_bit_in_the_weights(folder: Path) -> None:
    path = folder / "net.safetensors"
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="fingerprint does not match"):
        load(folder / "net.json")


def test_load_refuses_weights_without_a_layer(folder: Path) -> None:
    weights = load_file(folder / "net.safetensors")
    save_file({name: value for name, value in weights.items() if name != "latent.weight"}, folder / "net.safetensors")
    with pytest.raises(CheckpointError, match=r"latent\.weight has the shape \(48, 1280\)"):
        load(folder / "net.json")


def test_save_and_load_a_network_without_classes(tmp_path: Path) -> None:
    backbone = BACKBONES["efficientnet_lite0"]
    made = LatentHashNet(backbone.name, 16, 0, replace(backbone.preprocess, size=64)).half().float()
    save(made, describe(made, "plain", ()), tmp_path)
    loaded, info = load(tmp_path / "plain.json")
    assert info.classes == ()
    np.testing.assert_array_equal(encode(loaded)[0], encode(made)[0])


def test_default_network_is_in_the_package() -> None:
    assert "clothing" in list_pretrained()


@pytest.mark.parametrize("name", list_pretrained())
def test_pretrained_checkpoints_load(name: str) -> None:
    _, info = load(name)
    assert info.name == name
    assert len(info.fingerprint) == 16


LIMITED_WRITE = """
import resource, sys
from pathlib import Path
from models.checkpoint.files import describe, save
from models.errors import CheckpointError
from models.network.latent_hash_net import LatentHashNet
from models.network.registry import new_preprocess
network = LatentHashNet("small", 8, 0, new_preprocess("small", 32, None))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save(network, describe(network, "net", ()), Path(sys.argv[1]))
except CheckpointError as error:
    print(error)
"""


def test_checkpoint_that_cannot_be_written_leaves_no_partial_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED_WRITE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "net.safetensors could not be written" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_the_range_of_float16_are_stored_as_float32(tmp_path: Path) -> None:
    made = LatentHashNet("small", 8, 0, BACKBONES["small"].preprocess)
    with torch.no_grad():
        made.latent.bias[0] = 1e6
    save(made, describe(made, "wide", ()), tmp_path)
    assert load(tmp_path / "wide.json")[0].latent.bias[0] == 1e6
