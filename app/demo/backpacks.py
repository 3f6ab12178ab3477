"""Drawings of backpacks, standing, from the front."""

from app.demo.bags import arch, buckle
from app.demo.curves import Curve, box, ellipse, mirrored, path
from app.demo.parts import DrawVariant, Part, Sketch, both, contact_shadow, line, stitch


def pack(top: float = 22, wide: float = 25) -> Curve:
    """The body of a backpack."""
    return mirrored(
        path(
            (50, top),
            (50 + wide * 0.84, top, 49 + wide, top + 12, 50 + wide, top + 24),
            (51 + wide, 80),
            (51 + wide, 88, 43 + wide, 88),
            (50, 88),
        )
    )


def shoulder_straps(top: float, wide: float) -> Sketch:
    """The visible parts of the straps at the sides, and the loop at the top."""
    strap = path((48 + wide, top + 16), (57 + wide, top + 30, 58 + wide, top + 52, 49 + wide, top + 62))
    return [
        *both(Part(strap, "deep", width=3.6, relief=0.6)),
        Part(arch(7, top + 3, top - 9), "deep", width=2.6, relief=0.5),
    ]


def front_pocket(top: float, wide: float, low: float, ink: str = "deep") -> Sketch:
    """A pocket with a zip and its pull."""
    shape = mirrored(
        path(
            (50, top),
            (47 + wide, top),
            (50 + wide, top, 50 + wide, top + 4),
            (50 + wide, low - 4),
            (50 + wide, low, 46 + wide, low),
            (50, low),
        )
    )
    zipper = path((52 - wide, top + 5), (48 + wide, top + 5))
    pull = Part(box(46 + wide, top + 4.4, 48 + wide, top + 10, 0.6), "metal", lift=0.5)
    return [Part(shape, ink, lift=0.7), line(zipper, "metal", 1), pull]


def backpack(extra: Sketch, top: float = 22, wide: float = 25) -> Sketch:
    """Straps, body and the parts of a variant."""
    return [
        contact_shadow(50 - wide, 50 + wide, 88),
        *shoulder_straps(top, wide),
        Part(pack(top, wide), bend=-1),
        *extra,
    ]


def side_pockets(wide: float, top: float) -> Sketch:
    """Pouches at both sides."""
    pouch = path((49 + wide, top), (54 + wide, top + 1), (55 + wide, 84), (54 + wide, 86.6, 49 + wide, 87))
    return both(Part(pouch, "deep", relief=0.8))


def school() -> Sketch:
    """A round pack with two side pockets."""
    zipper = line(mirrored(path((50, 29), (68, 29, 69.6, 38, 70, 52))), "metal", 1.1)
    return [*side_pockets(25, 62), *backpack([zipper, *front_pocket(57, 19, 83)])]


def daypack() -> Sketch:
    """A cloth front pocket and a leather patch."""
    patch = Part(path((50, 32), (54.4, 36.6), (50, 41.2), (45.6, 36.6)), "leather", lift=0.4)
    slots = [line(path((48.6, y), (51.4, y)), "inside", 0.8) for y in (35.4, 37.8)]
    return backpack(
        [
            *front_pocket(50, 20, 84, "cloth"),
            line(mirrored(path((50, 46), (74, 46))), "metal", 1.1),
            patch,
            *slots,
        ],
        wide=26,
    )


def flap_pack() -> Sketch:
    """A flap held by two buckled straps."""
    flap = mirrored(path((50, 20), (72, 20, 76, 32, 76.6, 44), (77, 56), (66, 60, 50, 60)))
    straps = both(Part(box(60, 40, 64.4, 74, 1.2), "leather", lift=0.6, relief=0.6))
    pocket = Part(mirrored(path((50, 62), (69, 62), (69, 82), (68.6, 84.6, 66, 84.6), (50, 84.6))), "deep", lift=0.6)
    return backpack(
        [
            pocket,
            Part(flap, lift=0.9),
            stitch(mirrored(path((50, 58), (66, 58, 75, 54.4))), flap),
            *straps,
            buckle(62.2, 67),
            buckle(37.8, 67),
        ]
    )


def roll_top() -> Sketch:
    """A rolled top under one strap."""
    body = mirrored(path((50, 26), (72, 26), (76, 84), (76, 88, 72, 88), (50, 88)))
    roll = box(25, 17, 75, 29, 5)
    band = Part(box(47.4, 14, 52.6, 60, 1), "leather", lift=0.6, relief=0.6)
    seam = line(path((26, 23), (74, 23)), width=0.7)
    return [
        contact_shadow(24, 76, 88),
        *shoulder_straps(20, 24),
        Part(body),
        *front_pocket(58, 18, 83),
        Part(roll, "deep", lift=0.9),
        seam,
        *both(Part(box(71.6, 20, 76.4, 34, 1), "leather", lift=0.4, relief=0.5)),
        band,
        buckle(50, 52),
    ]


def hiking() -> Sketch:
    """A lid, side pockets and a rolled mat."""
    lid = mirrored(path((50, 16), (68, 16, 74, 20, 75, 30), (75, 36), (64, 38, 50, 38)))
    mat = [
        Part(box(20, 79, 80, 91, 6), "trim", lift=0.4),
        *both(Part(ellipse(78, 85, 3.4, 5.6), "trim", lift=0.3)),
        *both(Part(ellipse(78, 85, 1.5, 2.6), "trim", lift=0.5)),
    ]
    holds = both(Part(box(62, 34, 65.4, 92, 0.8), "leather", lift=0.5, relief=0.5))
    body = backpack([*front_pocket(48, 18, 76), Part(lid, "deep", lift=0.9)], top=24, wide=24)
    return [*side_pockets(24, 56), *body, *mat, *holds, buckle(63.7, 43), buckle(36.3, 43)]


BACKPACKS: dict[str, DrawVariant] = {
    "school": school,
    "daypack": daypack,
    "flap": flap_pack,
    "roll-top": roll_top,
    "hiking": hiking,
}
