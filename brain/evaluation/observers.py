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
from brain.device import at_once
from brain.evaluation.baselines import Fitted, oracle_features
from brain.evaluation.energies import Form
from brain.models.latents import Encoder, encode
from brain.models.world_model import WorldModel
from brain.runs.judgement import UPPER_BOUND
from shared.worlds.violations import Moments, Pairs


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

    @property
    def predictors(self) -> dict[str, WorldModel | Fitted]:
        """Of those who predict in a latent space: the model, the untrained encoder's, the upper bound."""
        found: dict[str, WorldModel | Fitted] = {"model": self.model}
        if self.untrained is not None:
            found["random-encoder"] = self.untrained[1]
        if self.oracle is not None:
            found[UPPER_BOUND] = self.oracle
        return found

    def latents(self, name: str, frames: np.ndarray, states: np.ndarray) -> Tensor:
        """One of their standardised latents, (N, T, *shape), of frames (N, stack - 1 + T, H, W, C) and of states
        (N, T, S)."""
        if name == "model":
            return self.model.encode(torch.from_numpy(frames))
        if name == UPPER_BOUND:
            assert self.oracle is not None
            z = self.oracle.standardise(oracle_features(self.states, states.reshape(-1, states.shape[-1])))
        else:
            assert self.untrained is not None
            encoder, fitted = self.untrained
            stack, rows = self.model.recipe.observation.stack, frames.shape[1]
            ends = np.arange(len(frames))[:, None] * rows + np.arange(stack - 1, rows)
            windows = Timing(stack, 1).window(ends.ravel())
            z = fitted.standardise(encode(encoder, frames.reshape(-1, *frames.shape[2:]), windows))
        return torch.from_numpy(z.astype(np.float32)).to(self.model.device).unflatten(0, states.shape[:2])


class Watch:
    """The observers at M moments. What shows before a moment is encoded, and what is predicted from there computed,
    once for all its continuations."""

    def __init__(self, observers: Observers, table: Moments) -> None:
        self.observers = observers
        self._predictors = observers.predictors
        self._batch = at_once(observers.model.device) // 4
        self._newest = table.past[:, -1:]
        past, stack = table.past.shape[1], observers.model.recipe.observation.stack
        self._tail = table.past[:, past + 1 - stack :]  # seen in the first continued observations, too
        self._actions = torch.from_numpy(table.actions[:, past - 1 :]).to(observers.model.device)
        self._steps = self._actions.shape[1]
        self._memory = min(observers.model.recipe.energy.memory, self._steps)
        shown = table.past[:, past - 1 - stack :], table.past_state[:, -2:]
        self._before = {name: observers.latents(name, *shown) for name in self._predictors}
        self._foreseen = {name: self._foresee(name) for name in self._predictors}

    def energies(self, frames: np.ndarray, states: np.ndarray, at: np.ndarray) -> dict[str, np.ndarray]:
        """Energies float64 (N, T) by observer, of continuations (N, T, H, W, C) and (N, T, S) of the moments ``at``
        (N,). The upper bound's are NaN where states are."""
        parts = [
            self._part(*(values[first : first + self._batch] for values in (frames, states, at)))
            for first in range(0, len(at), self._batch)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    @torch.no_grad()
    def _part(self, frames: np.ndarray, states: np.ndarray, at: np.ndarray) -> dict[str, np.ndarray]:
        shown = np.concatenate([self._tail[at], frames], 1)
        places = torch.from_numpy(at).to(self._actions.device)
        found: dict[str, Tensor] = {}
        for name in self._predictors:
            after = self.observers.latents(name, shown, states)
            found[name] = self._energy(name, places, after)
            if name == "model":
                z = torch.cat([self._before[name][places], after], 1)
                here = z[:, 1:-1]
                found["no-predictor"] = _distance(here, after)
                found["persistence"] = _distance(here[:, :1].expand_as(after), after)
                found["free-motion"] = _distance(2 * here - z[:, :-2], after)
        told = {name: energies.double().cpu().numpy() for name, energies in found.items()}
        pixels = np.concatenate([self._newest[at], frames], 1).reshape(len(at), self._steps + 1, -1)
        told["pixel"] = np.square(np.diff(pixels.astype(np.float32), axis=1)).mean(-1, dtype=np.float64) / (
            255.0**2 if frames.dtype == np.uint8 else 1.0
        )
        return told

    @torch.no_grad()
    def _foresee(self, name: str) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the first ``memory`` model steps from each moment, (M, memory, *shape) each."""
        by, made = self._predictors[name], []
        for z, chunks in zip(*(of.split(self._batch) for of in (self._before[name][:, 1:], self._actions))):
            if self._memory > 1:
                z = torch.cat([z, by.rollout(z[:, 0], chunks[:, : self._memory - 1])], 1)
            both = by.predict(z.flatten(0, 1), chunks[:, : self._memory].flatten(0, 1))
            made.append([part.unflatten(0, z.shape[:2]) for part in both])
        mean, log_variance = (torch.cat(parts) for parts in zip(*made))
        return mean, log_variance

    def _energy(self, name: str, places: Tensor, after: Tensor) -> Tensor:
        """(N, T) of what is shown ``after`` the moments at ``places``, (N, T, *shape)."""
        by, form, memory = self._predictors[name], self.observers.form, self._memory
        mean, log_variance = (of[places] for of in self._foreseen[name])
        early = [by.compare(mean[:, k], log_variance[:, k], after[:, k], form, k + 1) for k in range(memory)]
        energies = torch.stack(early, 1)
        later = self._steps - memory
        if not later:
            return energies
        chunks = self._actions[places]
        taken = torch.stack([chunks[:, first : first + memory] for first in range(1, later + 1)], 1).flatten(0, 1)
        z = after[:, :later].flatten(0, 1)
        if memory > 1:
            z = by.rollout(z, taken[:, :-1])[:, -1]
        late = by.energy(z, taken[:, -1], after[:, memory:].flatten(0, 1), form, memory)
        return torch.cat([energies, late.unflatten(0, (-1, later))], 1)


def _distance(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared difference per dimension: (N, T, ...) to (N, T)."""
    return (a - b).square().flatten(2).mean(2)


def observe(pairs: Sequence[Pairs], observers: Observers) -> tuple[list[dict[str, Surprise]], np.ndarray]:
    """The surprise of every observer, for each violation, and the model's at every true continuation, (M, T).

    True continuations are shown once, however many violations share them. The upper bound is left out where the state
    does not tell the two continuations apart.
    """
    watches: dict[int, Watch] = {}
    true: dict[int, dict[str, np.ndarray]] = {}
    result = []
    for one in pairs:
        table = one.moments
        if id(table) not in watches:
            watch = watches[id(table)] = Watch(observers, table)
            true[id(table)] = watch.energies(table.true, table.true_state, np.arange(len(table.true)))
        known = one.impossible_state.shape[-1] == table.past_state.shape[-1]
        states = one.impossible_state if known else table.true_state[one.at]
        seen = watches[id(table)].energies(one.impossible, states, one.at)
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
