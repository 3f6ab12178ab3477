"""Make torchvision importable beside a torch that it was not built for.

PyPI's torchvision for Linux is built for CUDA. Beside a CPU-only torch its compiled extension cannot be loaded,
and then `import torchvision` itself fails, because it registers shapes for two operators that the extension
would have declared. Models and transforms need neither, so declaring the two is enough. Import this module
before torchvision, and before timm, which imports torchvision.
"""

from importlib.util import find_spec
from pathlib import Path

import torch

_MISSING = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)


def _extension_loads() -> bool:
    spec = find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    libraries = list(Path(spec.origin).parent.glob("_C*.so")) + list(Path(spec.origin).parent.glob("_C*.pyd"))
    try:
        for library in libraries:
            torch.ops.load_library(str(library))
    except OSError:
        return False
    return bool(libraries)


def _declare(definitions: tuple[str, ...]) -> torch.library.Library:
    library = torch.library.Library("torchvision", "FRAGMENT")
    for definition in definitions:
        library.define(definition)
    return library


# Keeps the library object alive, because its declarations end with it.
DECLARED = None if _extension_loads() else _declare(_MISSING)
