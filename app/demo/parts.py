"""Parts of a drawing, and helpers for common ones: lines, stitches, folds, reflections."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from app.demo.curves import Curve, ellipse, flip


@dataclass(frozen=True)
class Part:
    """One area or line of a drawing.

    Attributes:
        curve: its outline; or, with a `width`, the line itself.
        ink: colour role; `cloth` also has the pattern.
        width: of a line, in units; 0 fills the outline.
        dash: length of a stitch and of the gap after it, in units; 0 is a solid line.
        clip: outline outside which nothing is drawn.
        relief: strength of the shading as a rounded surface.
        lift: darkness of its shadow on the parts behind it.
        soft: blur radius of its edge, in units, for folds and reflections.
        opacity: from 0 to 1.
        slope: descent of the pattern per unit to the right, as on a sleeve.
        bend: sag of the pattern in the middle, in units, as around a cylinder.
    """

    curve: Curve
    ink: str = "cloth"
    width: float = 0
    dash: float = 0
    clip: Curve | None = None
    relief: float = 1
    lift: float = 0
    soft: float = 0
    opacity: float = 1
    slope: float = 0
    bend: float = 0

    @property
    def solid(self) -> bool:
        """Whether the part casts a shadow on the wall."""
        return not self.soft and self.opacity == 1


Sketch = Sequence[Part]
"""Parts from back to front."""

DrawVariant = Callable[[], Sketch]
"""Function that draws one variant of a product."""


def line(curve: Curve, ink: str = "stitch", width: float = 0.5, clip: Curve | None = None) -> Part:
    """A flat line."""
    return Part(curve, ink, width=width, clip=clip, relief=0, opacity=0.85)


def stitch(curve: Curve, clip: Curve | None = None, ink: str = "stitch") -> Part:
    """A seam of single stitches."""
    return Part(curve, ink, width=0.42, dash=1.1, clip=clip, relief=0, opacity=0.8)


def fold(curve: Curve, clip: Curve, width: float = 1.6) -> Part:
    """A soft crease in the cloth."""
    return Part(curve, "shadow", width=width, clip=clip, relief=0, soft=0.9, opacity=0.24)


def shine(curve: Curve, clip: Curve, width: float = 2) -> Part:
    """A reflection."""
    return Part(curve, "light", width=width, clip=clip, relief=0, soft=0.7, opacity=0.4)


def contact_shadow(left: float, right: float, y: float) -> Part:
    """The shadow on the ground below a standing object."""
    oval = ellipse((left + right) / 2, y, (right - left) / 2, 2.2)
    return Part(oval, "shadow", relief=0, soft=1.6, opacity=0.42)


def both(part: Part) -> Sketch:
    """A part on the right, and its mirror image on the left."""
    clip = None if part.clip is None else flip(part.clip)
    return [part, replace(part, curve=flip(part.curve), clip=clip, slope=-part.slope)]
