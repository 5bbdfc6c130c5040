"""The plots of the report, each a function from metrics to one SVG."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from brain.evaluation.energies import Pairs
from brain.evaluation.negatives import HARD, KINDS, SHIFTS
from brain.evaluation.timeline import Timeline
from brain.reports.style import COLOURS, LABELS, Margins, legend_above, panel, plain_ticks, round_ticks, style, svg
from brain.runs.judgement import BASELINES, UPPER_BOUND, KindFigures, RolloutFigures
from shared.video import as_rgb


def timeline(line: Timeline, threshold: float, control_rate: float) -> str:
    """A strip of frames above the energy of each frame, with injected frames in red."""
    seconds = line.row / control_rate
    span = seconds[-1] - seconds[0]
    width, shown = 10.8, len(line.strip)
    cell = span / shown
    with style():
        figure = Figure(figsize=(width, 3.9))
        strip, axes = figure.subplots(2, 1, sharex=True, height_ratios=[0.8, 2.6])
        figure.subplots_adjust(left=0.055, right=0.995, bottom=0.12, top=0.99, hspace=0.06)
        for frame, row, injected in line.strip:
            at = row / control_rate
            left = min(max(at - 0.46 * cell, seconds[0]), seconds[-1] - 0.92 * cell)
            strip.imshow(as_rgb(frame), extent=(left, left + 0.92 * cell, 0, 1), interpolation="none")
            colour = COLOURS["impossible"] if injected else COLOURS["neutral"]
            box = Rectangle((left, 0), 0.92 * cell, 1, fill=False, edgecolor=colour, linewidth=3 if injected else 0.8)
            box.set_clip_on(False)
            strip.add_patch(box)
        strip.set(xlim=(seconds[0], seconds[-1]), ylim=(0, 1), aspect="auto")
        strip.set_axis_off()
        for at in line.injected / control_rate:
            axes.axvspan(at, at + line.length / control_rate, color=COLOURS["impossible"], alpha=0.22, linewidth=0)
        axes.plot(seconds, line.energy, color=COLOURS["model"], linewidth=1.2)
        axes.axhline(threshold, color=COLOURS["impossible"], linewidth=1, linestyle=(0, (5, 3)))
        axes.annotate(
            "threshold", (seconds[-1], threshold), (-2, 3), textcoords="offset points", ha="right", fontsize=8.5,
            color=COLOURS["impossible"],
        )  # fmt: skip
        scale = max(float(np.subtract(*np.quantile(line.energy, [0.9, 0.1]))), 1e-6)
        axes.set_yscale("asinh", linear_width=scale)
        low, high = axes.get_ylim()
        ticks = round_ticks(lambda value: math.asinh(value / scale), low, high, gap=0.12)
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks], minor=False)
        axes.set_yticks([], minor=True)
        axes.set(xlabel="seconds into the episode", ylabel="energy")
        axes.grid(axis="x", visible=False)
        return svg(figure)


def kind_panel(scorers: Mapping[str, Pairs]) -> str:
    """Left: distribution of the energies of true and impossible futures. Right: ROC with baselines and upper bound."""
    from sklearn.metrics import roc_curve  # a second of start-up, which brain plan need not spend

    with style():
        room = Margins(left=0.15, top=0.1)
        figure, (left, right) = panel(2, 5.2, 2.2, room, width_ratios=[1.3, 1], gridspec_kw={"wspace": 0.32})
        _histogram(left, scorers["model"])
        for name in (UPPER_BOUND, *BASELINES, "model"):
            if name not in scorers:
                continue
            pairs = scorers[name]
            labels = np.repeat([0, 1], [len(pairs.true), len(pairs.impossible)])
            false_alarm, detected, _ = roc_curve(labels, np.concatenate([pairs.true, pairs.impossible]))
            keep = np.unique(np.linspace(0, len(detected) - 1, 120).astype(int))
            right.plot(
                false_alarm[keep], detected[keep], color=COLOURS[name],
                linewidth=2.2 if name == "model" else 1.1, linestyle="--" if name == UPPER_BOUND else "-",
            )  # fmt: skip
        right.plot([0, 1], [0, 1], color=COLOURS["neutral"], linewidth=0.7, linestyle=":")
        right.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="false alarms", ylabel="detected")
        right.set(xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        return svg(figure)


def _histogram(axes: Axes, pairs: Pairs) -> None:
    both = np.concatenate([pairs.true, pairs.impossible])
    low, high = np.quantile(both, [0.001, 0.995])
    scale = max(float(np.subtract(*np.quantile(pairs.true, [0.75, 0.25]))), 1e-6)
    middle = float(np.median(pairs.true))

    def stretch(values: np.ndarray) -> np.ndarray:
        return np.arcsinh((np.clip(values, low, high) - middle) / scale)

    span = stretch(np.array([low, high]))
    bins = np.linspace(span[0], span[1], 48)
    for values, colour in ((pairs.true, COLOURS["model"]), (pairs.impossible, COLOURS["impossible"])):
        counts, edges = np.histogram(stretch(values), bins)
        axes.stairs(counts, edges, fill=True, color=colour, alpha=0.55)
    ticks = round_ticks(lambda value: math.asinh((value - middle) / scale), low, high)
    axes.set_xticks([math.asinh((tick - middle) / scale) for tick in ticks], [f"{tick:g}" for tick in ticks])
    axes.set(xlabel="energy", yticks=[])
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False)


def number(value: float | None) -> float:
    """NaN, which is not drawn, for a missing value."""
    return math.nan if value is None else value


def title(kind: str) -> str:
    """A negative's name on the page."""
    if kind.startswith("wrong-action-"):
        steps = kind.removeprefix("wrong-action-")
        return "wrong action" if steps == "1" else f"wrong action, {steps} steps"
    return kind


