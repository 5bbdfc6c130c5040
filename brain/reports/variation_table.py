"""The table and the pictures of ``brain judge --vary``, for a terminal and for the report."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from brain.evaluation.negatives import LONG
from brain.reports.violations import png
from brain.runs.figures import figure_text
from brain.runs.judgement import ConditionFigures, FactorFigures

SIDE, GAP, LABEL = 64, 4, 54
"""Sides of a frame, gaps between frames, and the width of the labels, in units of the drawing."""


def rows(factor: FactorFigures) -> list[tuple[str, list[str]]]:
    """The lines of a factor's table: a label, and a text for each of its ``places``."""
    places = list(factor.places.values())
    listed = [
        ("AUC, hard negatives", [figure_text(one.energy.get("hard")) for one in places]),
        (f"AUC, wrong actions, {LONG} steps", [figure_text(one.energy.get(f"wrong-action-{LONG}")) for one in places]),
        ("false alarms", [_percent(one.false_alarm_rate) for one in places]),
        ("AUC, violations", [figure_text(one.violations.auc if one.violations else None) for one in places]),
    ]
    listed += [
        (f"R2 of {state.replace('_', ' ')}", [figure_text(one.probes.get(state)) for one in places])
        for state in factor.default.probes
    ]
    if factor.default.plans is not None:
        listed.append((f"plans, task {factor.default.plans.task}", [_plans(one) for one in places]))
    return [(label, texts) for label, texts in listed if set(texts) != {"–"}]


def table(variation: Mapping[str, FactorFigures]) -> list[str]:
    """For a terminal: a heading for each factor, and a line for each figure."""
    lines = []
    for name, factor in variation.items():
        (low, high), (least, most) = factor.training, factor.allowed
        lines.append(f"{name}, {factor.unit}: inside {low:g} to {high:g}, outside in {least:g} to {most:g}")
        if factor.trained:
            lines.append("  the run's store varies or sets it")
        lines.append(f"  {'':32}" + "".join(f"{where:>12}" for where in factor.places))
        lines += [f"  {label:32}" + "".join(f"{text:>12}" for text in texts) for label, texts in rows(factor)]
    return lines


def strip(shown: Mapping[str, np.ndarray]) -> str:
    """Frames, uint8 (N, H, W, C) by the label of their row: an ``<svg>`` element."""
    count, pitch = max(map(len, shown.values())), SIDE + GAP
    size = f"0 0 {LABEL + count * pitch} {len(shown) * pitch}"
    parts = [f'<svg role="img" viewBox="{size}" font-size="11" fill="currentColor">']
    for row, (label, frames) in enumerate(shown.items()):
        parts.append(f'<text x="0" y="{row * pitch + SIDE / 2 + 4}">{label}</text>')
        for column, frame in enumerate(frames):
            place = f'x="{LABEL + column * pitch}" y="{row * pitch}" width="{SIDE}" height="{SIDE}"'
            parts.append(f'<image {place} style="image-rendering: pixelated" href="{png(frame)}"/>')
    return "".join([*parts, "</svg>"])


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _plans(one: ConditionFigures) -> str:
    return "–" if one.plans is None else f"{round(one.plans.rate * one.plans.episodes)} of {one.plans.episodes}"
