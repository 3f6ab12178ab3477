"""Quantised checkpoints: a network as OpenVINO runs it, stored in the checkpoint, with the F7 of a few probe images.

A quantised network differs from its source in every F7, and the same file may give other F7 on another CPU or in
another version of OpenVINO: a sum that differs in its last bit may be rounded to another step. Codes and F7 of one
fingerprint must be comparable, so a network is opened only where it gives the stored F7 of the probe images. Needs no
torch.
"""

from pathlib import Path
from typing import Any

import numpy as np

from models.checkpoint.info import CheckpointInfo, Weights, read_weights
from models.checkpoint.quantisation import Quantisation
from models.errors import CheckpointError, ConfigError
from models.network.codes import Floats, unit_length
from models.network.instructions import instructions, missing_instructions
from models.network.openvino_runtime import Images, OpenVinoRuntime, import_openvino, openvino_version

# Entries of the weights, besides H and F8.
GRAPH, CONSTANTS, PROBES = "openvino.xml", "openvino.bin", "probes.features"
# Largest distance of a probe image's F7 to the stored one, as a fraction of its length. One int8 value that is rounded
# differently causes more; sums in another order cause less.
_TOLERANCE = 1e-5


class UnitLength:
    """A runtime whose F7 is scaled to unit length."""

    def __init__(self, runtime: OpenVinoRuntime) -> None:
        self._runtime, self.parallel_batches = runtime, runtime.parallel_batches

    def __call__(self, images: Images, /) -> tuple[Floats, Floats]:
        """Run one batch on all cores."""
        activations, features = self._runtime(images)
        return activations, unit_length(features)

    def on_one_core(self, images: Images, /) -> tuple[Floats, Floats]:
        """Run one batch on one core."""
        activations, features = self._runtime.on_one_core(images)
        return activations, unit_length(features)


def open_quantised(path: Path, info: CheckpointInfo, made: Quantisation) -> OpenVinoRuntime:
    """Open a quantised checkpoint, and check that it gives the F7 that it gave where it was made.

    Args:
        path: the checkpoint's JSON.
        info: content of the JSON.
        made: the checkpoint's quantisation.

    Returns:
        A runtime with H and raw F7.

    Raises:
        CheckpointError: it is damaged, or this CPU or version of OpenVINO gives other results.
    """
    weights = read_weights(path, info)
    if absent := [name for name in (GRAPH, CONSTANTS, PROBES) if name not in weights]:
        raise CheckpointError(f"{path.with_suffix('.safetensors')} lacks {', '.join(absent)}. Restore the file.")
    advice = (
        f"Use it on machines like the one that made it, with OpenVINO {made.openvino}, or switch the catalogue to a "
        f"network that runs on every machine: `lookalike reindex {made.source}`."
    )
    if lack := missing_instructions(made.precision):
        raise CheckpointError(f"{path}: {lack} {advice}")
    try:
        model = import_openvino().Core().read_model(weights[GRAPH].tobytes(), weights[CONSTANTS].tobytes())
        runtime = OpenVinoRuntime(model, made.arithmetic)
        same = _is_reproduced(np.asarray(weights[PROBES], np.float32), runtime, info)
    except (RuntimeError, ValueError, ConfigError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(f"{path}: OpenVINO {openvino_version()} cannot run it: {reason} {advice}") from error
    if not same:
        raise CheckpointError(
            f"{path}: OpenVINO {openvino_version()} on a CPU with {_listed(instructions())} computes other F7 than "
            f"OpenVINO {made.openvino} on a CPU with {_listed(made.instructions)}, which made it, so their images "
            f"cannot be compared. {advice}"
        )
    return runtime


def serialise(model: Any, folder: Path) -> Weights:
    """Return an OpenVINO model as entries of a checkpoint; files are written into a temporary folder."""
    import_openvino().save_model(model, folder / "model.xml", compress_to_fp16=False)
    files = {GRAPH: folder / "model.xml", CONSTANTS: folder / "model.bin"}
    return {name: np.fromfile(file, np.uint8) for name, file in files.items()}


def probe(runtime: OpenVinoRuntime, info: CheckpointInfo) -> Floats:
    """Return raw F7 `(4, feature_dim)` of the probe images, each encoded alone."""
    return np.concatenate([runtime(image[None])[1] for image in probe_images(info.preprocess.shape)])


def probe_images(shape: tuple[int, int, int]) -> Images:
    """Generate four images `(4, *shape)` uint8 with gradients, edges and textures, in integer arithmetic."""
    y, x, channel = np.ogrid[: shape[0], : shape[1], : shape[2]]
    patterns = (
        3 * x + 5 * y + 40 * channel,
        (x ^ y) * (channel + 1),
        (x * x + y * y) // 64 + 80 * channel,
        ((x // 8 + y // 8) % 2) * 200 + (7 * x * y + 31 * channel) % 53,
    )
    return np.stack([pattern % 256 for pattern in patterns]).astype(np.uint8)


def _is_reproduced(expected: Floats, runtime: OpenVinoRuntime, info: CheckpointInfo) -> bool:
    """Return whether a runtime gives the expected F7 for the probe images, alone and as a batch."""
    alone, (_, together) = probe(runtime, info), runtime.on_one_core(probe_images(info.preprocess.shape))
    if alone.shape != expected.shape:
        return False
    limits = _TOLERANCE * np.linalg.norm(expected, axis=1)
    return all((np.linalg.norm(features - expected, axis=1) <= limits).all() for features in (alone, together))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "no known instructions for low precision"
