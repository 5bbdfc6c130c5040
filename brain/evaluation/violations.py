"""Violations of expectation: a model's surprise at impossible continuations, compared with true ones.

Surprise is the energy of each model step along a continuation: of what is shown beside what was foretold ``memory``
model steps before (``energy.memory`` of the recipe), from the frames that are proposed themselves, or at the moment,
whichever is later. With a memory of one step, a car that has vanished surprises once; with four, four times. A clip's
surprise is the largest or the mean of its steps, whichever tells more on validation pairs. Scores are those of Garrido
et al. 2025 (arXiv 2502.11831): within pairs, and over all clips.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from brain.data.states import States
from brain.data.windows import Timing
from brain.evaluation import metrics
from brain.evaluation.baselines import Fitted, oracle_features
from brain.evaluation.energies import Form
from brain.evaluation.pairs import Suite
from brain.models.latents import Encoder, encode
from brain.models.world_model import WorldModel
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

BATCH = 128
"""Clips encoded at once."""


@dataclass(frozen=True)
class Clip:
    """N continuations with their past, one model step between neighbours; the P-th frame is the moment."""

    frames: np.ndarray
    """(N, P + T, H, W, C)"""
    states: np.ndarray
    """float32 (N, P + T, S); S is 0 where nobody knows them"""
    actions: np.ndarray
    """float32 (N, P - 1 + T, stride * A)"""
    past: int
    """P"""

    @property
    def steps(self) -> int:
        return self.frames.shape[1] - self.past


@dataclass(frozen=True)
class Surprise:
    """Energies of the true and impossible continuations of the same pairs, by model step."""

    true: np.ndarray
    """float64 (N, T)"""
    impossible: np.ndarray
    """float64 (N, T)"""
    episode: np.ndarray
    """int64 (N,)"""


@dataclass(frozen=True)
class Observers:
    """The model, its baselines and, if there is one, the upper bound."""

    model: WorldModel
    form: Form
    untrained: tuple[Encoder, Fitted] | None = None
    """An untrained encoder, and a predictor fitted to it."""
    oracle: Fitted | None = None
    """A predictor fitted to ``oracle_features``."""
    states: States = field(default_factory=lambda: States(()))

    def watch(self, clip: Clip) -> dict[str, np.ndarray]:
        """Energies (N, T) by observer. The upper bound's are NaN where states are."""
        parts = [self._watch(_part(clip, first)) for first in range(0, len(clip.frames), BATCH)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @torch.no_grad()
    def _watch(self, clip: Clip) -> dict[str, np.ndarray]:
        model, past, steps = self.model, clip.past, clip.steps
        frames = torch.from_numpy(clip.frames)
        chunks = torch.from_numpy(clip.actions[:, past - 1 :]).to(model.device)
        z = _last(model.encode(frames), steps + 2)
        here, after = z[:, 1:-1], z[:, 2:]
        found = {
            "model": self._energy(model, here, chunks, after),
            "no-predictor": _distance(here, after),
            "persistence": _distance(z[:, 1:2].expand_as(after), after),
            "free-motion": _distance(2 * here - z[:, :-2], after),
        }
        if self.untrained is not None:
            encoder, fitted = self.untrained
            latents = torch.from_numpy(fitted.standardise(self._embed(encoder, clip)).astype(np.float32))
            latents = latents.to(model.device).unflatten(0, (-1, steps + 1))
            found["random-encoder"] = self._energy(fitted, latents[:, :-1], chunks, latents[:, 1:])
        if self.oracle is not None:
            states = clip.states[:, past - 1 :]
            features = oracle_features(self.states, states.reshape(-1, states.shape[-1]))
            latents = torch.from_numpy(self.oracle.standardise(features).astype(np.float32)).to(model.device)
            latents = latents.unflatten(0, states.shape[:2])
            found[UPPER_BOUND] = self._energy(self.oracle, latents[:, :-1], chunks, latents[:, 1:])
        told = {name: energies.double().cpu().numpy() for name, energies in found.items()}
        shown = clip.frames[:, past - 1 :].reshape(len(clip.frames), steps + 1, -1).astype(np.float32)
        told["pixel"] = np.square(np.diff(shown, axis=1)).mean(-1, dtype=np.float64) / (
            255.0**2 if clip.frames.dtype == np.uint8 else 1.0
        )
        return told

    def _embed(self, encoder: Encoder, clip: Clip) -> np.ndarray:
        """Raw latents of the moment's observation and of those after it, (N * (T + 1), *shape)."""
        count, rows = clip.frames.shape[:2]
        timing = Timing(self.model.recipe.observation.stack, 1)
        ends = np.arange(count)[:, None] * rows + np.arange(clip.past - 1, rows)
        return encode(encoder, clip.frames.reshape(-1, *clip.frames.shape[2:]), timing.window(ends.ravel()))

    def _energy(self, by: WorldModel | Fitted, z: Tensor, chunks: Tensor, proposals: Tensor) -> Tensor:
        """(N, T, ...), (N, T, A), (N, T, ...) to (N, T)."""
        steps = z.shape[1]
        memory = min(self.model.recipe.energy.memory, steps)
        early = [self._after(by, z[:, :1], chunks, proposals[:, k - 1 : k], k) for k in range(1, memory)]
        late = self._after(by, z[:, : steps - memory + 1], chunks, proposals[:, memory - 1 :], memory)
        return torch.cat([*early, late], 1)

    def _after(self, by: WorldModel | Fitted, z: Tensor, chunks: Tensor, proposals: Tensor, steps: int) -> Tensor:
        """``steps`` model steps after each of S observations: (N, S, ...), (N, T, A), (N, S, ...) to (N, S)."""
        taken = torch.stack([chunks[:, first : first + steps] for first in range(z.shape[1])], 1).flatten(0, 1)
        start = z.flatten(0, 1)
        if steps > 1:
            start = by.rollout(start, taken[:, :-1])[:, -1]
        energies = by.energy(start, taken[:, -1], proposals.flatten(0, 1), self.form, steps)
        return energies.unflatten(0, z.shape[:2])


def _part(clip: Clip, first: int) -> Clip:
    part = slice(first, first + BATCH)
    return Clip(clip.frames[part], clip.states[part], clip.actions[part], clip.past)


def _last(z: Tensor, count: int) -> Tensor:
    return z[:, -count:]


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference per dimension: (N, T, ...) to (N, T)."""
    return (a - b).square().flatten(2).mean(2)


def observe(pairs: Sequence[Pairs], observers: Observers) -> tuple[list[dict[str, Surprise]], np.ndarray]:
    """The surprise of every observer, for each violation, and the model's at every true continuation, (M, T).

    True continuations are shown once, however many violations share them. The upper bound is left out where the state
    does not tell the two continuations apart.
    """
    true: dict[int, dict[str, np.ndarray]] = {}
    result = []
    for one in pairs:
        table, past = one.moments, one.moments.past.shape[1]
        if id(table) not in true:
            frames, states = (
                np.concatenate(both, 1) for both in ((table.past, table.true), (table.past_state, table.true_state))
            )
            true[id(table)] = observers.watch(Clip(frames, states, table.actions, past))
        known = one.impossible_state.shape[-1] == table.past_state.shape[-1]
        states = one.impossible_state if known else table.true_state[one.at]
        clip = Clip(
            np.concatenate([table.past[one.at], one.impossible], 1),
            np.concatenate([table.past_state[one.at], states], 1),
            table.actions[one.at],
            past,
        )
        seen = observers.watch(clip)
        if UPPER_BOUND in seen and not (known and _tells(one, observers)):
            del seen[UPPER_BOUND]
        episode = table.episode[one.at]
        result.append({name: Surprise(true[id(table)][name][one.at], seen[name], episode) for name in seen})
    return result, np.concatenate([seen["model"] for seen in true.values()])


def _tells(pairs: Pairs, observers: Observers) -> bool:
    """Whether the oracle's features differ between the continuations, in nine of ten pairs."""
    assert observers.oracle is not None
    shape = pairs.impossible_state.shape
    true, impossible = (
        observers.oracle.standardise(oracle_features(observers.states, states.reshape(-1, shape[-1])))
        for states in (pairs.moments.true_state[pairs.at], pairs.impossible_state)
    )
    differs = (np.abs(true - impossible).max(1) > 0.01).reshape(shape[:2]).any(1)
    return bool(differs.mean() >= 0.9)


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
    pairings of clips. ``detection_rate``: share of impossible clips above ``threshold``.
    """
    right = (true < impossible) + 0.5 * (true == impossible)
    wins = (true[None, :] < impossible[:, None]) + 0.5 * (true[None, :] == impossible[:, None])
    seen = (impossible > threshold).astype(np.float64)
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
            alarms.append(AGGREGATES[how["model"]](true) > threshold)
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
                "false_alarm_rate": float((told["model"][0] > threshold).mean()),
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
        "false_alarm_rate": float(np.concatenate(alarms).mean()),
        "steps": int(suites[0].test[0].impossible.shape[1]),
        "validation_clips": len(honest),
    }
    return Findings(found, means(found), setup, strips)


def means(found: Mapping[str, Any]) -> dict[str, Any]:
    """Means over violations: of the run's own scenes, by principle, and of scenes never trained on by what is new."""

    def mean(names: Sequence[str]) -> dict[str, float]:
        keys = ("relative_accuracy", "auc", "detection_rate")
        return {key: float(np.mean([found[name][key] for name in names])) for key in keys}

    own = [name for name in found if "@" not in name]
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
