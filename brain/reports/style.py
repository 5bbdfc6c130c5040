"""Matplotlib figures as SVG that inherit the page's font and follow its light or dark colours."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib

matplotlib.use("Agg")

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogFormatter

COLOURS = {
    "model": "#2f7fd1",
    "scaled": "#2f7fd1",
    "plain": "#79aee6",
    "impossible": "#e0533d",
    "pixel": "#a08f76",
    "no-predictor": "#d09a2a",
    "random-encoder": "#9a72c2",
    "pca": "#a08f76",
    "state-oracle": "#2f9e6e",
    "persistence": "#d09a2a",
    "neutral": "#8a93a0",
}
LABELS = {
    "model": "model",
    "scaled": "model, variance-scaled",
    "plain": "model, plain",
    "pixel": "pixel distance",
    "no-predictor": "no predictor",
    "random-encoder": "random encoder",
    "pca": "PCA, same width",
    "state-oracle": "state oracle",
    "persistence": "persistence",
    "free-motion": "moves on freely",
    "mean": "mean",
}

_INK, _LINE = "#010203", "#040506"
"""Placeholder colours replaced by ``currentColor`` and the page's ``--line``."""

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "tinyjepa",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "text.color": _INK,
    "text.parse_math": False,  # the name of a state may hold a $
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
}
_numbers = itertools.count(1)


@contextmanager
def style() -> Iterator[None]:
    """Context manager: the report's look for figures made inside."""
    with matplotlib.rc_context(_STYLE):
        yield


def plain_ticks(axis: Axis) -> None:
    """Numbers at the ticks of a logarithmic axis, not the formulas that it has by itself."""
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


@dataclass(frozen=True)
class Margins:
    """Room around the axes for labels, inches."""

    left: float = 0.55
    right: float = 0.12
    top: float = 0.12
    bottom: float = 0.5


def panel(
    columns: int = 1, width: float = 4.6, height: float = 2.7, margins: Margins = Margins(), **options: Any
) -> tuple[Figure, list[Axes]]:
    """A figure of one row of axes; sizes in inches. Fixed margins: an automatic layout would draw everything twice."""
    figure = Figure(figsize=(width, height))
    axes = figure.subplots(1, columns, squeeze=False, **options)[0]
    figure.subplots_adjust(
        left=margins.left / width, right=1 - margins.right / width,
        bottom=margins.bottom / height, top=1 - margins.top / height,
    )  # fmt: skip
    return figure, list(axes)


def legend_above(figure: Figure, axes: Axes, columns: int = 3) -> None:
    """The legend at the figure's upper left, where ``Margins.top`` leaves 0.2 inches a row."""
    figure.legend(
        *axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(0, 1), ncols=columns, columnspacing=1.2,
        handlelength=1.2, handletextpad=0.4, borderaxespad=0.1, labelspacing=0.25,
    )  # fmt: skip


def svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element for an HTML page: no addresses, no fixed size, ids of its own."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", dpi=200)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text, count=2)
    text = re.sub(r'<svg width="[^"]*" height="[^"]*"', '<svg role="img"', text, count=1)
    text = text.replace("xlink:href", "href").replace(_INK, "currentColor").replace(_LINE, "var(--line)")
    text = re.sub(r"font: (?:\w+ )*?((?:bold|[5-9]00) )?([\d.]+)px [^;\"]+", _font, text)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]+)"', lambda match: match[0] if match[1] in used else "", text)
    prefix = f"f{next(_numbers)}-"
    return re.sub(r'(id="|href="#|url\(#)', lambda match: match[1] + prefix, text)


def _font(match: re.Match[str]) -> str:
    weight = "; font-weight: 600" if match[1] else ""
    return f"font-size: {match[2]}px{weight}"


def round_ticks(places: Callable[[float], float], low: float, high: float, gap: float = 0.16) -> list[float]:
    """Round numbers between ``low`` and ``high`` for an axis that shows value v at ``places(v)``, kept apart by at
    least a share ``gap`` of the axis."""
    span = places(high) - places(low)
    powers = [sign * 10.0**power for power in range(-4, 7) for sign in (-1, 1)]
    candidates = [0.0, *powers, *(5 * power for power in powers), *(2 * power for power in powers)]
    ticks: list[float] = []
    for value in candidates:
        room = all(abs(places(value) - places(tick)) >= gap * span for tick in ticks)
        if low <= value <= high and room:
            ticks.append(value)
    return sorted(ticks)
