"""Drawings of hats, from the front."""

from app.demo.curves import ellipse, mirrored, path
from app.demo.parts import DrawVariant, Part, Sketch, both, fold, line, stitch


def cap() -> Sketch:
    """Six panels and a visor."""
    dome = mirrored(path((50, 26), (72, 26, 80, 42, 80, 62), (66, 58, 50, 58)))
    visor = mirrored(path((50, 57), (68, 57, 81, 60), (92, 74, 88, 77), (70, 68, 50, 68)))
    seams = [path((50, 26), (50, 58)), path((52, 26), (66, 34, 67, 59)), path((48, 26), (34, 34, 33, 59))]
    rows = [stitch(mirrored(path((50, 59 + y), (68, 59 + y, 82 + y / 2, 62 + y))), visor) for y in (2, 4.4, 6.8)]
    eyelets = both(Part(ellipse(60, 37, 1, 1), "stitch", relief=0.2))
    return [
        Part(dome, bend=-3),
        *(line(seam, width=0.45, clip=dome) for seam in seams),
        *eyelets,
        Part(ellipse(50, 26, 2.6, 1.5), "trim", lift=0.3),
        Part(visor, "trim", lift=0.9),
        *rows,
    ]


def beanie(pompom: bool) -> Sketch:
    """Knitted, with a folded rim and optionally a pompom."""
    dome = mirrored(path((50, 26), (72, 26, 77, 48, 78, 66), (50, 70)))
    rim = mirrored(
        path((50, 60), (68, 60, 79, 57), (81.4, 58, 81, 62), (80.6, 70), (80.6, 73, 78, 73.4), (66, 76, 50, 76))
    )
    ribs = [line(path((50 + x, 57), (50 + x * 1.02, 78)), width=0.6, clip=rim) for x in range(-30, 31, 3)]
    knit = [fold(path((50 + x * 0.25, 26), (50 + x, 40, 50 + x * 1.1, 62)), dome, 1) for x in (-24, -12, 0, 12, 24)]
    return [*(pom() if pompom else ()), Part(dome, bend=-4), *knit, Part(rim, "deep", lift=0.8), *ribs]


def pom() -> Sketch:
    """A pompom: small circles around a large one."""
    ring = ((0, -8), (5.6, -5.6), (8, 0), (5.6, 5.6), (-5.6, 5.6), (-8, 0), (-5.6, -5.6), (3, -8), (-3, -8))
    tufts = [Part(ellipse(50 + x, 20 + y, 3.6, 3.6), "trim", relief=0.4) for x, y in ring]
    return [*tufts, Part(ellipse(50, 20, 8.6, 8.6), "trim", relief=0.7)]


def bucket() -> Sketch:
    """A soft crown and a sloping brim with rows of stitches."""
    crown = mirrored(path((50, 26), (62, 26, 68, 28), (71, 29, 71.6, 32), (75, 56), (50, 60)))
    brim = mirrored(path((50, 53.6), (64, 53.6, 74.4, 51), (84, 64, 88, 70), (88, 73, 80, 74.6), (64, 79, 50, 79)))
    rows = [
        stitch(mirrored(path((50, 53.6 + y), (64 + y / 3, 53.6 + y, 74.6 + y * 0.6, 51 + y * 0.94))), brim)
        for y in (4, 8.6, 13.2, 17.8, 22.4)
    ]
    return [
        Part(crown, bend=-2),
        fold(path((60, 28), (64, 40, 62, 54)), crown),
        Part(brim, bend=4, lift=0.6),
        *rows,
    ]


def fedora() -> Sketch:
    """A pinched crown, a ribbon and a wide brim."""
    brim = mirrored(path((50, 62), (72, 62, 91, 56), (94, 57, 92, 61), (78, 76, 50, 76)))
    crown = mirrored(path((50, 30), (56, 24, 64, 25), (70, 27, 71, 40), (74, 65), (62, 69, 50, 69)))
    ribbon = mirrored(path((50, 60), (62, 60, 72.6, 56), (74, 65), (62, 69, 50, 69)))
    dents = [
        path((50, 31), (48, 40, 49, 48)),
        path((63, 32), (60, 40, 63, 48)),
        path((37, 32), (40, 40, 37, 48)),
    ]
    bow = Part(path((70, 57), (73.6, 56), (74, 66.4), (70, 67)), "trim", lift=0.5, relief=0.5)
    return [
        Part(brim, bend=5),
        Part(crown, bend=2, lift=0.8),
        *(fold(dent, crown, 2.4) for dent in dents),
        Part(ribbon, "trim", lift=0.4, relief=0.5),
        bow,
    ]


def sun_hat() -> Sketch:
    """A round crown on a very wide brim, with a bow."""
    brim = ellipse(50, 66, 43, 13)
    crown = mirrored(path((50, 30), (68, 30, 72, 44, 73, 62), (64, 68, 50, 68)))
    ribbon = mirrored(path((50, 61), (64, 61, 72.8, 56), (73, 62.4), (64, 69, 50, 69)))
    rings = [line(ellipse(50, 66, 43 - at, 13 - at * 0.42), width=0.4) for at in (3, 6.4, 9.8)]
    loop = path((66, 63), (75, 54, 82, 58), (82, 64, 66, 64))
    small = path((66, 64), (58, 54, 52, 57), (50, 64, 66, 64))
    tails = [path((66, 63), (72, 68, 72, 74)), path((66, 63), (77, 66, 80, 71))]
    bow = [
        *(Part(tail, "trim", width=2.4, lift=0.4, relief=0.5) for tail in tails),
        Part(loop, "trim", lift=0.5),
        Part(small, "trim", lift=0.5),
        Part(ellipse(66, 63, 2.2, 2.4), "trim", lift=0.5),
    ]
    return [
        Part(brim, bend=4),
        *rings,
        Part(crown, bend=3, lift=0.9),
        Part(ribbon, "trim", relief=0.5, lift=0.3),
        *bow,
    ]


HATS: dict[str, DrawVariant] = {
    "cap": cap,
    "beanie": lambda: beanie(pompom=False),
    "bobble hat": lambda: beanie(pompom=True),
    "bucket hat": bucket,
    "fedora": fedora,
    "sun hat": sun_hat,
}
