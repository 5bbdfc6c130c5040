"""Confidence intervals of 95 %: of means over seeds, and of success rates."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

Z95 = 1.959963984540054
"""Standard normal quantile of a two-sided interval of 95 %."""


def confidence(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
    """Mean of independent values and half the width of its confidence interval, by Student's t; N >= 2."""
    from scipy import stats

    mean = statistics.fmean(values)
    spread = statistics.stdev(values) / len(values) ** 0.5
    return mean, float(stats.t.ppf((1 + level) / 2, len(values) - 1)) * spread


def interval_text(values: Sequence[float]) -> str:
    """``mean ± half the 95 % interval``; the value alone where there is one, a dash for none."""
    if len(values) < 2:
        return f"{values[0]:.4g}" if values else "–"
    mean, half = confidence(values)
    return f"{mean:.4g} ± {half:.2g}"


def wilson(share: float, count: int) -> tuple[float, float]:
    """The Wilson interval of 95 % of a ``share`` of ``count`` independent trials (Wilson 1927); ``count`` >= 1."""
    square = Z95 * Z95 / count
    middle = (share + square / 2) / (1 + square)
    half = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    return (0.0 if share <= 0 else middle - half), (1.0 if share >= 1 else middle + half)
