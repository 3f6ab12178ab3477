"""Plots of a comparison as SVG on white: the paper's three, and the cost of learning by number of images.

A method has the same colour, dash and marker in all of them.
"""

from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from models.reports.plots import as_svg, new_axes, plot_style

# Unsupervised methods in greys, pair-based ones in blues and greens, classification-based ones in warm colours.
_STYLES = {
    "lsh": ("#8a8694", ":", "v"),
    "sh": ("#6f6a7d", ":", "<"),
    "itq": ("#55506a", ":", ">"),
    "bre": ("#4f9bd9", "--", "v"),
    "mlh": ("#2f6fb0", "--", "^"),
    "ksh": ("#2b8f89", "--", "D"),
    "cnnh": ("#5aa354", "-.", "s"),
    "cnnh+": ("#2f7d3b", "-.", "P"),
    "ssdh": ("#c07a20", "-", "X"),
    "ours": ("#d0427f", "-", "o"),
}
_DEFAULT_STYLE = ("#7a6ff0", "-", "*")
# White, because files are shown on pages of any colour; in the report the background is that of its cards.
_BACKGROUND = '<rect width="100%" height="100%" fill="#ffffff" style="fill: var(--card, #ffffff)"/>'


def draw(found: dict[str, Any]) -> dict[str, str]:
    """Draw SVG by name: `precision`, `map`, `recall`, and `cost` if it was measured."""
    plotted = {
        name: scores for name, method in found["methods"].items() if (scores := shown(method, found["plotted_bits"]))
    }
    titles = {name: method["title"] for name, method in found["methods"].items()}
    with plot_style():
        drawn = {
            "precision": _precision(plotted, titles),
            "map": _map(found["methods"], titles),
            "recall": _recall(plotted, titles),
        }
        if found["growth"]:
            drawn["cost"] = _cost(found["growth"], titles)
    return drawn


def shown(method: dict[str, Any], bits: int) -> dict[str, Any] | None:
    """Return a method's scores at a code length (a network's at its own length); None without any."""
    scores: dict[str, dict[str, Any]] = method["bits"]
    return next(iter(scores.values())) if method["pictures"] is None else scores.get(str(bits))


def _precision(plotted: dict[str, Any], titles: dict[str, str]) -> str:
    figure, axes = new_axes("number of results (k)", "precision@k")
    for name, scores in plotted.items():
        _line(axes, name, titles, [int(k) for k in scores["precision"]], list(scores["precision"].values()))
    axes.set_xscale("log")
    ticks = sorted({int(k) for scores in plotted.values() for k in scores["precision"]})
    axes.set_xticks(ticks, [str(k) for k in ticks])
    axes.minorticks_off()
    _legend(axes)
    return _on_background(figure)


def _map(methods: dict[str, Any], titles: dict[str, str]) -> str:
    figure, axes = new_axes("bits", "mAP")
    for name, method in methods.items():
        if method["bits"]:
            bits = [int(bits) for bits in method["bits"]]
            _line(axes, name, titles, bits, [scores["map"] for scores in method["bits"].values()])
    _legend(axes)
    return _on_background(figure)


def _recall(plotted: dict[str, Any], titles: dict[str, str]) -> str:
    figure, axes = new_axes("recall", "precision")
    for name, scores in plotted.items():
        values = scores["precision_by_recall"]
        _line(axes, name, titles, [step / (len(values) - 1) for step in range(len(values))], values)
    _legend(axes)
    return _on_background(figure)


def _cost(growth: dict[str, Any], titles: dict[str, str]) -> str:
    figure, axes = new_axes("pictures learnt from", "seconds")
    for name, times in growth.items():
        _line(axes, name, titles, [time["pictures"] for time in times], [time["seconds"] for time in times])
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.autoscale()
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.12g}"))
    axes.minorticks_off()
    _legend(axes)
    return _on_background(figure)


def _line(axes: Axes, name: str, titles: dict[str, str], x: list[Any], y: list[float]) -> None:
    colour, dash, mark = _STYLES.get(name, _DEFAULT_STYLE)
    (line,) = axes.plot(x, y, label=titles[name], color=colour, linewidth=1.6, markersize=4)
    line.set(linestyle=dash, marker=mark)


def _legend(axes: Axes) -> None:
    if axes.lines:
        axes.legend(fontsize=9, loc="center left", bbox_to_anchor=(1, 0.5))


def _on_background(figure: Figure) -> str:
    return as_svg(figure).replace("\n <defs>", f"\n {_BACKGROUND}\n <defs>", 1)
