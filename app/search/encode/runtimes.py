"""Where a network runs: in OpenVINO on a CPU, in torch on a GPU. The one module of the service that knows of either.

Converting a network for OpenVINO takes seconds, and torch with all it brings takes as long again to import. So what
was converted is kept in the data folder, and a start that finds it needs neither.
"""

import hashlib
import logging
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from app.common import private_modes as private
from app.errors import InvalidInputError
from models.checkpoint.info import CheckpointInfo, read_weights
from models.network.openvino_runtime import OpenVinoRuntime, convert, openvino_package

if TYPE_CHECKING:
    from models.network.latent_hash_net import LatentHashNet

log = logging.getLogger(__name__)

Pictures = NDArray[np.uint8]
Floats = NDArray[np.float32]

# A machine without one of these has no GPU that torch could use; asking torch itself means importing it.
_GPU_DEVICES = (Path("/dev/nvidiactl"), Path("/dev/dxg"))


class Runtime(Protocol):
    """Runs a network: pictures `(n, size, size, 3)` uint8 → H `(n, bits)` and F7 `(n, feature_dim)`.

    Attributes:
        lanes: batches that can run beside each other, each on one core.
    """

    lanes: int

    def __call__(self, pictures: Pictures) -> tuple[Floats, Floats]:
        """Runs one batch with everything there is."""
        ...

    def on_one_core(self, pictures: Pictures) -> tuple[Floats, Floats]:
        """Runs one batch as one of `lanes`."""
        ...


class TorchRuntime:
    """The network in torch, for GPUs and as the reference."""

    def __init__(self, network: "LatentHashNet", device: str) -> None:
        import torch

        from models.network.latent_hash_net import SearchHead

        # Rounded as it would be by default, F7 would differ from what a CPU makes of the same picture.
        torch.backends.cudnn.allow_tf32 = False
        self._torch, self._device = torch, torch.device(device)
        self._head = SearchHead(network).eval().to(self._device)
        self.lanes = 1

    def on_one_core(self, pictures: Pictures) -> tuple[Floats, Floats]:
        """Runs one batch; a GPU is not shared out."""
        return self(pictures)

    def __call__(self, pictures: Pictures) -> tuple[Floats, Floats]:
        """Runs one batch."""
        with self._torch.inference_mode():
            activations, features = self._head(self._torch.from_numpy(pictures).to(self._device))
            return activations.cpu().numpy(), features.cpu().numpy()


def open_runtime(path: Path, info: CheckpointInfo, device: str, precision: str, cache: Path) -> Runtime:
    """Makes a checkpoint run where it runs best.

    Args:
        path: the checkpoint's JSON.
        info: what it says.
        device: `cpu`, `cuda`, or `auto` for a GPU where there is one.
        precision: `f32` or, on a CPU, `bf16`.
        cache: a folder for converted networks.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        InvalidInputError: there is no GPU that torch could use, and `cuda` was asked for.
    """
    if _on_gpu(device):
        from models.checkpoint.files import load

        return TorchRuntime(load(path)[0], "cuda")
    # Whether the weights are those that the JSON speaks of is looked at, even where what was made of them is kept.
    read_weights(path, info)
    return OpenVinoRuntime(kept(path, info, cache) or converted(path, info, cache), precision)


def kept(path: Path, info: CheckpointInfo, cache: Path) -> Any | None:
    """Returns what an earlier start converted; None where there is nothing, or not what was written."""
    folder = _folder(info, cache)
    try:
        if (folder / "sha256").read_text() == _digest(folder):
            return openvino_package().Core().read_model(folder / "model.xml")
        log.warning("%s is damaged; converting %s anew", folder, path.stem)
    except FileNotFoundError:
        pass
    except (OSError, RuntimeError) as error:
        log.warning("%s cannot be used (%s); converting %s anew", folder, error, path.stem)
    return None


def converted(path: Path, info: CheckpointInfo, cache: Path) -> Any:
    """Converts a network for OpenVINO and keeps the result, unless there is no room to.

    What is returned was written and read back: as it comes from the converter it would differ from what later starts
    find in the last bit of some sums, and a picture would no longer be at distance 0 from itself.
    """
    from models.checkpoint.files import load

    openvino = openvino_package()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        made = Path(name)
        openvino.save_model(convert(load(path)[0]), made / "model.xml", compress_to_fp16=False)
        (made / "sha256").write_text(_digest(made))
        try:
            _keep(made, _folder(info, cache))
        except OSError as error:
            log.warning("the converted network is not kept, so the next start takes as long: %s", error)
        return openvino.Core().read_model(made / "model.xml")


def _keep(made: Path, folder: Path) -> None:
    """Copies a folder, so that it is there whole or not at all; another worker may do the same at the same time."""
    private.make_folder(folder.parent)
    with tempfile.TemporaryDirectory(dir=folder.parent, ignore_cleanup_errors=True) as name:
        copy = Path(shutil.copytree(made, Path(name) / folder.name))
        for file in copy.iterdir():
            private.close(file)
        shutil.rmtree(folder, ignore_errors=True)
        copy.replace(folder)


def _folder(info: CheckpointInfo, cache: Path) -> Path:
    return cache / f"{info.fingerprint}-{openvino_package().__version__.partition('-')[0]}"


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for name in ("model.xml", "model.bin"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _on_gpu(device: str) -> bool:
    if device == "cpu" or (device == "auto" and not any(path.exists() for path in _GPU_DEVICES)):
        return False
    import torch

    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        reason = f"torch {torch.__version__} finds no GPU here; install a torch with CUDA and a driver, or set auto"
        raise InvalidInputError("LOOKALIKE_DEVICE", reason)
    return there
