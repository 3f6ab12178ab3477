"""Drawings of boots, from the side, toes to the right."""

from app.demo.curves import Curve, box, path
from app.demo.parts import DrawVariant, Part, Sketch, contact_shadow, fold, line, shine, stitch


def boot_shape(top: float) -> Curve:
    """Shaft, instep, toe and heel of a boot without its sole."""
    return path(
        (27, top),
        (41, top + 1.6, 55, top),
        (55.4, 40, 54, 52, 57, 56),
        (64, 60, 74, 58, 83, 64),
        (89, 68, 87, 76),
        (27, 76),
        (25, 68, 29, 62, 28.4, 50),
        (27, 40, 27, top),
    )


def flat_sole(thick: float = 4, ink: str = "rubber", lugs: bool = False) -> Sketch:
    """A sole with a heel step; with lugs, a deep tread."""
    low = 76 + thick
    shape = path(
        (25.6, 74.6),
        (60, 75.6, 88.4, 74.6),
        (89.6, 76, 88, low),
        (52, low),
        (50, low - 1.6),
        (47, low - 1.6),
        (45, low + 1.6),
        (26, low + 1.6),
        (25, 78, 25.6, 74.6),
    )
    grooves = [line(path((x, low + 3), (x, low - 1.6)), "light", 0.9, shape) for x in range(28, 88, 5)] if lugs else []
    return [Part(shape, ink, relief=0.8, lift=0.4), *grooves]


def boot(top: float, extra: Sketch = (), under: Sketch = (), base: float = 81) -> Sketch:
    """Contact shadow, inside, shaft and foot, ankle creases, the parts of a variant, sole."""
    shape = boot_shape(top)
    inside = path((27, top), (41, top - 3, 55, top), (41, top + 3, 27, top))
    ankle = [path((57, 55), (48, 58, 44, 63)), path((56, 51), (48, 53, 43, 57))]
    toe = path((70, 54), (66.6, 66, 69, 78))
    return [
        contact_shadow(25, 89, base),
        Part(inside, "inside", relief=0.3),
        Part(shape, bend=1, lift=0.3),
        *(fold(curve, shape) for curve in ankle),
        stitch(toe, shape),
        shine(path((78, 63.6), (83, 65, 85, 70)), shape, 1.6),
        *extra,
        *(under or flat_sole()),
    ]


def tab(top: float) -> Part:
    """The pull tab at the heel."""
    return Part(
        path((27.6, top + 5), (24, top - 5, 30, top - 4.4), (31.6, top, 30.6, top + 5)),
        "trim",
        width=1.6,
        lift=0.3,
        relief=0.4,
    )


def chelsea() -> Sketch:
    """Elastic at the side and a loop to pull."""
    gore = path((36, 30), (47, 30), (46.6, 46, 44.4, 55), (41.5, 57, 39, 55), (36.4, 46, 36, 30))
    shape = boot_shape(34)
    ribs = [line(path((x, 36.4), (x, 60)), width=0.4, clip=gore) for x in range(37, 48, 2)]
    return boot(34, [Part(gore, "trim", clip=shape, relief=0.4), *ribs, tab(34)])


def combat() -> Sketch:
    """Laced, with a toe cap and a deep tread."""
    shape = boot_shape(26)
    stay = path((47, 24), (58, 24), (56, 54), (74, 56), (72, 70), (60, 70, 50, 60))
    rows = [
        Part(path((48.6, y + 1.4), (52, y + 0.4, 56.4, y)), "light", width=1.5, lift=0.5, relief=0.4)
        for y in range(29, 52, 5)
    ]
    cap = path((70, 56), (67, 66, 69, 78), (95, 78), (95, 56))
    panels = [
        Part(stay, "deep", clip=shape, relief=0.4, lift=0.3),
        Part(cap, "deep", clip=shape, relief=0.4, lift=0.3),
    ]
    return boot(26, [*panels, *rows, tab(26)], flat_sole(5, lugs=True), 82)


def riding() -> Sketch:
    """To the knee, with a cuff and a buckled strap."""
    shape = boot_shape(10)
    strap = Part(path((26, 54), (42, 59, 58, 53)), "leather", width=2.2, clip=shape, lift=0.4, relief=0.6)
    buckle = Part(box(44, 54.6, 48.6, 59, 0.6), "metal", lift=0.4)
    cuff = path((20, 8), (60, 8), (60, 16), (41, 18, 20, 16))
    return boot(10, [Part(cuff, "deep", clip=shape, relief=0.4), strap, buckle], flat_sole(2), 80)


def heeled() -> Sketch:
    """An arched foot on a block heel."""
    shape = path(
        (29, 26),
        (42, 27.6, 56, 26),
        (55, 40, 54, 48, 58, 54),
        (64, 64, 76, 68, 85, 74),
        (91, 78, 89, 84),
        (64, 84),
        (56, 74, 46, 72, 27, 72),
        (25, 64, 30, 54, 29.4, 44),
        (29, 36, 29, 26),
    )
    block = path((26.6, 70), (44, 71), (40, 78, 39.4, 86), (28.4, 86), (28.6, 78, 26.6, 70))
    thin = path(
        (27, 71.6),
        (46, 71.6, 56, 75, 64, 84),
        (89.4, 84),
        (89, 86, 87, 86),
        (62, 86),
        (54, 77, 44, 74, 27, 74),
    )
    return [
        contact_shadow(27, 90, 86),
        Part(path((29, 26), (42, 23, 56, 26), (42, 29, 29, 26)), "inside", relief=0.3),
        Part(block, "leather", relief=0.8),
        Part(shape, bend=1),
        fold(path((57, 51), (48, 54, 44, 60)), shape),
        line(path((42, 27), (42, 71)), "metal", 0.9),
        Part(box(41, 28, 43, 33, 0.5), "metal", lift=0.4),
        shine(path((78, 72), (84, 74, 86, 79)), shape, 1.6),
        Part(thin, "rubber", relief=0.4, lift=0.3),
    ]


def rain() -> Sketch:
    """Rubber, with a bright band and gloss."""
    shape = boot_shape(16)
    band = path((20, 14), (60, 14), (60, 21), (41, 23, 20, 21))
    foxing = path((24, 70), (50, 73, 90, 70), (90, 78), (24, 78))
    gloss = [
        shine(path((33, 28), (34, 44, 34, 56)), shape, 2.6),
        shine(path((38, 28), (38.6, 34, 38.6, 38)), shape, 1.2),
    ]
    return boot(
        16,
        [Part(band, "trim", clip=shape, relief=0.4), Part(foxing, "trim", clip=shape, relief=0.3), *gloss],
        flat_sole(4, "sole"),
    )


BOOTS: dict[str, DrawVariant] = {
    "chelsea": chelsea,
    "lace-up": combat,
    "riding": riding,
    "heeled": heeled,
    "rain": rain,
}
