"""Drawings of T-shirts and longsleeves, laid flat."""

from functools import partial

from app.demo.curves import Curve, box, ellipse, join, mirrored, path
from app.demo.parts import DrawVariant, Part, Sketch, both, fold, line, stitch


def round_neck(depth: float) -> Curve:
    """The right half of a round neckline, from the middle to the shoulder."""
    return path((50, 15 + depth), (55.5, 15 + depth, 58, 15 + depth * 0.6, 59.2, 14.2))


def v_neck(depth: float) -> Curve:
    """The right half of a V-shaped neckline."""
    return path((50, 15 + depth), (56, 15 + depth * 0.5, 59.2, 14.2))


def bodice(neck: Curve, hem: float) -> Curve:
    """The front of a top: neck, shoulder, armhole, side, hem."""
    side = path(
        (59.2, 14.2),
        (74, 19.5),
        (69.8, 28, 70.4, 39),
        (69, 54, 69, 62, 71.5, hem),
        (60, hem + 1.6, 50, hem + 1.6),
    )
    return mirrored(join(neck, side))


def behind_neck(depth: float) -> Sketch:
    """The inside of the back with its label, visible through the neckline."""
    inside = path((41, 14.2), (50, 17, 59, 14.2), (60, 18), (50, 19 + depth), (40, 18))
    return [
        Part(inside, "inside", relief=0.4),
        Part(path((41.2, 14.6), (50, 17.6, 58.8, 14.6)), "deep", width=2, relief=0.4),
        Part(box(47.6, 17.6, 52.4, 20.6, 0.4), "light", relief=0.2),
    ]


def short_sleeve(ink: str = "cloth", drop: float = 0) -> Sketch:
    """Two sleeves to the elbow."""
    x, y = 89.5 + drop * 0.3, 39.5 + drop
    arm = path((72, 18.7), (80, 21, 84, 30, x, y), (x - 4, y + 4, x - 10.5, y + 5.5), (73, 41, 67, 39), (66, 26))
    cuff = path((x + 1, y - 2.4), (x - 5, y + 2.6, x - 13, y + 3.4))
    return [*both(Part(arm, ink, slope=-0.75)), *both(stitch(cuff, arm))]


def long_sleeve(cuff: str = "deep") -> Sketch:
    """Two sleeves to the wrist, with cuffs."""
    arm = path(
        (72, 18.7),
        (80, 21, 83, 34, 85, 48),
        (87, 60, 88.6, 74),
        (84, 76, 79.6, 75.6),
        (77, 54, 74, 46, 68, 40),
        (66, 26),
    )
    band = path((88.5, 72.6), (89, 79.4), (84, 81, 79.8, 80.2), (79.4, 74), (84, 74.6, 88.5, 72.6))
    crease = path((79, 41), (81.5, 46, 82, 52))
    return [*both(Part(arm, slope=-1.1)), *both(Part(band, cuff, relief=0.7)), *both(fold(crease, arm))]


def creases(front: Curve, hem: float) -> Sketch:
    """Creases in the front of a top."""
    curves = [
        path((71, 41), (65, 48, 63, 58)),
        path((29, 41), (36, 47, 38.5, 54)),
        path((36, hem), (39, hem - 9, 38, hem - 16)),
    ]
    return [fold(curve, front) for curve in curves]


def top(sleeves: Sketch, neck: Curve, collar: str = "deep", hem: float = 83, extra: Sketch = ()) -> Sketch:
    """Sleeves, front, collar and the parts of a variant."""
    front = bodice(neck, hem)
    seam = path((20, hem - 3.4), (50, hem - 0.6, 80, hem - 3.4))
    outside = path((59.2, 14), (76, 20), (76, 60), (24, 60), (24, 20), (40.8, 14), (50, 17, 59.2, 14))
    return [
        *behind_neck(neck[0, 1] - 15),
        *sleeves,
        Part(front, lift=0.7),
        *creases(front, hem),
        stitch(seam, front),
        Part(mirrored(neck), collar, width=2.4, relief=0.6, clip=outside),
        *extra,
    ]


def pocket() -> Sketch:
    """A chest pocket."""
    outline = path((56, 37), (67, 37), (67, 47), (66.8, 48.5, 61.5, 50.5), (56.2, 48.5, 56, 47))
    return [Part(outline, "deep", lift=0.4, relief=0.6), stitch(path((56, 39), (67, 39)))]


