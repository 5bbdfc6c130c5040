"""Energies of transitions: the model's, and those of the baselines and the upper bound in the same form.

An energy is a number per (current observation, actions, proposed observation); low means possible. A *scorer* gives
energies for the truth and for each kind of negative at one common set of anchors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from brain.device import at_once
from brain.evaluation import metrics
from brain.evaluation.negatives import HARD, Anchors, Proposal
from brain.models.latents import Encoder, LatentTable, encode

Form = Literal["scaled", "plain"]
FORMS: tuple[Form, ...] = ("scaled", "plain")


class Dynamics(Protocol):
    """What is asked of a world model here, as ``brain.models.world_model.Dynamics`` has it."""

    def rollout(self, z: Tensor, actions: Tensor) -> Tensor:
        """(N, *shape) and (N, K, stride * A) to (N, K, *shape)."""

    def predict(self, z: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        """(N, *shape) and (N, stride * A) to mean and log-variance of the next latent, (N, *shape) each."""

    def compare(self, mean: Tensor, log_variance: Tensor, proposal: Tensor, kind: Form, steps: int = 1) -> Tensor:
        """Energies (N,) of proposals (N, *shape) beside what was predicted."""

    def energy(self, z: Tensor, action: Tensor, proposal: Tensor, kind: Form, steps: int = 1) -> Tensor:
        """``predict``, then ``compare``: (N,)."""


class Scorer(Protocol):
    """Energies at fixed anchors, float64 (N,); NaN where the episode ends too early."""

    def true(self, steps: int) -> np.ndarray:
        """Energy of the observation ``steps`` model steps ahead, given the actions taken."""

    def impossible(self, kind: str, proposal: Proposal) -> np.ndarray | None:
        """Energies of the proposals of one negative; None where the scorer cannot see it."""


class Forecasts:
    """What ``dynamics`` predicts at the anchors, made once for all kinds and forms that share the actions taken.

    ``latents`` is (M, *shape), one for each sampled observation of the table. Over several steps the prediction is that
    of the last step from the rolled-out latent.
    """

    def __init__(
        self,
        table: LatentTable,
        anchors: Anchors,
        latents: np.ndarray,
        dynamics: Dynamics,
        device: torch.device | None = None,
    ) -> None:
        self.dynamics, self.device = dynamics, device or torch.device("cpu")
        self._table, self._anchors, self._latents = table, anchors, latents
        self._taken: dict[int, tuple[np.ndarray, Tensor, Tensor]] = {}

    def taken(self, steps: int, wanted: np.ndarray) -> tuple[Tensor, Tensor]:
        """Mean and log-variance after the actions taken, at the ``wanted`` (N,) anchors; all must be within reach."""
        if steps not in self._taken:
            reach = within(self._table, self._anchors, steps)
            actions = self._anchors.episode[reach], self._anchors.row[reach]
            self._taken[steps] = np.cumsum(reach) - 1, *self.under(steps, reach, actions)
        place, mean, log_variance = self._taken[steps]
        at = torch.from_numpy(place[wanted]).to(mean.device)
        return mean[at], log_variance[at]

    @torch.no_grad()
    def under(self, steps: int, wanted: np.ndarray, actions: tuple[np.ndarray, np.ndarray]) -> tuple[Tensor, Tensor]:
        """The same after the actions from other addresses (episode, row), one for each wanted anchor."""
        starts = self._latents[self._table.place(self._anchors.episode[wanted], self._anchors.row[wanted])]
        chunks = self._table.chunks(*actions, steps)
        made, batch = [], at_once(self.device)
        for first in range(0, len(starts), batch):
            z, taken = (as_tensor(values[first : first + batch], self.device) for values in (starts, chunks))
            if steps > 1:
                z = self.dynamics.rollout(z, taken[:, :-1])[:, -1]
            made.append(self.dynamics.predict(z, taken[:, -1]))
        mean, log_variance = (torch.cat(parts) for parts in zip(*made))
        return mean, log_variance


@dataclass(frozen=True)
class LatentScorer:
    """Energies in a latent space: ``forecasts`` beside what came, or without any (*no predictor*).

    ``latents`` is (M, *shape), one for each sampled observation of the table; ``clips`` holds (N, *shape) latents of
    the kinds that show a clip that was never recorded.
    """

    table: LatentTable
    anchors: Anchors
    latents: np.ndarray
    clips: Mapping[str, np.ndarray]
    forecasts: Forecasts | None
    form: Form = "plain"

    def true(self, steps: int) -> np.ndarray:
        return self._energy(within(self.table, self.anchors, steps), steps, None, self._truth(steps))

    def impossible(self, kind: str, proposal: Proposal) -> np.ndarray | None:
        if proposal.clip is not None:
            if kind not in self.clips:
                return None
            proposed = self.clips[kind]
        elif proposal.observation is not None:
            proposed = self.latents[self.table.place(*proposal.observation)]
        else:
            proposed = self._truth(proposal.steps)
        return self._energy(proposal.valid, proposal.steps, proposal.action, proposed)

    def _truth(self, steps: int) -> np.ndarray:
        last = self.table.rows[self.anchors.episode] - 1
        row = np.minimum(self.anchors.row + steps * self.table.timing.stride, last)
        return self.latents[self.table.place(self.anchors.episode, row)]

    @torch.no_grad()
    def _energy(
        self,
        valid: np.ndarray,
        steps: int,
        action: tuple[np.ndarray, np.ndarray] | None,
        proposed: np.ndarray,
    ) -> np.ndarray:
        result = np.full(len(self.anchors), np.nan)
        if not valid.any():
            return result
        if self.forecasts is None:
            z = self.latents[self.table.place(self.anchors.episode[valid], self.anchors.row[valid])]
            result[valid] = np.square(z.astype(np.float64) - proposed[valid]).reshape(len(z), -1).mean(axis=1)
            return result
        forecasts = self.forecasts
        if action is None:
            mean, log_variance = forecasts.taken(steps, valid)
        else:
            mean, log_variance = forecasts.under(steps, valid, (action[0][valid], action[1][valid]))
        proposal = as_tensor(proposed[valid], forecasts.device)
        energy = forecasts.dynamics.compare(mean, log_variance, proposal, self.form, steps)
        result[valid] = energy.double().cpu().numpy()
        return result


def within(table: LatentTable, anchors: Anchors, steps: int) -> np.ndarray:
    """Whether ``steps`` model steps from each anchor stay within its episode: bool (N,)."""
    return anchors.row + steps * table.timing.stride < table.rows[anchors.episode]


def as_tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """A copy on ``device``, whatever the layout of ``array``."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)


