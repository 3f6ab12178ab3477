"""Results of a benchmark: rows, shown as a table, written as JSON and plotted."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Timing, machine

# Numbers from here on are shown without decimals.
_FOUR_DIGITS = 1000


@dataclass(frozen=True)
class Row:
    """One result.

    Attributes:
        name: name of the measurement.
        value: the result; None if skipped.
        unit: `ms`, `ratio`, `a second`, `bytes`, `recall`, `s`.
        low, high: 10th and 90th percentile of timed calls.
        of: numerator and denominator of a ratio.
        skipped: reason for a missing value.
    """

    name: str
    value: float | None
    unit: str
    low: float | None = None
    high: float | None = None
    of: tuple[float, float] | None = None
    skipped: str | None = None


@dataclass
class Results:
    """All rows of one run, in order of measurement."""

    benchmark: str
    options: dict[str, Any]
    rows: list[Row] = field(default_factory=list)

    def time(self, name: str, timing: Timing) -> None:
        """Add a timing, in milliseconds."""
        self.rows.append(Row(name, timing.median * 1000, "ms", timing.low * 1000, timing.high * 1000))

    def value(self, name: str, value: float, unit: str) -> None:
        """Add a number."""
        self.rows.append(Row(name, value, unit))

    def ratio(self, name: str, over: float, under: float) -> None:
        """Add the ratio `over` / `under`, with both numbers."""
        self.rows.append(Row(name, over / under, "ratio", of=(over, under)))

    def skip(self, name: str, why: str) -> None:
        """Add a row without a value, with the reason."""
        self.rows.append(Row(name, None, "", skipped=why))

    def show(self) -> None:
        """Print the table."""
        console = Console(highlight=False)
        table = Table("", "value", "unit", "10% … 90%", title=f"{self.benchmark}: {self.options}")
        for row in self.rows:
            spread = f"{_digits(row.low)} … {_digits(row.high)}" if row.low is not None else ""
            sides = f"{_digits(row.of[0])} / {_digits(row.of[1])}" if row.of else ""
            table.add_row(
                row.name,
                _digits(row.value) if row.skipped is None else "skipped",
                row.unit,
                spread or sides or row.skipped or "",
            )
        console.print(table)

    def write(self, path: Path) -> None:
        """Write the JSON, and the plot of the times beside it as SVG, if there are any."""
        path.parent.mkdir(parents=True, exist_ok=True)
        found = {"benchmark": self.benchmark, "machine": machine(), "options": self.options}
        path.write_text(json.dumps({**found, "rows": [asdict(row) for row in self.rows]}, indent=2) + "\n")
        if any(row.unit == "ms" and row.value for row in self.rows):
            path.with_suffix(".svg").write_text(self.plot())

    def plot(self) -> str:
        """Plot all times as bars on a logarithmic scale, with their spread."""
        times = [row for row in self.rows if row.unit == "ms" and row.value]
        with rc_context({"svg.fonttype": "none", "svg.hashsalt": "lookalike", "font.size": 10}):
            figure = Figure(figsize=(8, 0.6 + 0.32 * len(times)), layout="constrained")
            axes = figure.subplots()
            spread = [
                [(row.value or 0) - (row.low or row.value or 0) for row in times],
                [(row.high or row.value or 0) - (row.value or 0) for row in times],
            ]
            axes.barh([row.name for row in times], [row.value or 0 for row in times], xerr=spread, color="#7a6ff0")
            axes.invert_yaxis()
            axes.set_xscale("log")
            axes.set_xlabel("milliseconds (median; line: 10% to 90%)")
            for side in ("top", "right"):
                axes.spines[side].set_visible(False)
            drawn = io.StringIO()
            figure.savefig(drawn, format="svg", metadata={"Date": None})
        return drawn.getvalue()


def _digits(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= _FOUR_DIGITS else f"{value:.4g}"
