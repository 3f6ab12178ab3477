"""Evaluation plots as SVG with a transparent background: precision@k, precision by recall, use of bits.

They avoid matplotlib's global state, so any thread may draw. Text stays text. Matplotlib takes half a second to import
and the service rarely draws, so it is imported in the functions.
"""

import io
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Colour of text and axes; pages may substitute their own.
INK = "#1f1c2b"
LABELS = {"es": "ES", "hds": "HDS", "bcs": "BCS", "imagenet": "ImageNet F7"}
_COLOURS = {"es": "#2b8f89", "hds": "#7a6ff0", "bcs": "#c07a20", "imagenet": "#d0527f"}
_DASHES = {"es": "-", "hds": "--", "bcs": "-.", "imagenet": ":"}
_MARKS = {"es": "o", "hds": "s", "bcs": "^", "imagenet": "D"}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lookalike",
    "font.family": "sans-serif",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick", "grid")},
    **{f"axes.{part}color": INK for part in ("label", "edge")},
}


def precision_plot(modes: dict[str, Any]) -> str:
    """Plot precision@k, as in the paper's figures 4 to 6."""
    with plot_style():
        figure, axes = new_axes("number of results (k)", "precision@k")
        for mode, found in modes.items():
            _line(axes, mode, [int(k) for k in found["precision"]], list(found["precision"].values()))
        ticks = [int(k) for k in next(iter(modes.values()))["precision"]]
        axes.set_xscale("log")
        axes.set_xticks(ticks, [str(k) for k in ticks])
        axes.minorticks_off()
        axes.legend()
        return as_svg(figure)


def recall_plot(modes: dict[str, Any]) -> str:
    """Plot interpolated precision over recall."""
    with plot_style():
        figure, axes = new_axes("recall", "precision")
        for mode, found in modes.items():
            values = found["precision_by_recall"]
            _line(axes, mode, [step / (len(values) - 1) for step in range(len(values))], values)
        axes.legend()
        return as_svg(figure)


def bits_plot(ones: list[float]) -> str:
    """Plot a histogram of bits by the share of images in which they are 1; good bits are in the middle."""
    from matplotlib.ticker import MaxNLocator

    with plot_style():
        figure, axes = new_axes("share of pictures in which a bit is 1", "bits")
        counts, _, _ = axes.hist(ones, bins=20, range=(0, 1), color=_COLOURS["hds"], rwidth=0.86)
        axes.set_ylim(0, float(max(counts)) * 1.05)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        return as_svg(figure)


def recall_time_plot(milliseconds: list[float], recall: list[float], pools: list[int], wanted: float) -> str:
    """Plot recall over time, a point for each pool, with a line at the wanted recall."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    with plot_style():
        figure, axes = new_axes("milliseconds of both steps", "recall@10")
        _line(axes, "hds", milliseconds, recall)
        axes.axhline(wanted, color=INK, alpha=0.35, linewidth=1)
        for x, y, pool in zip(milliseconds, recall, pools, strict=True):
            axes.annotate(f"{pool:,}", (x, y), xytext=(4, -13), textcoords="offset points", fontsize=9)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.minorticks_off()
        axes.set_ylim(0, 1.05)
        return as_svg(figure)


def plot_style() -> AbstractContextManager[None]:
    """Return a context with the reports' plot style."""
    from matplotlib import rc_context

    return rc_context(STYLE)


def new_axes(x: str, y: str) -> "tuple[Figure, Axes]":
    """Create an empty plot with axis labels, y from 0 to 1; for use inside `plot_style()`."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y, ylim=(0, 1.02))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    return figure, axes


def _line(axes: "Axes", mode: str, x: list[Any], y: list[float]) -> None:
    (line,) = axes.plot(x, y, label=LABELS[mode], color=_COLOURS[mode], linewidth=1.8, markersize=4.5)
    line.set(linestyle=_DASHES[mode], marker=_MARKS[mode])


def as_svg(figure: "Figure") -> str:
    """Render a plot as SVG, byte-identical for the same numbers."""
    file = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return file.getvalue()
