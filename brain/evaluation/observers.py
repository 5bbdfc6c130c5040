"""Who is shown matched pairs of clips, and how surprised each is: the model, its baselines, the upper bound.

A step's surprise is the energy of what is shown, given what was predicted ``memory`` model steps before
(``energy.memory`` of the recipe) from the frames that were shown; near the beginning, given what was predicted at the
moment where the two continuations part. With a memory of one step, a car that has vanished is surprising once; with
four, it is for four steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from brain.data.states import States
from brain.data.windows import Timing
from brain.evaluation.baselines import Fitted, oracle_features
from brain.evaluation.energies import Form
from brain.models.latents import Encoder, encode
from brain.models.world_model import WorldModel
from brain.runs.judgement import UPPER_BOUND
from shared.worlds.violations import Pairs

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
