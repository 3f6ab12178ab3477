"""Network runtimes: OpenVINO on a CPU, torch on a GPU. The only module of the service that imports either.

Converting a network for OpenVINO takes seconds, and so does importing torch. Converted networks are therefore cached in
the data folder; a start with a cached network needs neither.
"""

import hashlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.common import private_modes
from app.errors import InvalidInputError
from models.checkpoint.info import CheckpointInfo, read_weights
from models.checkpoint.quantisation import Quantisation
from models.errors import ConfigError
from models.network.openvino_runtime import OpenVinoRuntime, convert, import_openvino, openvino_version
from models.network.quantised import UnitLength, open_quantised

if TYPE_CHECKING:
    from models.network.latent_hash_net import LatentHashNet

log = logging.getLogger(__name__)

Images = NDArray[np.uint8]
Floats = NDArray[np.float32]

# Without one of these devices torch has no GPU to use; checking them avoids importing torch.
_GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


class Runtime(Protocol):
    """Runs a network: images `(n, size, size, 3)` uint8 → H `(n, bits)` and F7 `(n, feature_dim)`.

    Attributes:
        parallel_batches: number of batches that can run in parallel, each on one core.
    """

    parallel_batches: int

    def __call__(self, images: Images, /) -> tuple[Floats, Floats]:
        """Run one batch on all cores."""
        ...

    def on_one_core(self, images: Images, /) -> tuple[Floats, Floats]:
        """Run one batch on one core, in parallel with other batches."""
        ...


class TorchRuntime:
    """Runs a network in torch, for GPUs and as the reference."""

    def __init__(self, network: "LatentHashNet", device: str) -> None:
        import torch

        from models.network.latent_hash_net import SearchHead

        # With TF32, the default, F7 would differ from that computed on a CPU.
        torch.backends.cudnn.allow_tf32 = False
        self._torch, self._device = torch, torch.device(device)
        self._head = SearchHead(network).eval().to(self._device)
        self.parallel_batches = 1

    def on_one_core(self, images: Images) -> tuple[Floats, Floats]:
        """Run one batch on the whole GPU."""
        return self(images)

    def __call__(self, images: Images) -> tuple[Floats, Floats]:
        """Run one batch."""
        with self._torch.inference_mode():
            activations, features = self._head(self._torch.from_numpy(images).to(self._device))
            return activations.cpu().numpy(), features.cpu().numpy()


def open_runtime(path: Path, info: CheckpointInfo, device: str, precision: str, cache: Path) -> Runtime:
    """Open a checkpoint on the best available device.

    Args:
        path: the checkpoint's JSON.
        info: content of the JSON.
        device: `cpu`, `cuda`, or `auto` for a GPU if available.
        precision: `f32` or, on a CPU, `bf16`.
        cache: folder for converted networks.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        InvalidInputError: `device` is `cuda`, and torch finds no GPU; or device or precision are not for this network
            or this machine.
    """
    if info.quantisation is not None:
        return _open_quantised(path, info, info.quantisation, device, precision)
    if _on_gpu(device):
        from models.checkpoint.files import load

        return TorchRuntime(load(path)[0], "cuda")
    # Verify that the weights match the JSON, even if the converted network is cached.
    read_weights(path, info)
    try:
        return OpenVinoRuntime(load_cached(path, info, cache) or convert_and_cache(path, info, cache), precision)
    except ConfigError as error:
        raise InvalidInputError("LOOKALIKE_INFERENCE_PRECISION", f"{error} Set it to f32.") from error


def _open_quantised(path: Path, info: CheckpointInfo, made: Quantisation, device: str, precision: str) -> Runtime:
    """Open a quantised checkpoint, which runs on a CPU and in its own precision."""
    if device == "cuda":
        raise InvalidInputError("LOOKALIKE_DEVICE", f"{info.name} ({made.precision}) runs on CPUs. Set it to auto.")
    if precision != "f32":
        reason = f"{info.name} has its own precision ({made.precision}). Unset this one."
        raise InvalidInputError("LOOKALIKE_INFERENCE_PRECISION", reason)
    runtime = open_quantised(path, info, made)
    return UnitLength(runtime) if info.feature_norm == "unit" else runtime


def load_cached(path: Path, info: CheckpointInfo, cache: Path) -> Any | None:
    """Load a network that an earlier start converted; None if it is missing or damaged."""
    folder = _folder(info, cache)
    try:
        if (folder / "sha256").read_text() == _digest(folder):
            return import_openvino().Core().read_model(folder / "model.xml")
        log.warning("Cached network %s is damaged. Converting %s again.", folder, path.stem)
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError) as error:
        log.warning("Cached network %s cannot be used: %s. Converting %s again.", folder, error, path.stem)
    return None


def convert_and_cache(path: Path, info: CheckpointInfo, cache: Path) -> Any:
    """Convert a network for OpenVINO and cache it if possible.

    The returned network was written and read back. Directly from the converter, some sums would differ in the last bit
    from those of later starts, and an image would no longer be at distance 0 from itself.
    """
    from models.checkpoint.files import load

    openvino = import_openvino()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        openvino.save_model(convert(load(path)[0]), folder / "model.xml", compress_to_fp16=False)
        (folder / "sha256").write_text(_digest(folder))
        try:
            _store(folder, _folder(info, cache))
        except OSError as error:
            log.warning("Caching the converted network failed, so the next start converts it again: %s", error)
        return openvino.Core().read_model(folder / "model.xml")


def _store(source: Path, target: Path) -> None:
    """Copy a folder atomically; other workers may do so at the same time."""
    private_modes.make_folder(target.parent)
    with tempfile.TemporaryDirectory(dir=target.parent, ignore_cleanup_errors=True) as name:
        copy = Path(shutil.copytree(source, Path(name) / target.name))
        for file in copy.iterdir():
            private_modes.restrict(file)
        shutil.rmtree(target, ignore_errors=True)
        copy.replace(target)


def _folder(info: CheckpointInfo, cache: Path) -> Path:
    return cache / f"{info.fingerprint}-{openvino_version()}"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.xml", "model.bin"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _on_gpu(device: str) -> bool:
    if device == "cpu" or (device == "auto" and not any(path.exists() for path in _GPU_DEVICES)):
        return False
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        reason = f"torch {torch.__version__} finds no GPU. Install a GPU driver and torch with CUDA, or set it to auto."
        raise InvalidInputError("LOOKALIKE_DEVICE", reason)
    return available
