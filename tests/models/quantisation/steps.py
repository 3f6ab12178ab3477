"""Steps of tests with quantised checkpoints: change one, and change what the CPU can do."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from models.checkpoint.files import save_weights
from models.checkpoint.info import CheckpointInfo, read_info
from models.network import instructions
from models.network.quantised import open_quantised
from models.quantisation.comparison import Comparison

BITS = 16
Made = tuple[Path, CheckpointInfo, Comparison]
Tensors = dict[str, torch.Tensor]


def silent(_step: str, _done: int, _total: int) -> None:
    pass


def cpu_with(monkeypatch: pytest.MonkeyPatch, folder: Path, *flags: str) -> None:
    """Let the CPU have these flags alone."""
    (folder / "cpuinfo").write_text(f"model name : none\nflags\t\t: fpu {' '.join(flags)}\n")
    monkeypatch.setattr(instructions, "CPUINFO", folder / "cpuinfo")


def rewrite(path: Path, change: Callable[[Tensors], Mapping[str, torch.Tensor]]) -> CheckpointInfo:
    """Change the weights of a checkpoint, with a fingerprint that is right."""
    weights = load_file(path.with_suffix(".safetensors"))
    return save_weights(change(weights), read_info(path), path.parent)


def open_changed(path: Path) -> None:
    info = read_info(path)
    assert info.quantisation is not None
    open_quantised(path, info, info.quantisation)
