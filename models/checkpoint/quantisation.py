"""Description of a quantised network in its checkpoint's JSON."""

from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

LowPrecision = Literal["int8", "bf16"]
PRECISIONS: tuple[LowPrecision, ...] = get_args(LowPrecision)


@dataclass(frozen=True)
class Quantisation:
    """How a quantised network was made.

    Attributes:
        precision: `int8` for weights and activations of 8 bits, `bf16` for arithmetic in bfloat16.
        source: the checkpoint that it was made from: name of a shipped one, or path.
        source_fingerprint: that checkpoint's fingerprint.
        openvino: version of OpenVINO that converted the network.
        nncf: version of NNCF that chose the scales; None for bf16.
        images: number of images that it was calibrated on; 0 for bf16.
        instructions: the instruction sets for low precision of the CPU that it was made on.
    """

    precision: LowPrecision
    source: str
    source_fingerprint: str
    openvino: str
    nncf: str | None
    images: int
    instructions: tuple[str, ...]

    @property
    def arithmetic(self) -> Literal["f32", "bf16"]:
        """OpenVINO's precision; in an int8 network that of the parts that are not quantised."""
        return "bf16" if self.precision == "bf16" else "f32"

    @classmethod
    def from_dict(cls, described: dict[str, Any]) -> Self:
        """Read a description from JSON.

        Raises:
            ValueError: it has a field or a precision that this version does not know, or lacks a field.
        """
        names = {field.name for field in fields(cls)}
        if odd := sorted(names ^ set(described)):
            raise ValueError(f"quantisation lacks fields or has unknown ones: {', '.join(odd)}")
        if described["precision"] not in PRECISIONS:
            raise ValueError(
                f"quantisation.precision is {described['precision']!r}, not one of {', '.join(PRECISIONS)}"
            )
        return cls(**described | {"instructions": tuple(described["instructions"])})
