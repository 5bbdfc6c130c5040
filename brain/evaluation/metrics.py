"""Metrics of the judge: AUC, pair accuracy, threshold, R2."""

from __future__ import annotations

import numpy as np


def auc(true: np.ndarray, impossible: np.ndarray) -> float:
    """Area under the ROC curve of "a higher energy means an impossible future".

    ``true`` and ``impossible`` are energies, ``(N,)`` and ``(M,)``, pooled over episodes. It equals the share of
    all N x M pairs in which the impossible future has the higher energy, ties counting half. 0.5 is chance; NaN where
    there are no pairs, or energies are NaN.
    """
    if not len(true) * len(impossible) or np.isnan(true).any() or np.isnan(impossible).any():
        return float("nan")
    ranked = np.sort(true)
    below, up_to = (np.searchsorted(ranked, impossible, side).sum(dtype=np.int64) for side in ("left", "right"))
    return float((below + up_to) / (2 * len(true) * len(impossible)))


def pair_accuracy(true: np.ndarray, impossible: np.ndarray) -> float:
    """Share of transitions whose true next has a lower energy than the impossible one; ties count half.

    Both are ``(N,)``, energies of the same N transitions: unlike ``auc`` it needs no common scale of energies. NaN
    where there are none, or energies are NaN.
    """
    if not len(true) or np.isnan(true).any() or np.isnan(impossible).any():
        return float("nan")
    return float(np.mean((true < impossible) + 0.5 * (true == impossible)))


def calibrate(true: np.ndarray, false_alarms: float = 0.01) -> float:
    """The threshold exceeded by at most a share ``false_alarms`` of the energies ``(N,)`` of true transitions."""
    return float(np.quantile(true, 1.0 - false_alarms, method="higher"))


def share_above(energies: np.ndarray, threshold: float) -> float:
    """The share of energies (N,) above a threshold; NaN without energies, where they are NaN, or without a threshold
    (NaN)."""
    if not len(energies) or np.isnan(energies).any() or not np.isfinite(threshold):
        return float("nan")
    return float(np.mean(energies > threshold))


def r2(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Coefficient of determination of ``prediction`` ``(N,)``: 1 is perfect, 0 is predicting the mean of ``truth``.

    NaN where ``truth`` does not vary beyond rounding.
    """
    total = float(((truth - truth.mean()) ** 2).sum())
    if total <= 1e-12 * float((truth**2).sum()):
        return float("nan")
    return 1.0 - float(((truth - prediction) ** 2).sum()) / total
