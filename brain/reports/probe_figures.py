"""The plots of probes, dreams and calibration, each a function from metrics to one SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from brain.reports.figures import number, title
from brain.reports.style import COLOURS, LABELS, Margins, legend_above, panel, plain_ticks, style, svg
from brain.runs.figures import DreamFigures, StateScore
from brain.runs.judgement import KindFigures

PROBES = {
    "supervised": ("D", "state-oracle", "supervised upper bound"),
    "pixels": ("|", "no-predictor", "pixels"),
    "pca": ("|", "pca", LABELS["pca"]),
    "random-encoder": ("|", "random-encoder", LABELS["random-encoder"]),
    "mlp": ("o", "plain", "model, MLP probe"),
    "linear": ("o", "model", "model, linear probe"),
}
"""By representation: marker, colour, label; baselines are ticks."""
LEFT = -0.25
"""Smaller R2 is drawn at this value."""


def probes(scores: Mapping[str, Mapping[str, StateScore]]) -> str:
    """R2 of every state, a line each, from ``probe.json``: both probes of the latent, baselines, upper bound."""
    names = list(scores["linear"])
    with style():
        figure, (axes,) = panel(1, 6.4, 1.0 + 0.3 * len(names), Margins(left=1.25, top=0.5))
        for space, (marker, colour, label) in PROBES.items():
            if space in scores:
                values = [max(number(scores[space][state].r2), LEFT) for state in names]
                baseline = marker == "|"
                axes.plot(
                    values, range(len(names)), marker, color=COLOURS[colour], label=label, linestyle="none",
                    markersize=10 if baseline else 8 if space == "linear" else 6, markeredgewidth=2 if baseline else 0,
                )  # fmt: skip
        for y in range(len(names)):
            axes.axhline(y, color=COLOURS["neutral"], linewidth=0.5, alpha=0.5, zorder=0)
        axes.axvline(0, color=COLOURS["neutral"], linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set(xlim=(LEFT - 0.02, 1.02), xlabel="R2 (0: predicting the mean)")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        legend_above(figure, axes)
        return svg(figure)


def dream(found: DreamFigures) -> str:
    """Pixel error of decoded forecasts by horizon, from ``dream.json``."""
    lines = {"persistence": "persistence", "reconstruction": "state-oracle", "forecast": "model"}
    with style():
        figure, (axes,) = panel(1, 5.2, 3.0, Margins(left=0.65, top=0.35))
        for name, colour in lines.items():
            values = np.maximum(getattr(found, f"{name}_mse"), 1e-8)
            seconds = np.arange(1, len(values) + 1) * found.seconds_per_step
            axes.plot(seconds, values, "o-", color=COLOURS[colour], label=name, markersize=3)
        axes.set(xlabel="seconds after the last frame seen", ylabel="mean squared pixel error", yscale="log")
        plain_ticks(axes.yaxis)
        legend_above(figure, axes)
        return svg(figure)


def calibration(kinds: Mapping[str, KindFigures], shown: Sequence[str], target: float) -> str:
    """Shares of test futures above the calibrated threshold: impossible ones, and true ones beside the target."""
    with style():
        figure, (axes,) = panel(1, 5.2, 0.9 + 0.3 * len(shown), Margins(left=1.45, top=0.3))
        rows = range(len(shown))
        detected, alarms = (
            [number(getattr(kinds[kind], key)) for kind in shown] for key in ("detection_rate", "false_alarm_rate")
        )
        axes.barh(rows, detected, 0.55, color=COLOURS["model"], alpha=0.75, label="detected")
        axes.plot(alarms, rows, "o", color=COLOURS["impossible"], markersize=6, markeredgewidth=0, label="false alarms")
        axes.axvline(target, color=COLOURS["impossible"], linewidth=1, linestyle=(0, (5, 3)), label="their target")
        axes.set_yticks(rows, [title(kind) for kind in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.set(xlim=(-0.02, 1.02), xlabel="share above the threshold")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(axis="y", visible=False)
        legend_above(figure, axes)
        return svg(figure)
