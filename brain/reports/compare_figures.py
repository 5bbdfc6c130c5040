"""The pictures of a comparison, each a function from figures by run to one SVG; a run has one colour in all of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from brain.reports.figures import number, title
from brain.reports.style import COLOURS, Margins, panel, plain_ticks, style, svg
from brain.runs.judgement import RolloutFigures

TURN = ("model", "impossible", "state-oracle", "no-predictor", "random-encoder", "pixel", "neutral")


def palette(count: int) -> list[str]:
    """Colours of ``count`` runs; from the eighth they repeat."""
    return [COLOURS[TURN[i % len(TURN)]] for i in range(count)]


def aucs(names: Sequence[str], found: Mapping[str, Mapping[str, float | None]], kinds: Sequence[str]) -> str:
    """AUC of every negative, one dot per run."""
    with style():
        figure, (axes,) = panel(1, 5.2, 0.7 + 0.32 * len(kinds), Margins(left=1.45, top=0.1))
        for name, colour, place in zip(names, palette(len(names)), range(len(names))):
            nudge = (place - (len(names) - 1) / 2) * min(0.16, 0.6 / len(names))
            rows = [(y, number(found[name][kind])) for y, kind in enumerate(kinds) if kind in found.get(name, {})]
            axes.plot([value for _, value in rows], [y + nudge for y, _ in rows], "o", color=colour, markersize=7,
                      alpha=0.9, markeredgewidth=0)  # fmt: skip
        axes.axvline(0.5, color=COLOURS["neutral"], linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(kinds)), [title(kind) for kind in kinds])
        axes.set_ylim(len(kinds) - 0.4, -0.6)
        axes.set(xlim=(-0.02, 1.02), xlabel="AUC (0.5 is chance)")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return svg(figure)


def rollout(names: Sequence[str], found: Mapping[str, RolloutFigures]) -> str:
    """Error of latent forecasts against model steps ahead; dashed: persistence."""
    with style():
        figure, (axes,) = panel(1, 5.2, 3.0)
        for name, colour in zip(names, palette(len(names))):
            if name in found:
                axes.plot(found[name].steps, [number(x) for x in found[name].model], "o-", color=colour, markersize=4)
                axes.plot(
                    found[name].steps, [number(x) for x in found[name].persistence], "--", color=colour, linewidth=1
                )
        axes.set_xscale("log", base=2)
        steps = sorted({step for one in found.values() for step in one.steps})
        axes.set_xticks(steps, [f"{step:g}" for step in steps])
        axes.set(xlabel="model steps ahead", ylabel="error / variance", ylim=(0, None))
        return svg(figure)


def curves(names: Sequence[str], lines: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> str:
    """One training term against the optimiser's steps; logarithmic where it is always positive and spans decades."""
    with style():
        figure, (axes,) = panel(1, 3.9, 2.5)
        values = [value for _, shown in lines.values() for value in shown if math.isfinite(value)]
        for name, colour in zip(names, palette(len(names))):
            axes.plot(*lines[name], color=colour, linewidth=1.4)
        if values and min(values) > 0 and max(values) > 30 * min(values):
            axes.set_yscale("log")
            plain_ticks(axes.yaxis)
        axes.set(xlabel="optimiser step")
        return svg(figure)