class Clips:
    """Latents of clips that were never recorded. Call ``visit`` once with the frames of every episode."""

    def __init__(self, anchors: Anchors, proposals: Mapping[str, Proposal], encoders: Mapping[str, Encoder]) -> None:
        self.anchors, self.encoders = anchors, encoders
        self._clips = {kind: proposal.clip for kind, proposal in proposals.items() if proposal.clip is not None}
        self._latents: dict[str, dict[str, np.ndarray]] = {name: {} for name in encoders}

    def visit(self, episode: int, frames: np.ndarray) -> None:
        here = np.flatnonzero(self.anchors.episode == episode)
        if not len(here):
            return
        for name, encoder in self.encoders.items():
            for kind, clip in self._clips.items():
                latents = encode(encoder, frames, clip[here])
                table = self._latents[name].setdefault(
                    kind, np.zeros((len(self.anchors), *latents.shape[1:]), np.float32)
                )
                table[here] = latents

    def of(self, encoder: str) -> dict[str, np.ndarray]:
        """Raw latents (N, *shape) of one encoder by kind."""
        return self._latents[encoder]


class PixelScorer:
    """The baseline without learning: mean squared difference between the proposed newest frame and the current frame.

    Pixels in [0, 1], or standardised coordinates. ``visit`` must see the frames of every episode once, before energies
    are asked for; it keeps distances, and frames only for proposals from other episodes.
    """

    def __init__(self, table: LatentTable, anchors: Anchors, proposals: Mapping[str, Proposal]) -> None:
        self.table, self.anchors, self.proposals = table, anchors, proposals
        steps = {1, *(proposal.steps for proposal in proposals.values())}
        self._true = {n: np.full(len(anchors), np.nan) for n in steps}
        self._impossible = {kind: np.full(len(anchors), np.nan) for kind in proposals}
        self._half: dict[tuple[str, int], np.ndarray] = {}

    def visit(self, episode: int, frames: np.ndarray) -> None:
        pixels = frames.reshape(len(frames), -1)
        here = np.flatnonzero(self.anchors.episode == episode)
        row = self.anchors.row[here]
        for steps, energies in self._true.items():
            later = row + steps * self.table.timing.stride
            inside = later < len(frames)
            energies[here[inside]] = _distance(pixels[row[inside]], pixels[later[inside]])
        for kind, proposal in self.proposals.items():
            energies = self._impossible[kind]
            if proposal.clip is not None:
                energies[here] = _distance(pixels[row], pixels[proposal.clip[here, -1]])
            elif proposal.observation is not None:
                source, shown = proposal.observation
                within = here[source[here] == episode]
                energies[within] = _distance(pixels[self.anchors.row[within]], pixels[shown[within]])
                across = source != self.anchors.episode
                for n in np.flatnonzero(across & (self.anchors.episode == episode)):
                    self._pair(kind, int(n), pixels[self.anchors.row[n]])
                for n in np.flatnonzero(across & (source == episode)):
                    self._pair(kind, int(n), pixels[shown[n]])

    def _pair(self, kind: str, anchor: int, pixels: np.ndarray) -> None:
        """Keep the first frame of a pair that spans two episodes until the second arrives."""
        first = self._half.pop((kind, anchor), None)
        if first is None:
            self._half[kind, anchor] = pixels.copy()
        else:
            self._impossible[kind][anchor] = _distance(first[None], pixels[None])[0]

    def true(self, steps: int) -> np.ndarray:
        return self._true[steps]

    def impossible(self, kind: str, proposal: Proposal) -> np.ndarray | None:
        if proposal.observation is None and proposal.clip is None:
            return np.where(proposal.valid, self._true[proposal.steps], np.nan)
        return np.where(proposal.valid, self._impossible[kind], np.nan)


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean squared difference of rows (N, P): float64 (N,); of uint8 in units of full scale squared."""
    result = np.empty(len(a))
    for first in range(0, len(a), 64):
        part = slice(first, first + 64)
        difference = a[part].astype(np.float32) - b[part]
        result[part] = np.einsum("np,np->n", difference, difference)
    return result / (a.shape[1] * (255.0**2 if a.dtype == np.uint8 else 1.0))


@dataclass(frozen=True)
class Pairs:
    """Energies of the truth and of an impossible future at the same anchors, (N,) each."""

    true: np.ndarray
    impossible: np.ndarray

    @property
    def auc(self) -> float:
        return metrics.auc(self.true, self.impossible)

    @property
    def pair_accuracy(self) -> float:
        return metrics.pair_accuracy(self.true, self.impossible)


def score(
    scorers: Mapping[str, Scorer], proposals: Mapping[str, Proposal], kinds: Sequence[str]
) -> dict[str, dict[str, Pairs]]:
    """Energies of every negative that has proposals, by every scorer that can see it: ``result[kind][scorer]``."""
    result: dict[str, dict[str, Pairs]] = {}
    for kind in kinds:
        proposal = proposals[kind]
        if not proposal.valid.any():
            continue
        result[kind] = {}
        for name, scorer in scorers.items():
            energies = scorer.impossible(kind, proposal)
            if energies is not None:
                true = scorer.true(proposal.steps)
                result[kind][name] = Pairs(true[proposal.valid], energies[proposal.valid])
    return result


def hard_auc(scored: Mapping[str, Mapping[str, Pairs]], scorer: str) -> float:
    """Mean AUC over the ``near`` kinds; NaN where there are none."""
    aucs = [scored[kind][scorer].auc for kind in HARD if kind in scored]
    return float(np.mean(aucs)) if aucs else float("nan")
