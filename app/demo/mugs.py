"""Drawings of mugs with coffee, from slightly above."""

from app.demo.curves import ellipse, mirrored, path
from app.demo.parts import DrawVariant, Part, Sketch, contact_shadow, shine

HANDLES = {
    "round": path((70, 40), (92, 36, 92, 70, 68, 68)),
    "square": path((68, 40), (84, 40), (88, 40, 88, 44), (88, 62), (88, 66, 84, 66), (66, 66)),
    "ear": path((70, 38), (90, 30, 92, 52, 82, 60), (76, 65, 67, 66)),
    "ring": path((70, 44), (86, 40, 86, 64, 70, 60)),
}


def mug(
    top: float,
    *,
    rim: float,
    belly: float,
    base: float,
    low: float,
    handle: str,
) -> Sketch:
    """Handle, body, rim, coffee and steam; `rim`, `belly` and `base` are half-widths from top to bottom."""
    middle, depth = (top + low) / 2, rim * 0.2
    body = mirrored(
        path(
            (50, top),
            (50 + rim, top),
            (50 + belly * 1.04, middle, 50 + belly * 1.02, low - 12, 50 + base, low - 3),
            (49 + base, low + 1.4, 50, low + 2.4),
        )
    )
    return [
        contact_shadow(50 - base, 54 + base, low + 1.4),
        Part(HANDLES[handle], "deep", width=5, relief=0.8),
        Part(body, bend=depth),
        shine(
            path((51 - rim * 0.72, top + 14), (51 - belly * 0.74, middle, 51 - base * 0.74, low - 12)),
            body,
            3,
        ),
        Part(ellipse(50, top, rim, depth), "pale", relief=0.6),
        Part(ellipse(50, top + 0.5, rim - 2.2, depth - 1.3), "inside", relief=0.2),
        Part(
            ellipse(50, top + 1.6, rim - 3.4, depth - 2),
            "coffee",
            relief=0.4,
            clip=ellipse(50, top + 0.5, rim - 2.2, depth - 1.3),
        ),
        *steam(top),
    ]


def steam(top: float) -> Sketch:
    """Two wisps of steam."""
    curves = [path((x, top - 3), (x - 5, top - 9, x + 4, top - 11, x, top - high)) for x, high in ((46, 19), (54, 15))]
    return [Part(curve, "light", width=1.8, soft=0.7, opacity=0.75, relief=0) for curve in curves]


def camp() -> Sketch:
    """Enamel, with a coloured rim."""
    rim = Part(ellipse(50, 34, 24.4, 5), "trim", width=1.3, relief=0.3)
    return [*mug(34, rim=24, belly=24, base=23, low=80, handle="ear"), rim]


MUGS: dict[str, DrawVariant] = {
    "straight": lambda: mug(32, rim=23, belly=23, base=22, low=82, handle="round"),
    "tapered": lambda: mug(32, rim=25, belly=22, base=17, low=82, handle="ear"),
    "rounded": lambda: mug(38, rim=22, belly=28, base=15, low=80, handle="ring"),
    "latte": lambda: mug(24, rim=20, belly=18.4, base=15, low=86, handle="square"),
    "enamel": camp,
}
