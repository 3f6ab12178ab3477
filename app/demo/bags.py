"""Drawings of bags, standing, from the front."""

from app.demo.curves import Curve, box, ellipse, join, mirrored, path
from app.demo.parts import DrawVariant, Part, Sketch, both, contact_shadow, fold, line, stitch


def rivets(*points: tuple[float, float]) -> Sketch:
    """Metal studs."""
    return [Part(ellipse(x, y, 1.1, 1.1), "metal", lift=0.5) for x, y in points]


def buckle(x: float, y: float) -> Part:
    """A metal frame that a strap runs through."""
    return Part(box(x - 2.4, y - 1.8, x + 2.4, y + 1.8, 0.6), "metal", width=0.9, lift=0.4, relief=0.4)


def arch(x: float, low: float, high: float) -> Curve:
    """A handle between two points at the same height."""
    return mirrored(path((50, high), (50 + x * 0.86, high, 50 + x * 0.86, high + (low - high) * 0.4, 50 + x, low)))


def tote() -> Sketch:
    """Soft, open, with long handles."""
    shape = mirrored(path((50, 38), (76, 37), (78, 60, 79.6, 86), (79.6, 89, 76, 89.4), (50, 90)))
    behind, front = arch(13, 40, 6), arch(14, 46, 11)
    mouth = mirrored(path((50, 35.4), (75, 36), (75.6, 39), (50, 40)))
    ends = both(Part(box(61.8, 41, 66, 50, 0.5), "leather", lift=0.4, relief=0.5))
    return [
        contact_shadow(21, 79, 89.6),
        Part(behind, "leather", width=2.6, relief=0.5),
        Part(mouth, "inside", relief=0.3),
        Part(shape, lift=0.3),
        *(fold(curve, shape) for curve in (path((72, 44), (66, 60, 68, 76)), path((30, 86), (36, 76, 33, 62)))),
        stitch(path((20, 41.6), (80, 41.6)), shape),
        Part(front, "leather", width=2.8, lift=0.6, relief=0.6),
        *ends,
        *rivets((64, 43.4), (64, 47.4), (36, 43.4), (36, 47.4)),
    ]


def handbag() -> Sketch:
    """Stiff, with one handle, a flap and a lock."""
    shape = mirrored(path((50, 40), (74, 40), (77, 40, 78, 44), (84, 82), (84.4, 87, 80, 87), (50, 87)))
    flap = mirrored(path((50, 39), (74, 39), (77.6, 39, 78.6, 44), (79.4, 54), (72, 64, 50, 64)))
    lock = [
        Part(box(46.4, 60, 53.6, 68.4, 1.4), "metal", lift=0.6),
        Part(ellipse(50, 64.4, 1.1, 1.1), "inside", relief=0),
    ]
    return [
        contact_shadow(15, 85, 87),
        Part(arch(15, 42, 14), "leather", width=3.4, relief=0.7),
        Part(shape, lift=0.2),
        Part(flap, "deep", lift=0.8),
        stitch(mirrored(path((50, 62), (70, 62, 77.4, 53))), flap),
        *lock,
        *rivets((66.4, 42), (33.6, 42)),
    ]


def satchel() -> Sketch:
    """A large flap held by two straps."""
    shape, flap = (
        box(16, 36, 84, 84, 5),
        mirrored(path((50, 33), (80, 33), (85.6, 33, 86, 40), (86, 60), (85.6, 66, 80, 66), (50, 66))),
    )
    straps = both(Part(box(66, 36, 71, 76, 1.4), "leather", lift=0.6, relief=0.6))
    return [
        contact_shadow(15, 85, 84.4),
        Part(arch(11, 36, 22), "leather", width=3.2, relief=0.7),
        Part(shape, "deep"),
        Part(flap, lift=0.9),
        stitch(mirrored(path((50, 64), (80, 64), (84, 63.6, 84, 60), (84, 37))), flap),
        *straps,
        buckle(68.5, 69),
        buckle(31.5, 69),
        *rivets((68.5, 39), (31.5, 39)),
    ]


def bucket() -> Sketch:
    """A round bag gathered by a cord."""
    shape = mirrored(path((50, 36), (64, 36), (67, 37, 67, 42), (78, 54, 74, 86), (70, 90.6, 50, 90.6)))
    rim = mirrored(path((50, 31), (60, 31, 66.4, 34), (65, 43), (58, 45, 50, 45)))
    base = mirrored(path((50, 76), (66, 76, 78, 73), (78, 92), (50, 92)))
    pleats = [path((50 + x * 0.8, 44), (50 + x, 62)) for x in (-18, -11, -4, 4, 11, 18)]
    ends = both(Part(path((50, 44.6), (54, 52, 53.6, 58)), "leather", width=1.2, lift=0.5, relief=0.4))
    return [
        contact_shadow(26, 74, 90),
        Part(arch(15, 38, 6), "leather", width=2.6, relief=0.6),
        Part(shape, bend=2),
        Part(base, "leather", clip=shape, relief=0.4, lift=0.4),
        *(fold(pleat, shape) for pleat in pleats),
        Part(rim, bend=2, lift=0.3),
        Part(mirrored(path((50, 44.4), (58, 44.4, 66, 41.6))), "leather", width=1.6, lift=0.5, relief=0.5),
        *ends,
        *rivets((53.6, 59), (46.4, 59)),
    ]


def duffel() -> Sketch:
    """A lying roll with two handles and a zip."""
    shape = mirrored(path((50, 40), (76, 40), (90, 42, 90, 62), (90, 82, 76, 84), (50, 84)))
    side = path((74, 38), (81, 50, 81, 74, 74, 86), (94, 86), (94, 38))
    handle = join(path((35, 84), (35, 50)), arch(13, 46, 22), path((65, 50), (65, 84)))
    return [
        contact_shadow(14, 86, 84.4),
        Part(arch(11, 42, 19), "deep", width=2.6, relief=0.4),
        Part(shape),
        *both(Part(side, "deep", clip=shape, relief=0.5, lift=0.4)),
        line(path((24, 43.4), (76, 43.4)), "metal", 1.1),
        Part(
            handle,
            "leather",
            width=3,
            lift=0.6,
            relief=0.6,
            clip=path((0, 0), (100, 0), (100, 83.6), (0, 83.6)),
        ),
        Part(box(44, 20.4, 56, 24.6, 1.4), "leather", lift=0.4),
        *rivets((35, 54), (65, 54)),
    ]


BAGS: dict[str, DrawVariant] = {
    "tote": tote,
    "handbag": handbag,
    "satchel": satchel,
    "bucket": bucket,
    "duffel": duffel,
}