def summary(kinds: Mapping[str, KindFigures]) -> str:
    """AUC of every negative, one line each: model, baselines and upper bound."""
    shown = [kind for kind in (*(k for k in KINDS if k not in HARD), "hard") if kind in kinds]
    shown.sort(key=lambda kind: -number(kinds[kind].auc["model"]))
    with style():
        figure, (axes,) = panel(1, 5.2, 1.0 + 0.3 * len(shown), Margins(left=1.45, top=0.5))
        for y, kind in enumerate(shown):
            aucs = kinds[kind].auc
            axes.plot([0, 1], [y, y], color=COLOURS["neutral"], linewidth=0.5, alpha=0.5, zorder=0)
            for name in (*BASELINES, UPPER_BOUND, "model"):
                if name in aucs:
                    axes.plot(
                        number(aucs[name]), y, "o" if name == "model" else "D" if name == UPPER_BOUND else "|",
                        color=COLOURS[name], markersize=8 if name == "model" else 5 if name == UPPER_BOUND else 10,
                        markeredgewidth=0 if name in ("model", UPPER_BOUND) else 2,
                        label=LABELS[name] if y == 0 or (name not in kinds[shown[0]].auc and y == 1) else None,
                    )  # fmt: skip
        axes.axvline(0.5, color=COLOURS["neutral"], linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(shown)), [title(kind) for kind in shown])
        axes.invert_yaxis()
        axes.set(xlim=(-0.02, 1.02), xlabel="AUC (0.5 is chance)")
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        legend_above(figure, axes)
        return svg(figure)


def shifts(kinds: Mapping[str, KindFigures], rate: float) -> str:
    """AUC of the near negatives by the proposal's offset."""
    shown = [(shift, kinds[kind].auc) for shift, kind in zip(SHIFTS, HARD) if kind in kinds]
    with style():
        figure, (axes,) = panel(1, 5.2, 3.0, Margins(top=0.5))
        for name in (*BASELINES, UPPER_BOUND, "model"):
            if name in shown[0][1]:
                axes.plot(
                    [shift for shift, _ in shown], [number(auc[name]) for _, auc in shown], marker="o",
                    color=COLOURS[name], label=LABELS[name], linewidth=2.2 if name == "model" else 1.1,
                    markersize=4 if name == "model" else 2, linestyle="--" if name == UPPER_BOUND else "-",
                )  # fmt: skip
        axes.axhline(0.5, color=COLOURS["neutral"], linewidth=0.8, linestyle=":")
        axes.set_xticks([shift for shift, _ in shown])
        axes.set(xlabel=f"frames from the true next ({rate:g} frames a second)", ylabel="AUC", ylim=(None, 1.01))
        legend_above(figure, axes)
        return svg(figure)