def buttons(x: float, first: float, last: float, step: float) -> Sketch:
    """A column of buttons."""
    count = int((last - first) / step) + 1
    return [Part(ellipse(x, first + at * step, 0.95, 0.95), "light", lift=0.5, relief=0.3) for at in range(count)]


def shirt_collar(ink: str = "deep") -> Sketch:
    """The two leaves of a shirt collar."""
    leaf = path((59.4, 13.4), (61, 15), (61.4, 22, 59, 27.4), (54, 25, 50, 21.6), (56, 19, 59.4, 13.4))
    return both(Part(leaf, ink, lift=0.5, relief=0.6))


def polo() -> Sketch:
    """A collar and a short row of buttons."""
    placket = Part(path((48, 20), (52, 20), (52, 37), (48, 37)), "deep", relief=0.4)
    return top(short_sleeve(), round_neck(7), extra=[placket, *buttons(50, 27, 35, 4), *shirt_collar()])


def hem_band() -> Sketch:
    """A ribbed hem."""
    y = 77
    right = path((71.6, y), (71, y + 5), (60, y + 6.6, 50, y + 6.6))
    band = join(mirrored(right[::-1])[::-1], path((28.4, y), (50, y + 3.2, 71.6, y)))
    ribs = [line(path((x, y), (x, y + 7)), width=0.35, clip=band) for x in range(30, 72, 2)]
    return [Part(band, "deep", relief=0.6, lift=0.2), *ribs]


def sweater() -> Sketch:
    """Ribbed at the hem."""
    return top(long_sleeve(), round_neck(6.5), hem=78, extra=hem_band())


def turtleneck() -> Sketch:
    """A rolled collar."""
    roll = mirrored(path((50, 9.6), (58, 9.6, 60, 11), (61.2, 16, 60.8, 19.6), (57, 22.4, 50, 22.4)))
    turn = path((39, 15.4), (50, 18.4, 61, 15.4))
    return top(
        long_sleeve(),
        round_neck(4),
        hem=78,
        extra=[*hem_band(), Part(roll, "deep", lift=0.7), fold(turn, roll, 1)],
    )


def hoodie() -> Sketch:
    """A hood with cords and a pouch."""
    hood = mirrored(path((50, 7), (61, 7, 65, 16, 63.5, 22), (58, 27, 50, 30)))
    opening = mirrored(path((50, 12.4), (56.6, 12.6, 58.4, 18, 57.6, 21), (55, 25, 50, 27.4)))
    pouch = mirrored(path((50, 57), (61, 57), (66, 70), (66, 76), (50, 76.6)))
    cord = path((53.4, 25), (54.6, 30, 54, 38))
    extra = [
        *hem_band(),
        Part(pouch, "deep", lift=0.35, relief=0.7),
        *both(stitch(path((60, 57.6), (65, 70)))),
    ]
    hooded = [
        Part(hood, "base", lift=0.6),
        Part(opening, "inside", relief=-0.5),
        *both(Part(cord, "light", width=0.9, lift=0.5, relief=0.3)),
    ]
    return top(long_sleeve(), round_neck(6), hem=78, extra=[*extra, *hooded])


def button_shirt() -> Sketch:
    """Buttoned all the way, with a collar."""
    placket = [line(path((x, 20), (x, 83)), width=0.4) for x in (48, 52)]
    return top(long_sleeve(cuff="cloth"), v_neck(7), extra=[*placket, *buttons(50, 28, 80, 8), *shirt_collar("pale")])


def cardigan() -> Sketch:
    """Open to a deep point, with a band of another colour."""
    neck = v_neck(28)
    return top(
        long_sleeve(),
        neck,
        "trim",
        78,
        [Part(path((50, 43), (50, 80)), "trim", width=3, relief=0.6), *hem_band(), *buttons(50, 46, 76, 7)],
    )


T_SHIRTS: dict[str, DrawVariant] = {
    "crew neck": partial(top, short_sleeve(), round_neck(8)),
    "v-neck": partial(top, short_sleeve(), v_neck(12)),
    "pocket": partial(top, short_sleeve(drop=3), round_neck(7.4), extra=pocket()),
    "ringer": partial(top, short_sleeve("trim"), round_neck(8), "trim"),
    "polo": polo,
}
LONGSLEEVES: dict[str, DrawVariant] = {
    "sweater": sweater,
    "turtleneck": turtleneck,
    "hoodie": hoodie,
    "shirt": button_shirt,
    "cardigan": cardigan,
}
