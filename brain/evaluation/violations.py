"""Violations of expectation: scores of a model's surprise at impossible continuations, compared with true ones.

A clip's surprise is the largest or the mean of its steps' (``brain.evaluation.observers``), whichever separates
validation pairs better. Scores are those of Garrido et al. 2025 (arXiv 2502.11831): within pairs, and over all clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from brain.evaluation import metrics
from brain.evaluation.observers import Observers, Surprise, observe
from brain.evaluation.pairs import Suite
from brain.runs.intervals import wilson
from brain.runs.judgement import UPPER_BOUND
from shared.worlds.violations import PRINCIPLES, Pairs, Violation

AGGREGATES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "max": lambda energies: energies.max(1),
    "mean": lambda energies: energies.mean(1),
}
"""Energies of a clip's steps, (N, T), to its surprise, (N,)."""

RESAMPLES = 500
"""Bootstrap resamples of episodes per interval."""


def choose_aggregates(validation: Sequence[Mapping[str, Surprise]]) -> dict[str, str]:
    """For each observer the aggregate with the highest mean of pair accuracy and AUC over validation's violations."""
    chosen = {}
    for name in dict.fromkeys(name for seen in validation for name in seen):
        told = [seen[name] for seen in validation if name in seen]

        def mean(how: str, told: list[Surprise] = told) -> float:
            clips = [(AGGREGATES[how](one.true), AGGREGATES[how](one.impossible)) for one in told]
            return float(np.mean([metrics.pair_accuracy(*both) + metrics.auc(*both) for both in clips]))

        chosen[name] = max(AGGREGATES, key=mean)
    return chosen


def scores(true: np.ndarray, impossible: np.ndarray, episode: np.ndarray, threshold: float) -> dict[str, Any]:
    """Scores of N pairs from their surprises (N,), with 95 % intervals over the episodes (N,) that they come from.

    ``relative_accuracy``: share of pairs whose impossible clip surprises more, ties half. ``auc``: the same over all
    pairings of clips. ``detection_rate``: share of impossible clips above ``threshold``. All are NaN where one
    of the surprises is, the last one too without a threshold (NaN).
    """
    if np.isnan(true).any() or np.isnan(impossible).any():
        names = ("relative_accuracy", "auc", "detection_rate")
        return dict.fromkeys(names, np.nan) | {"intervals": {name: [np.nan, np.nan] for name in names}}
    right = (true < impossible) + 0.5 * (true == impossible)
    wins = (true[None, :] < impossible[:, None]) + 0.5 * (true[None, :] == impossible[:, None])
    seen = np.where(np.isnan(threshold), np.nan, impossible > threshold)
    groups, index = np.unique(episode, return_inverse=True)
    draws = np.random.default_rng(0).multinomial(len(groups), np.full(len(groups), 1 / len(groups)), RESAMPLES)
    weights = draws[:, index].astype(np.float64)
    total = weights.sum(1)
    resampled = {
        "relative_accuracy": weights @ right / total,
        "auc": (weights @ wins * weights).sum(1) / total**2,
        "detection_rate": weights @ seen / total,
    }
    values = {"relative_accuracy": right.mean(), "auc": wins.mean(), "detection_rate": seen.mean()}
    return {
        **{name: float(value) for name, value in values.items()},
        "intervals": {name: _interval(resampled[name], values[name], len(groups)) for name in values},
    }


def _interval(resampled: np.ndarray, value: float, episodes: int) -> list[float]:
    """Percentiles of the bootstrap; where nothing varies, Wilson's interval of a share of that many episodes."""
    low, high = (float(bound) for bound in np.quantile(resampled, [0.025, 0.975]))
    if low < high:
        return [low, high]
    return [*wilson(float(value), episodes)]


@dataclass(frozen=True)
class Strip:
    """One pair to draw: the one with the median difference in surprise."""

    name: str
    past: np.ndarray
    """(P, H, W, C)"""
    true: np.ndarray
    """(T, H, W, C)"""
    impossible: np.ndarray
    """(T, H, W, C)"""
    true_energy: np.ndarray
    """float64 (T,)"""
    impossible_energy: np.ndarray
    """float64 (T,)"""


