"""Quantise a checkpoint to int8 or bf16, and measure the result beside it: `lookalike quantise`.

Only the backbone is quantised. H stays in f32, because a code has one bit for each unit and no other value to average
an error with. The result is a checkpoint with a fingerprint of its own (`models/network/quantised.py`).
"""

import logging
import tempfile
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, replace
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.checkpoint.files import HEAD, compact, load, save_weights
from models.checkpoint.info import PRETRAINED, CheckpointInfo, Weights, find_checkpoint, read_info
from models.checkpoint.quantisation import PRECISIONS, LowPrecision, Quantisation
from models.data.dataset import LoadedImages
from models.errors import CheckpointError, ConfigError, DatasetError, ModelError
from models.network.instructions import instructions, require_instructions
from models.network.latent_hash_net import LatentHashNet
from models.network.openvino_runtime import Images, OpenVinoRuntime, convert, import_openvino, openvino_version
from models.network.quantised import CONSTANTS, GRAPH, PROBES, probe, serialise
from models.quantisation.comparison import Comparison, compare

# NNCF's default; more images change little. As many again at least are needed to measure.
CALIBRATION_IMAGES, MIN_IMAGES = 300, 32

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Source:
    """A network to quantise, by the name or path that it is known by."""

    reference: str
    network: LatentHashNet
    info: CheckpointInfo
    precision: LowPrecision


def open_source(checkpoint: str, precision: str) -> Source:
    """Open a checkpoint to quantise.

    Raises:
        CheckpointError: it cannot be used, or is quantised already.
        ConfigError: the precision is unknown, or this CPU does not compute in it.
        ModelError: NNCF is not installed.
    """
    found = next((known for known in PRECISIONS if known == precision), None)
    if found is None:
        raise ConfigError(f"Unknown precision {precision}. Choose one of {', '.join(PRECISIONS)}.")
    require_instructions(found)
    if found == "int8":
        import_nncf()
    path = find_checkpoint(checkpoint)
    info = read_info(path)
    if info.quantisation is not None:
        raise CheckpointError(
            f"{checkpoint} is quantised already ({info.precision}). Quantise {info.quantisation.source}, which it was "
            "made from."
        )
    reference = path.stem if path.parent == PRETRAINED else str(path.resolve().with_suffix(""))
    return Source(reference, load(path)[0], info, found)


def quantise(source: Source, images: LoadedImages, out: Path, progress: Progress) -> tuple[CheckpointInfo, Comparison]:
    """Quantise a network, measure it beside its source, and write it.

    Args:
        source: the network, from `open_source`.
        images: a sample of the images that are to be searched, as the network reads them; labels may be -1 for none.
        out: path of the new checkpoint, without suffix.
        progress: called with the current step, the number done, and the total.

    Returns:
        The new checkpoint's description, and the measurement, which is also in it.

    Raises:
        DatasetError: there are too few images.
        ModelError: the folder of `out` is not writable.
    """
    calibration, measured = split(images)
    # F7 stays raw, as evaluation needs it; `UnitLength` scales it for searches.
    source.network.feature_norm = "raw"
    model = convert(source.network)
    with tempfile.TemporaryDirectory() as name:
        full = serialise(model, Path(name))
        low = full if source.precision == "bf16" else serialise(to_int8(model, calibration, progress), Path(name))
    made = Quantisation(
        precision=source.precision,
        source=source.reference,
        source_fingerprint=source.info.fingerprint,
        openvino=openvino_version(),
        nncf=import_nncf().__version__ if source.precision == "int8" else None,
        images=len(calibration) if source.precision == "int8" else 0,
        instructions=instructions(),
    )
    before, after = _run(full, "f32"), _run(low, made.arithmetic)
    comparison = compare(before, after, measured, source.info, progress)
    info = replace(source.info, name=out.name, metrics={"quantisation": asdict(comparison)}, quantisation=made)
    weights = {name: compact(value) for name, value in source.network.state_dict().items() if name.startswith(HEAD)}
    added = {**low, PROBES: probe(after, info)}
    try:
        written = save_weights({**weights, **{k: torch.from_numpy(v) for k, v in added.items()}}, info, out.parent)
    except OSError as error:
        raise ModelError(f"{out} cannot be written: {error.strerror or error}. Choose another --out.") from error
    return written, comparison


def split(images: LoadedImages) -> tuple[Images, LoadedImages]:
    """Split a sample into images to calibrate on, at most half of it, and others to measure on.

    Raises:
        DatasetError: there are too few.
    """
    total = len(images.images)
    if total < MIN_IMAGES:
        raise DatasetError(f"Quantising needs {MIN_IMAGES} readable images or more, and there are {total}. Add images.")
    order = np.random.default_rng(0).permutation(total)
    first, rest = np.split(order, [min(CALIBRATION_IMAGES, total // 2)])
    return images.images[first], LoadedImages(images.images[rest], images.labels[rest], ())


def to_int8(model: Any, images: Images, progress: Progress) -> Any:
    """Quantise an OpenVINO model, except H, with scales measured on images `(n, *shape)` uint8.

    Weights have 7 bits: with 8, sums of two products can overflow on CPUs without instructions for int8.
    """
    nncf, turns = import_nncf(), count()

    def feed(image: Images) -> Images:
        # Images are read once for the scales, and once more to correct the biases.
        progress("calibrating", next(turns) % len(images) + 1, len(images))
        return image[None]

    # NNCF prints its own progress.
    with redirect_stdout(StringIO()):
        return nncf.quantize(
            model,
            nncf.Dataset(images, feed),
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=[_matmul_of(model.outputs[0].get_node()).get_friendly_name()]),
            advanced_parameters=nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE),
        )


def import_nncf() -> Any:
    """Import the package `nncf` (takes seconds), with its telemetry and messages disabled.

    Raises:
        ModelError: it is not installed.
    """
    import_openvino()  # disables the telemetry of both
    try:
        import nncf
    except ImportError as error:
        raise ModelError(f"int8 needs the package nncf ({error}): pip install 'lookalike[quantise]'") from error
    # `nncf.set_log_level` would also set the level of handlers that other loggers share.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return nncf


def _matmul_of(node: Any) -> Any:
    """Return the matrix product that an output of H comes from."""
    while node.get_type_name() != "MatMul":
        node = node.input_value(0).get_node()
    return node


def _run(weights: Weights, arithmetic: str) -> OpenVinoRuntime:
    core = import_openvino().Core()
    return OpenVinoRuntime(core.read_model(weights[GRAPH].tobytes(), weights[CONSTANTS].tobytes()), arithmetic)
