"""Weights files: formats, prefixes, class layers, and files that do not fit, are damaged or would run code."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.errors import WeightsError
from models.network.latent_hash_net import LatentHashNet
from models.network.libraries.weights_file import read_weights_file
from models.network.registry import new_preprocess

# isort: split
import timm

NAME = "test_vit"


def network(name: str = f"timm:{NAME}", size: int = 160) -> LatentHashNet:
    return LatentHashNet(name, 8, 0, new_preprocess(name, size, None))


@pytest.fixture(scope="module")
def published() -> dict[str, Tensor]:
    """Weights of a model with a class layer."""
    torch.manual_seed(1)
    model: Any = timm.create_model(NAME, num_classes=10)
    return {name: value.clone() for name, value in model.state_dict().items()}


def written(path: Path, saved: object) -> Path:
    torch.save(saved, path)
    return path


def assert_loaded(path: Path, published: dict[str, Tensor]) -> None:
    made = network()
    made.load_weights_file(path)
    for name, value in made.backbone.state_dict().items():
        torch.testing.assert_close(value, published[name], rtol=0, atol=0)


def test_safetensors_and_state_dicts_load_without_the_class_layer(published: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(published, tmp_path / "w.safetensors")
    assert_loaded(tmp_path / "w.safetensors", published)
    assert_loaded(written(tmp_path / "w.pth", published), published)
    # The content decides, not the name.
    save_file(published, tmp_path / "w.bin")
    assert_loaded(tmp_path / "w.bin", published)


@pytest.mark.parametrize("prefix", ["module.", "model.backbone.", "_orig_mod.module."])
@pytest.mark.parametrize("key", [None, "state_dict", "model", "state_dict_ema"])
def test_prefixes_and_training_checkpoints_are_understood(
    prefix: str, key: str | None, published: dict[str, Tensor], tmp_path: Path
) -> None:
    state: Any = {prefix + name: value for name, value in published.items()}
    saved = state if key is None else {key: state, "epoch": 3, "loss": 0.5}
    assert_loaded(written(tmp_path / "w.pth", saved), published)


def test_half_precision_is_widened(published: dict[str, Tensor], tmp_path: Path) -> None:
    made = network()
    made.load_weights_file(written(tmp_path / "w.pth", {name: value.half() for name, value in published.items()}))
    assert {value.dtype for value in made.backbone.state_dict().values()} == {torch.float32}


def test_weights_for_another_input_size_are_resampled(published: dict[str, Tensor], tmp_path: Path) -> None:
    made = network(size=96)
    made.load_weights_file(written(tmp_path / "w.pth", published))
    assert made.backbone.state_dict()["pos_embed"].shape != published["pos_embed"].shape


def test_names_of_the_authors_of_dinov2_are_understood(published: dict[str, Tensor], tmp_path: Path) -> None:
    assert_loaded(written(tmp_path / "w.pth", published | {"mask_token": torch.zeros(1, 64)}), published)


def refused(path: Path) -> str:
    made = network()
    before = {name: value.clone() for name, value in made.backbone.state_dict().items()}
    with pytest.raises(WeightsError) as error:
        made.load_weights_file(path)
    for name, value in made.backbone.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    return str(error.value)


def test_weights_that_fit_partly_are_refused_with_what_does_not_fit(
    published: dict[str, Tensor], tmp_path: Path
) -> None:
    state = {name: value for name, value in published.items() if not name.startswith("blocks.5.")}
    missing = len(published) - len(state)
    state |= {"norm.weight": torch.zeros(7), "decoder.weight": torch.zeros(2)}
    total = len(network().backbone.state_dict())
    message = refused(written(tmp_path / "w.pth", state))
    assert f"fits timm:test_vit only partly: {total - missing - 1} of {total} weights fit." in message
    assert f"{missing} are missing: blocks.5." in message
    assert "1 are of another shape: norm.weight (7, not " in message
    assert "1 are unexpected: decoder.weight" in message
    assert "w.pth" in message


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    other: Any = timm.create_model("test_resnet")
    message = refused(written(tmp_path / "w.pth", other.state_dict()))
    assert "only partly: 0 of" in message
    assert "another --backbone" in message


class Code:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('it ran')",)


def test_a_file_with_code_is_not_opened(published: dict[str, Tensor], tmp_path: Path) -> None:
    assert "holds Python objects besides weights, which could run code" in refused(
        written(tmp_path / "w.pth", {"a": Code()})
    )
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps({"a": Code()}))
    assert "could run code" in refused(tmp_path / "bare.pkl")
    assert "could run code" in refused(written(tmp_path / "m.pth", timm.create_model(NAME)))


@pytest.mark.parametrize(
    "content", [b"", b"x", b"not weights\n" * 100, b"PK\x03\x04" + b"0" * 50, b"\x80\x02", b"\x89PNG"]
)
def test_files_that_are_not_weights_are_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(content)
    assert "w.pth" in refused(tmp_path / "w.pth")


@pytest.mark.parametrize("kind", ["safetensors", "pth"])
@pytest.mark.parametrize("share", [0.0005, 0.5, 0.999])
def test_truncated_files_are_refused(kind: str, share: float, published: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / f"w.{kind}"
    if kind == "pth":
        written(path, published)
    else:
        save_file(published, path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert path.name in refused(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in refused(tmp_path / "nowhere.pth")
    assert "cannot be read: Is a directory" in refused(tmp_path)


@pytest.mark.parametrize("saved", [{}, {"epoch": 1}, [1, 2], 3, {"state_dict": {}}])
def test_files_without_weights_are_refused(saved: object, tmp_path: Path) -> None:
    assert "has no weights" in refused(written(tmp_path / "w.pth", saved))


def test_values_that_are_not_finite_are_refused(published: dict[str, Tensor], tmp_path: Path) -> None:
    state = published | {"norm.bias": torch.full_like(published["norm.bias"], float("nan"))}
    assert "norm.bias has values that are not finite" in refused(written(tmp_path / "w.pth", state))


def test_reading_keeps_only_tensors(tmp_path: Path) -> None:
    assert read_weights_file(written(tmp_path / "w.pth", {"a": torch.ones(1), "b": 3})).keys() == {"a"}
