"""Drawings of skirts, laid flat."""

from app.demo.curves import Curve, ellipse, mirrored, path
from app.demo.parts import DrawVariant, Part, Sketch, fold, line, stitch
from app.demo.trousers import TOP, waistband


def skirt_shape(hip: float, hem: float, width: float) -> Curve:
    """Waist, hip and hem of a skirt."""
    return mirrored(
        path(
            (50, TOP + 5),
            (66.4, TOP + 4),
            (hip, 26, width - 2, hem - 20, width, hem - 2.4),
            (66, hem + 1.6, 50, hem + 1.6),
        )
    )


def skirt(shape: Curve, hem: float, extra: Sketch = ()) -> Sketch:
    """A skirt with waistband, hem and the parts of a variant."""
    behind, band = waistband()
    seam = path((10, hem - 6.4), (50, hem - 0.6, 90, hem - 6.4))
    return [behind, Part(shape, bend=2.5, lift=0.3), stitch(seam, shape), *extra, band]


def fan(shape: Curve, hem: float, width: float, count: int, sharp: bool = False) -> Sketch:
    """Folds from the waist to the hem; sharp ones are pleats."""
    parts = []
    for at in range(1, count):
        share = 2 * at / count - 1
        curve = path((50 + 15 * share, TOP + 7), (50 + (width - 50) * share, hem + 3))
        parts += [fold(curve, shape, 2.2), line(curve, width=0.4, clip=shape)] if sharp else [fold(curve, shape, 2)]
    return parts


def flared(hem: float, width: float, count: int, sharp: bool = False, extra: Sketch = ()) -> Sketch:
    """A skirt that widens to its hem."""
    shape = skirt_shape(72, hem, width)
    return skirt(shape, hem, [*fan(shape, hem, width, count, sharp), *extra])


def pencil() -> Sketch:
    """Narrow, with darts and a slit."""
    shape = skirt_shape(74, 82, 67)
    slit = path((56, 84), (57, 72, 56.6, 66))
    darts = [path((57.6, TOP + 6), (58, 26)), path((42.4, TOP + 6), (42, 26))]
    return skirt(
        shape,
        82,
        [
            *(line(dart) for dart in darts),
            line(slit, "inside", 0.7, shape),
            fold(path((69, 40), (60, 52, 57, 66)), shape),
        ],
    )


def buttoned() -> Sketch:
    """Short, with a row of buttons."""
    studs = [Part(ellipse(50, y, 1.2, 1.2), "metal", lift=0.5, relief=0.6) for y in range(22, 62, 7)]
    rows = [stitch(path((x, TOP + 6), (x, 66))) for x in (47, 53)]
    return flared(64, 77, 4, extra=[*rows, *studs])


def tiered_skirt() -> Sketch:
    """Three gathered tiers."""
    tiers: list[Part] = []
    for top, hem, inner, width in ((58, 84, 74, 83), (38, 64, 70, 77), (TOP + 4, 43, 65.6, 72)):
        tier = mirrored(
            path(
                (50, top),
                (inner, top),
                (width - 2, hem - 12, width, hem - 2.4),
                (66, hem + 1.6, 50, hem + 1.6),
            )
        )
        gathers = [path((50 + x * 0.9, top + 2), (50 + x, hem - 4)) for x in (-22, -15, -9, -2, 5, 12, 19)]
        tiers += [Part(tier, bend=2.5, lift=0.8), *(fold(gather, tier, 1.1) for gather in gathers)]
    behind, band = waistband()
    return [behind, *tiers, band]


SKIRTS: dict[str, DrawVariant] = {
    "a-line": lambda: flared(66, 80, 5),
    "midi": lambda: flared(86, 82, 6),
    "pleated": lambda: flared(70, 84, 11, sharp=True),
    "pencil": pencil,
    "buttoned": buttoned,
    "tiered": tiered_skirt,
}
