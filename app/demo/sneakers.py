"""Drawings of sneakers, from the side, toes to the right."""

from app.demo.curves import Curve, ellipse, path
from app.demo.parts import DrawVariant, Part, Sketch, contact_shadow, fold, line, stitch


def upper(collar: float = 42, tongue: float = 36) -> Curve:
    """A sneaker without its sole: heel, collar, tongue, laces, toe."""
    return path(
        (13, 68),
        (11, 58, 14.5, 52, 13.5, collar),
        (16, collar - 3, 20, collar - 1),
        (26, collar + 6, 34, collar + 4, 38, tongue),
        (41, tongue - 2, 45, tongue + 1),
        (51, 46, 58, 50, 64, 53),
        (76, 54, 88, 56, 89, 68),
    )


def sole(thick: float, rise: float) -> Sketch:
    """A cup sole with a line and a tread, raised at the heel."""
    low = 66 + thick
    shape = path(
        (10.5 - rise * 0.3, 65 - rise),
        (24, 66 - rise, 34, 66.4, 60, 66.4),
        (80, 66, 90, 63.6),
        (92.6, 66, 90.6, low - 1.4),
        (90, low, 87, low),
        (14, low),
        (11, low, 10, 68),
        (9, 67 - rise, 10.5 - rise * 0.3, 65 - rise),
    )
    stripe = path((10, low - 2.6), (91, low - 2.6))
    tread = path((13, low - 0.2), (88, low - 0.2))
    return [
        Part(shape, "sole", relief=0.7, lift=0.4),
        line(stripe, "trim", 0.9, shape),
        line(tread, "gum", 1.6, shape),
    ]


def laces(rows: int, top: float, slant: float = 6.4) -> Sketch:
    """Rows of laces from the tongue down to the toe."""
    parts = []
    for row in range(rows):
        share = row / (rows - 1)
        x, y = 44 + 17 * share, top + (51.4 - top) * share + 0.6
        parts.append(
            Part(
                path((x - 5.6, y + slant), (x - 3, y + 2, x + 1.4, y - 0.6)),
                "light",
                width=1.7,
                lift=0.5,
                relief=0.5,
            )
        )
    return parts


def sneaker(
    extra: Sketch,
    *,
    collar: float = 42,
    tongue: float = 36,
    rows: int = 0,
    thick: float = 7,
    rise: float = 0,
) -> Sketch:
    """Contact shadow, tongue, upper with panels, laces, the parts of a variant, sole."""
    shape = upper(collar, tongue)
    flap = path((37, 48), (37, tongue - 3), (40, tongue - 6.4, 45, tongue - 4), (50, 46), (46, 52))
    opening = path((14.6, collar - 0.4), (24, collar - 2.6, 38.6, tongue), (32, collar + 7, 22, collar + 4))
    toe = path((73, 50), (69.6, 60, 72, 70), (95, 70), (95, 50))
    counter = path((8, 52), (20, 52, 25, 58, 26.5, 70), (8, 70))
    stay = path((39.4, tongue + 2), (45, 47, 52, 51.6, 62, 55.6), (58, 61, 52, 61), (42, 56, 36, 47))
    eyelets = [Part(stay, "deep", clip=shape, relief=0.5, lift=0.3), *laces(rows, tongue + 1.4)]
    return [
        contact_shadow(10, 92, 67 + thick),
        Part(opening, "inside", relief=0.3),
        Part(flap, "pale", relief=0.8),
        Part(shape, bend=-1, lift=0.3),
        Part(counter, "trim", clip=shape, relief=0.4, lift=0.3),
        Part(toe, "deep", clip=shape, relief=0.4, lift=0.3),
        stitch(path((71.4, 52), (68, 60, 70.4, 69)), shape),
        fold(path((66, 56), (64, 60, 65, 64)), shape),
        *(eyelets if rows else ()),
        *extra,
        Part(
            path(
                (13.6, collar + 0.4),
                (16, collar - 2, 20, collar),
                (26, collar + 6.6, 34, collar + 4.6, 38, tongue + 0.6),
            ),
            "deep",
            width=2,
            relief=0.6,
        ),
        *sole(thick, rise),
    ]


def wave() -> Part:
    """A band that runs down from the laces and along the side."""
    return Part(path((50, 50), (44, 64, 34, 62, 22, 63)), "trim", width=2.8, relief=0.3, lift=0.3)


def bars() -> Sketch:
    """Two slanted bars."""
    return [Part(path((x, 51), (x - 4, 66)), "trim", width=2.6, clip=upper(), relief=0.3) for x in (37, 43)]


def high_top() -> Sketch:
    """Over the ankle, with a round badge."""
    patch = Part(ellipse(27, 44, 4.4, 4.4), "light", lift=0.4, relief=0.4)
    star = Part(ellipse(27, 44, 2.2, 2.2), "trim", relief=0.2)
    return sneaker([patch, star], collar=26, tongue=20, rows=7)


def slip_on() -> Sketch:
    """No laces: elastic at the instep."""
    shape = upper(45, 42)
    gore = path((38, 40), (49, 46), (45, 58, 37, 59), (32, 54, 34, 48))
    ribs = [line(path((x, 40), (x - 3, 60)), width=0.4, clip=gore) for x in range(36, 50, 2)]
    return sneaker([Part(gore, "deep", clip=shape, relief=0.3), *ribs], collar=45, tongue=42)


def strapped() -> Sketch:
    """Two broad straps."""
    straps: list[Part] = []
    for x, y in ((41, 41), (49, 47)):
        strap = path(
            (x - 9, y + 17),
            (x - 11, y + 13),
            (x - 3, y + 1, x + 3, y),
            (x + 6, y + 3),
            (x, y + 7, x - 9, y + 17),
        )
        straps += [Part(strap, "trim", lift=0.6, relief=0.7)]
    return sneaker(straps)


def runner() -> Sketch:
    """A sole that rises at the heel."""
    return sneaker([wave()], rows=5, thick=8, rise=5)


SNEAKERS: dict[str, DrawVariant] = {
    "low": lambda: sneaker(bars(), rows=5),
    "high top": high_top,
    "runner": runner,
    "slip-on": slip_on,
    "strap": strapped,
}
