"""Drawings of dresses, laid flat."""

from app.demo.curves import Curve, ellipse, flip, join, mirrored, path
from app.demo.parts import DrawVariant, Part, Sketch, both, fold, line, stitch


def gown(neck: Curve, shoulder: float = 66, hem: float = 90, width: float = 77) -> Curve:
    """The whole front: neck, strap or shoulder, armhole, waist, flared skirt."""
    side = path(
        (shoulder, neck[-1, 1] + (shoulder - neck[-1, 0]) * 0.36),
        (shoulder - 2, 24, 65.4, 30),
        (64.6, 36, 61, 39, 61, 45),
        (63, 58, width - 3, 72, width, hem - 2.6),
        (66, hem + 1, 50, hem + 1),
    )
    return mirrored(join(neck, side))


def pleats(front: Curve, hem: float, width: float) -> Sketch:
    """Folds that fan out from the waist."""
    spread = (width - 50) / 27
    curves = [path((50 + at * 0.42, 50), (50 + at * 0.6 * spread, 68, 50 + at * spread, hem + 2)) for at in (4, 13, 21)]
    return [
        *both(fold(curves[1], front, 2)),
        fold(curves[0], front),
        fold(flip(curves[2]), front),
        fold(curves[2], front),
    ]


def dress(
    neck: Curve,
    sleeves: Sketch = (),
    *,
    shoulder: float = 66,
    hem: float = 90,
    width: float = 77,
    extra: Sketch = (),
) -> Sketch:
    """Sleeves, front, folds and the parts of a variant."""
    front = gown(neck, shoulder, hem=hem, width=width)
    (x, y), depth = neck[-1], neck[0, 1]
    inside = path((100 - x, y), (50, y + 3, x, y), (x, depth + 1), (100 - x, depth + 1))
    edge = path((20, hem - 5), (50, hem - 1.4, 80, hem - 5))
    return [
        Part(inside, "inside", relief=0.4),
        *sleeves,
        Part(front, bend=1.5, lift=0.5),
        *pleats(front, hem, width),
        stitch(edge, front),
        Part(mirrored(neck), "deep", width=1.5, relief=0.4, clip=front),
        *extra,
    ]


def neck(depth: float, pointed: bool = False) -> Curve:
    """The right half of the neckline."""
    if pointed:
        return path((50, 9 + depth), (55, 9 + depth * 0.5, 58.4, 9))
    return path((50, 9 + depth), (57, 9 + depth, 57.6, 9 + depth * 0.5, 58.4, 9))


def cap_sleeves() -> Sketch:
    """Two short sleeves."""
    arm = path((64.5, 11), (72, 13, 76, 20, 79, 27.6), (76, 31, 70.6, 31.6), (67, 30, 64.6, 26))
    return [*both(Part(arm, slope=-0.75)), *both(stitch(path((79.4, 25.2), (75, 29, 68, 29.4)), arm))]


def belt(ink: str = "trim") -> Sketch:
    """A band around the waist with a buckle."""
    band = mirrored(path((50, 42.6), (58, 42.6, 62, 41.8), (62.2, 45.8), (58, 46.8, 50, 46.8)))
    return [
        Part(band, ink, lift=0.5, relief=0.6),
        Part(ellipse(50, 44.7, 2.6, 2.6), "metal", width=0.9, lift=0.4, relief=0.5),
    ]


def slip() -> Sketch:
    """Thin straps."""
    front = mirrored(
        path(
            (50, 25),
            (56, 24, 61.4, 18.6),
            (64, 22, 66, 30),
            (65.5, 37, 61.5, 40, 61.5, 46),
            (62, 60, 70, 74, 72.6, 88),
            (62, 91, 50, 91),
        )
    )
    strap = path((61, 20), (60, 12, 57.4, 8))
    lace = path((50, 25.4), (56, 24.4, 61.4, 19))
    back = mirrored(path((50, 27), (60, 22), (66, 30), (50, 34)))
    return [
        Part(back, "inside", relief=0.4),
        *both(Part(strap, "deep", width=1, relief=0.3)),
        Part(front, bend=1.5, lift=0.4),
        *pleats(front, 90, 71),
        Part(mirrored(lace), "pale", width=1.5, relief=0.4),
    ]


def wrap() -> Sketch:
    """One side over the other, tied at the waist."""
    opening = neck(24, pointed=True)
    over = path((52, 34), (58, 44), (64, 62, 66, 92))
    ends = [path((58, 45), (60, 52, 58, 60)), path((58, 45), (63, 51, 63.4, 57))]
    ribbons = [Part(end, "trim", width=1.8, lift=0.5, relief=0.5) for end in ends]
    knot = Part(ellipse(58, 44.6, 2, 2.2), "trim", lift=0.5)
    sash = belt()[:1]
    front = gown(opening)
    return dress(
        opening,
        cap_sleeves(),
        extra=[fold(over, front, 1.8), line(over, width=0.45, clip=front), *sash, *ribbons, knot],
    )


def tiered() -> Sketch:
    """Three tiers, each gathered under the one above."""
    tiers: list[Part] = []
    for top, bottom, inner, outer in ((70, 90, 73, 79), (56, 74, 68, 74), (43, 59, 61.5, 69)):
        edge = path((inner, top), (outer - 2, (top + bottom) / 2, outer, bottom - 2), (62, bottom + 1, 50, bottom + 1))
        tier = mirrored(join(path((50, top)), edge))
        gathers = [path((x, top + 2), (50 + (x - 50) * 1.1, bottom - 3)) for x in (36, 43, 48, 55, 60, 65)]
        tiers += [Part(tier, bend=1.5, lift=1), *(fold(gather, tier, 1) for gather in gathers)]
    side = path((65, 11.4), (63.4, 24, 65.4, 30), (64.6, 36, 61, 39, 61.6, 45), (56, 47, 50, 47))
    front = mirrored(join(neck(9), side))
    inside = path((41.6, 9), (50, 12, 58.4, 9), (58.4, 19), (41.6, 19))
    border = Part(mirrored(neck(9)), "deep", width=1.5, relief=0.4, clip=front)
    return [Part(inside, "inside", relief=0.4), *tiers, Part(front, lift=0.8), border]


def shirt_dress() -> Sketch:
    """A placket down the front, a collar and a belt."""
    opening = neck(8, pointed=True)
    leaf = path((58.6, 8.2), (60.6, 10), (61, 16, 58.6, 21.4), (54, 19.6, 50, 16), (55.4, 13, 58.6, 8.2))
    buttons = [Part(ellipse(50, y, 0.95, 0.95), "light", lift=0.5, relief=0.3) for y in range(23, 88, 8)]
    lines = [line(path((x, 17), (x, 90)), width=0.4) for x in (47.8, 52.2)]
    return dress(
        opening,
        cap_sleeves(),
        width=74,
        extra=[*lines, *buttons, *both(Part(leaf, "pale", lift=0.5, relief=0.6)), *belt("leather")],
    )


DRESSES: dict[str, DrawVariant] = {
    "a-line": lambda: dress(neck(8), shoulder=65),
    "slip": slip,
    "belted": lambda: dress(neck(13), cap_sleeves(), extra=belt()),
    "wrap": wrap,
    "tiered": tiered,
    "shirt dress": shirt_dress,
}
