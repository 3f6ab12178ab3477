"""Drawings of trousers and shorts, laid flat."""

from app.demo.curves import Curve, box, ellipse, mirrored, path
from app.demo.parts import DrawVariant, Part, Sketch, both, fold, line, stitch

TOP = 11.0


def leg(hip: float, knee: float, inner: float, outer: float, hem: float, *, crotch: float = 41) -> Curve:
    """The right leg from the middle of the waist: side, hem, inner seam."""
    third = (hem - crotch) / 3
    return path(
        (49.6, TOP + 4),
        (66.4, TOP + 2.4),
        (hip - 1, 22, hip, 30),
        (hip + 0.6, 44, knee, crotch + third, outer, hem),
        ((inner + outer) / 2, hem + 1.6, inner, hem),
        (inner - 0.5, hem - third, 52.6, crotch + third, 50.4, crotch),
        (49.6, crotch),
    )


def waistband() -> Sketch:
    """A waistband, with the inside of its back above it."""
    behind = mirrored(path((50, TOP - 2), (60, TOP - 2, 65.4, TOP - 0.4), (65.4, TOP + 3), (50, TOP + 4)))
    band = mirrored(
        path(
            (50, TOP + 1.6),
            (60, TOP + 1.6, 66, TOP - 0.6),
            (67.2, TOP + 4.8),
            (60, TOP + 6.8, 50, TOP + 6.8),
        )
    )
    return [Part(behind, "inside", relief=0.3), Part(band, "deep", relief=0.6, lift=0.4)]


def jeans_details(button: str = "metal") -> Sketch:
    """Belt loops, fly, front pockets and a button."""
    loops = [Part(box(x - 0.9, TOP + 0.4, x + 0.9, TOP + 7.4, 0.3), "deep", lift=0.4, relief=0.4) for x in (38, 62)]
    fly = path((55, TOP + 7), (55.4, 27, 50.6, 30.5))
    pocket = path((58.6, TOP + 7), (60, 24, 68.6, 25))
    return [
        *loops,
        line(path((50, TOP + 7), (50, 41)), width=0.5),
        stitch(fly),
        *both(line(pocket)),
        *both(stitch(path((57.6, TOP + 7), (59, 25, 68.8, 26.2)))),
        Part(ellipse(50, TOP + 4.4, 1.2, 1.2), button, lift=0.5),
    ]


def drawstring() -> Sketch:
    """Two cords from an elastic waist."""
    ribs = [line(path((x, TOP), (x, TOP + 7)), width=0.35) for x in range(36, 66, 2)]
    cord = path((51, TOP + 4), (53.6, TOP + 10, 52.6, TOP + 17))
    return [*ribs, *both(Part(cord, "light", width=0.9, lift=0.5, relief=0.3))]


def legs(shape: Curve, hem: float, front: Sketch, extra: Sketch = ()) -> Sketch:
    """Two legs with creases and hems, a waistband, and the parts of a variant."""
    inner, outer = shape[shape[:, 1] >= hem - 0.01, 0].min(), shape[shape[:, 1] >= hem - 0.01, 0].max()
    middle = (inner + outer) / 2
    lying = [
        path((68, 33), (61, 37, 53, 42)),
        path((66, 36), (60, 41, 55, 47)),
        path((middle - 1, hem), (middle + 1, hem - 12, middle - 1, hem * 0.62)),
    ]
    seam = path((inner - 6, hem - 2.6), (middle, hem - 0.8, outer + 6, hem - 2.6))
    behind, band = waistband()
    creased = [part for curve in lying for part in both(fold(curve, shape))]
    return [
        behind,
        *both(Part(shape, slope=-0.04)),
        *creased,
        *both(stitch(seam, shape)),
        *extra,
        band,
        *front,
    ]


def cargo(y: float, x: float) -> Sketch:
    """A pocket with a flap on each thigh."""
    bag, flap = box(x - 5.5, y, x + 5.5, y + 13, 1), box(x - 6.2, y - 1.4, x + 6.2, y + 3.4, 0.8)
    return [part for piece in (bag, flap) for part in both(Part(piece, "deep", lift=0.5, relief=0.6))]


def joggers() -> Sketch:
    """Elastic at the waist and the ankles."""
    shape = leg(69.5, 68.5, 55.6, 64.8, 86)
    cuff = path((55.2, 85), (60, 87, 65.2, 85), (64.6, 91.4), (60, 92.6, 55.8, 91.4))
    ribs = [part for x in range(56, 66, 2) for part in both(line(path((x, 86), (x, 92)), width=0.35, clip=cuff))]
    return legs(shape, 86, drawstring(), [*both(Part(cuff, "deep", relief=0.6)), *ribs])


def side_stripes(shape: Curve, curve: Curve) -> Sketch:
    """A stripe down each side."""
    return both(Part(curve, "trim", width=2.4, clip=shape, relief=0.2))


def sport_shorts() -> Sketch:
    """Wide, with a stripe down each side."""
    shape = leg(71.5, 76, 51.6, 78.5, 62, crotch=44)
    return legs(shape, 62, drawstring(), side_stripes(shape, path((66.6, 16), (70, 28, 72, 44, 75.4, 64))))


def frilled_shorts() -> Sketch:
    """A frill along each hem."""
    shape = leg(71, 74, 51.8, 75, 56, crotch=44)
    frill = path(
        (51.4, 53.4),
        (63, 56.6, 75.6, 53),
        (78, 60.6),
        (74, 64, 71, 61.6),
        (68, 65, 64.6, 62.4),
        (61, 65.6, 58, 62.6),
        (54.6, 65, 51.4, 61.6),
    )
    return legs(shape, 56, drawstring(), [p for part in (Part(frill, lift=0.6, slope=-0.04),) for p in both(part)])


TROUSERS: dict[str, DrawVariant] = {
    "straight": lambda: legs(leg(70, 68, 53.4, 67.6, 90), 90, jeans_details()),
    "slim": lambda: legs(leg(69, 65, 54.4, 63.6, 90), 90, jeans_details()),
    "wide": lambda: legs(leg(71, 74, 52.2, 77, 90), 90, jeans_details("light")),
    "joggers": joggers,
    "cargo": lambda: legs(leg(71, 70, 53.4, 70, 90), 90, jeans_details(), cargo(50, 65)),
}
SHORTS: dict[str, DrawVariant] = {
    "chino": lambda: legs(leg(71, 74, 51.8, 75, 60, crotch=44), 60, jeans_details()),
    "sport": sport_shorts,
    "bermuda": lambda: legs(leg(70.5, 72, 52.6, 72.6, 72, crotch=44), 72, jeans_details("light")),
    "cargo": lambda: legs(leg(71, 74, 52.2, 75, 68, crotch=44), 68, jeans_details(), cargo(48, 67)),
    "frilled": frilled_shorts,
}
