"""CNNH+: Xia et al., AAAI 2014, the variant whose network learns the classes beside the codes; see `cnnh.py`."""

from dataclasses import dataclass

from models.comparison.baselines.cnnh import FactorisedCodes


@dataclass
class FactorisedCodesAndClasses(FactorisedCodes):
    """One more output for each class; only the outputs for bits make the code."""

    classes: bool = True
    name: str = "CNNH+"
