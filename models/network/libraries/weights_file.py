"""Weights files: safetensors, or state dicts of torch, read without running code and fitted to a backbone."""

import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from models.errors import WeightsError
from models.network.backbones import Backbone, StateDict

# First bytes of torch's formats: a zip archive, and a bare pickle.
_TORCH_STARTS = (b"PK", b"\x80")
# Keys below which training programs keep the state dict.
_NESTED = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher", "weights")
_SHOWN = 3


def read_weights_file(path: Path) -> StateDict:
    """Read a state dict from safetensors, or from a file of `torch.save` that holds weights alone.

    Raises:
        WeightsError: it is missing, damaged, has no weights, or would run code.
    """
    try:
        with path.open("rb") as file:
            start = file.read(2)
        state = _read_torch(path) if start.startswith(_TORCH_STARTS) else load_file(path)
    except OSError as error:
        raise WeightsError(f"The weights file {path} cannot be read: {error.strerror or error}.") from error
    except SafetensorError as error:
        raise WeightsError(
            f"{path} is neither safetensors nor a state dict of torch, or it is damaged ({error}). "
            "Give a file of weights."
        ) from error
    weights = {str(name): value for name, value in _innermost(state).items() if isinstance(value, Tensor)}
    if not weights:
        raise WeightsError(f"{path} has no weights. Give a state dict: safetensors, or torch.save(model.state_dict()).")
    if odd := next((name for name, value in weights.items() if not _is_finite(value)), None):
        raise WeightsError(f"{path}: {odd} has values that are not finite. The file is damaged; get it again.")
    return weights


def fit_weights(backbone: Backbone, network: nn.Module, state: StateDict, source: str) -> StateDict:
    """Return weights as a state dict of a backbone's module; class layers are left out.

    Args:
        backbone: the backbone.
        network: its module.
        state: weights under the names of their library or authors, with or without a prefix.
        source: where they come from, for messages.

    Raises:
        WeightsError: they do not fit, or only partly.
    """
    expected = network.state_dict()
    found = max(
        _readings(backbone, network, state, expected),
        key=lambda some: (len(_fitting(some, expected)), -len(some)),
    )
    fitting = _fitting(found, expected)
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    missing = [name for name in expected if name not in found and name not in counters]
    reshaped = [
        f"{name} ({_shape(found[name])}, not {_shape(expected[name])})"
        for name in expected
        if name in found and name not in fitting
    ]
    unexpected = [name for name in found if name not in expected and not _is_below(name, backbone.heads)]
    problems = [("missing", missing), ("of another shape", reshaped), ("unexpected", unexpected)]
    if any(names for _, names in problems):
        listed = "; ".join(f"{len(names)} are {what}: {_some(names)}" for what, names in problems if names)
        raise WeightsError(
            f"{source} fits {backbone.name} only partly: {len(fitting)} of {len(expected)} weights fit. {listed}. "
            "Give the weights of this network, or another --backbone."
        )
    return {name: found[name].to(value.dtype) if name in found else value for name, value in expected.items()}


def _readings(backbone: Backbone, network: nn.Module, state: StateDict, expected: StateDict) -> Iterator[StateDict]:
    """Yield the state dicts that weights can be read as: as they are, without a prefix, converted by the library."""
    for some in (state, _without_prefix(state, expected)):
        yield some
        if backbone.adapt is not None:
            # The library's conversion expects weights of this network.
            with suppress(Exception):
                yield backbone.adapt(dict(some), network)


def _without_prefix(state: StateDict, expected: StateDict) -> StateDict:
    """Return the weights below the prefix with which most names are expected, such as `module.`."""
    first = next(iter(expected))
    prefixes = [name.removesuffix(first) for name in state if name.endswith(f".{first}")]
    best = max(prefixes, key=lambda prefix: sum(prefix + name in state for name in expected), default="")
    return {name.removeprefix(best): value for name, value in state.items() if name.startswith(best)}


def _fitting(state: StateDict, expected: StateDict) -> set[str]:
    return {name for name, value in expected.items() if name in state and state[name].shape == value.shape}


def _is_below(name: str, modules: tuple[str, ...]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def _read_torch(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            # torch warns of versions of its format that it may fail to read.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file makes its reader raise errors of any kind
        raise WeightsError(
            f"{path} is not opened: it is damaged, or holds Python objects besides weights, which could run code. Save "
            "the weights alone: torch.save(model.state_dict(), FILE), or as safetensors."
        ) from error


def _innermost(state: Any) -> dict[Any, Any]:
    """Return the state dict within what a training program saved."""
    while isinstance(state, dict):
        inner = next((state[key] for key in _NESTED if isinstance(state.get(key), dict)), None)
        if inner is None:
            return state
        state = inner
    return {}


def _is_finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(torch.isfinite(value).all())


def _shape(value: Tensor) -> str:
    return " × ".join(map(str, value.shape)) or "a single number"


def _some(names: list[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
