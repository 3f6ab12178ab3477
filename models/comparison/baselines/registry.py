"""Registry of all methods by name: constructors and descriptions."""

from collections.abc import Callable
from dataclasses import dataclass

from models.comparison.baselines import bre, cnnh, ksh, mlh
from models.comparison.baselines.cnnh_plus import FactorisedCodesAndClasses
from models.comparison.baselines.itq import IterativeQuantisation
from models.comparison.baselines.latent import LatentLayer
from models.comparison.baselines.lsh import LocalitySensitiveHashing
from models.comparison.baselines.method import Method
from models.comparison.baselines.sh import SpectralHashing
from models.comparison.baselines.ssdh import SemanticsPreservingHash


@dataclass(frozen=True)
class MethodInfo:
    """Description and constructor of a method.

    Attributes:
        title: name in tables and plots.
        learns: kind of supervision, in words.
        make: bits, seed → the method; pair-based ones also take `most`.
        most: maximum number of labelled images of pair-based methods, as in their papers; None for others.
    """

    title: str
    learns: str
    make: Callable[..., Method]
    most: int | None = None


METHODS = {
    "lsh": MethodInfo("LSH", "no labels", LocalitySensitiveHashing),
    "sh": MethodInfo("SH", "no labels", SpectralHashing),
    "itq": MethodInfo("ITQ", "no labels", IterativeQuantisation),
    "ksh": MethodInfo("KSH", "pairs", ksh.KernelSupervisedHashing, ksh.LABELLED),
    "mlh": MethodInfo("MLH", "pairs", mlh.MinimalLossHashing, mlh.LABELLED),
    "bre": MethodInfo("BRE", "pairs", bre.BinaryReconstructiveEmbedding, bre.LABELLED),
    "cnnh": MethodInfo("CNNH", "pairs", cnnh.FactorisedCodes, cnnh.LABELLED),
    "cnnh+": MethodInfo("CNNH+", "pairs and labels", FactorisedCodesAndClasses, cnnh.LABELLED),
    "ours": MethodInfo("ours", "labels", LatentLayer),
    "ssdh": MethodInfo("SSDH", "labels", SemanticsPreservingHash),
}