@dataclass(frozen=True)
class Findings:
    """The judge's results for all violations."""

    violations: dict[str, Any]
    """By name; those of scenes never trained on, apart from the run's own, as ``name@what is new``."""
    mean: dict[str, Any]
    setup: dict[str, Any]
    strips: list[Strip]

    def figures(self) -> dict[str, Any]:
        """The part of them stored in ``judge.json``."""
        return {"violations": self.violations, "violations_mean": self.mean, "violations_setup": self.setup}


def assess_violations(suites: Sequence[Suite], observers: Observers, false_alarms: float) -> Findings:
    """Scores of every violation of every suite. The first suite's validation pairs choose and calibrate for all."""
    calibration, honest = observe(suites[0].validation, observers)
    how = choose_aggregates(calibration)
    threshold = metrics.calibrate(AGGREGATES[how["model"]](honest), false_alarms)
    found: dict[str, Any] = {}
    strips: list[Strip] = []
    alarms: list[np.ndarray] = []
    for suite in suites:
        watched, true = observe(suite.test, observers)
        if not suite.label:
            alarms.append(AGGREGATES[how["model"]](true))
        for pairs, seen in zip(suite.test, watched):
            name = pairs.violation.name + (f"@{suite.label}" if suite.label else "")
            told = {
                observer: (AGGREGATES[how[observer]](one.true), AGGREGATES[how[observer]](one.impossible))
                for observer, one in seen.items()
                if observer in how
            }
            own = scores(*told["model"], seen["model"].episode, threshold)
            others = {
                observer: {"relative_accuracy": metrics.pair_accuracy(*both), "auc": metrics.auc(*both)}
                for observer, both in told.items()
                if observer != "model"
            }
            found[name] = {
                "principle": pairs.violation.principle,
                "summary": pairs.violation.summary,
                "unseen": suite.unseen,
                "pairs": len(pairs),
                "episodes": len(np.unique(seen["model"].episode)),
                **own,
                "false_alarm_rate": metrics.share_above(told["model"][0], threshold),
                "upper_bound": others.pop(UPPER_BOUND, None),
                "baselines": others,
            }
            if not suite.label:
                strips.append(_strip(name, pairs, seen["model"], *told["model"]))
    setup = {
        "simulated": isinstance(suites[0].test[0].violation, Violation),
        "aggregate": how["model"],
        "threshold": threshold,
        "false_alarm_target": false_alarms,
        "false_alarm_rate": metrics.share_above(np.concatenate(alarms), threshold),
        "steps": int(suites[0].test[0].impossible.shape[1]),
        "validation_clips": len(honest),
    }
    return Findings(found, means(found), setup, strips)


def own_scenes(found: Mapping[str, Any]) -> list[str]:
    """The violations of the run's own scenes, without those of scenes never trained on (``NAME@what is new``)."""
    return [name for name in found if "@" not in name]


def means(found: Mapping[str, Any]) -> dict[str, Any]:
    """Means over violations: of the run's own scenes, by principle, and of scenes never trained on by what is new."""

    def mean(names: Sequence[str]) -> dict[str, float]:
        keys = ("relative_accuracy", "auc", "detection_rate")
        return {key: float(np.mean([found[name][key] for name in names])) for key in keys}

    own = own_scenes(found)
    apart = {name.partition("@")[2] for name in found} - {""}
    principles = {
        principle: names
        for principle in PRINCIPLES
        if (names := [name for name in own if found[name]["principle"] == principle])
    }
    return {
        **mean(own),
        "principles": {principle: mean(names) for principle, names in principles.items()},
        "unseen": {label: mean([name for name in found if name.endswith(f"@{label}")]) for label in sorted(apart)},
    }


def _strip(name: str, pairs: Pairs, seen: Surprise, true: np.ndarray, impossible: np.ndarray) -> Strip:
    order = np.argsort(impossible - true)
    n = int(order[len(order) // 2])
    table, at = pairs.moments, pairs.at[n]
    return Strip(name, table.past[at], table.true[at], pairs.impossible[n], seen.true[n], seen.impossible[n])