def plane(coordinates: np.ndarray, values: np.ndarray, name: str, explained: Sequence[float]) -> str:
    """The first two principal components of the latents, coloured by one state."""
    low, high = np.quantile(values, [0.02, 0.98])
    diverging = low < 0 < high and min(-low, high) > 0.25 * max(-low, high)
    if diverging:
        low, high = -max(-low, high), max(-low, high)
    with style():
        figure, (axes,) = panel(1, 3.9, 3.1, Margins(left=0.3, right=0.5, top=0.3, bottom=0.3))
        points = axes.scatter(
            coordinates[:, 0], coordinates[:, 1], c=values, s=5, vmin=low, vmax=high,
            cmap="coolwarm" if diverging else "viridis", linewidths=0, alpha=0.85, rasterized=True,
        )  # fmt: skip
        bar = figure.colorbar(points, ax=axes, fraction=0.05, pad=0.02)
        bar.outline.set_visible(False)
        axes.set(xticks=[], yticks=[])
        axes.set(xlabel=f"component 1 ({explained[0]:.0%})", ylabel=f"component 2 ({explained[1]:.0%})")
        axes.set_title(name.replace("_", " "))
        axes.grid(visible=False)
        return svg(figure)


def probes(scores: Mapping[str, Mapping[str, float | None]]) -> str:
    """Test R2 of every state: model, PCA, random encoder and the mean."""
    names = [name for name, value in scores["model"].items() if value is not None and np.isfinite(value)]
    with style():
        figure, (axes,) = panel(1, 5.2, 0.8 + 0.29 * len(names), Margins(left=1.25, top=0.3))
        for name in ("pca", "random-encoder", "model"):
            values = [max(scores[name][state] or 0.0, -0.25) for state in names]
            axes.plot(
                values, range(len(names)), "o" if name == "model" else "|", color=COLOURS[name], label=LABELS[name],
                markersize=8 if name == "model" else 10, markeredgewidth=0 if name == "model" else 2,
            )  # fmt: skip
        for y in range(len(names)):
            axes.axhline(y, color=COLOURS["neutral"], linewidth=0.5, alpha=0.5, zorder=0)
        axes.axvline(0, color=COLOURS["neutral"], linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
        axes.invert_yaxis()
        axes.set(xlim=(-0.27, 1.02), xlabel="R2 (0: predicting the mean)")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        legend_above(figure, axes)
        return svg(figure)


def rollout(errors: RolloutFigures, step_seconds: float) -> str:
    """Error of latent forecasts by horizon."""
    with style():
        figure, (axes,) = panel(1, 5.2, 2.9, Margins(top=0.35))
        for name in ("persistence", "model"):
            axes.plot(
                errors.steps,
                [number(x) for x in getattr(errors, name)],
                "o-",
                color=COLOURS[name],
                label=LABELS[name],
                markersize=4,
            )
        axes.axhline(1, color=COLOURS["neutral"], linewidth=0.8, linestyle=":", label="mean of all latents")
        axes.set_xscale("log", base=2)
        axes.set_xticks(errors.steps, [f"{steps:g}" for steps in errors.steps])
        axes.set(xlabel=f"model steps ahead ({step_seconds:g} s each)", ylabel="error / variance", ylim=(0, None))
        legend_above(figure, axes)
        return svg(figure)


def curves(steps: Sequence[float], lines: Mapping[str, Sequence[float]], log: bool, limit: float | None) -> str:
    """Training terms of one stage against its steps: logarithmic where asked and possible, else from 0.

    ``limit`` is the most that can be reached, a dotted line.
    """
    palette = ("model", "impossible", "state-oracle", "no-predictor", "random-encoder", "pixel", "neutral")
    with style():
        rows = math.ceil((len(lines) + (limit is not None)) / 3)
        figure, (axes,) = panel(1, 3.9, 2.8, Margins(top=0.12 + 0.18 * rows))
        looks = itertools.product(("-", (0, (3, 1))), palette)
        for (name, values), (line, colour) in zip(lines.items(), looks):
            axes.plot(steps, values, ls=line, color=COLOURS[colour], label=name.replace("_", " "), lw=1.3)
        if limit is not None:
            axes.axhline(limit, color=COLOURS["neutral"], linewidth=1, linestyle=":", label=f"of {limit:g} dimensions")
        finite = [value for values in lines.values() for value in values if np.isfinite(value)]
        if log and all(value > 0 for value in finite):
            axes.set_yscale("log")
            plain_ticks(axes.yaxis)
        elif not log:
            axes.set_ylim(0, 1.06 * max([*finite, limit or 0.0]) or 1.0)
        axes.set(xlabel="optimiser step")
        legend_above(figure, axes)
        return svg(figure)
