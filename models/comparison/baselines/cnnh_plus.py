"""CNNH+: Xia et al., AAAI 2014, the variant whose network also predicts the classes; see `cnnh.py`."""

from dataclasses import dataclass

from models.comparison.baselines.cnnh import FactorisedCodes


@dataclass
class FactorisedCodesAndClasses(FactorisedCodes):
    """CNNH with one more output per class; only the outputs for bits make the code."""

    classes: bool = True
    name: str = "CNNH+"
