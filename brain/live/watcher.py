"""The model on a running world, frame by frame: latents, predictions, energies."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from brain.data.windows import OnlineWindow, Timing
from brain.models.world_model import EnergyKind, WorldModel


@dataclass(frozen=True)
class Reading:
    """The model's values for one frame. Latents are standardised, (1, D); all None while history is missing."""

    z: Tensor | None = None
    foreseen: Tensor | None = None
    """prediction for this frame, made one model step before"""
    energy: float | None = None
    """of the frame that was shown"""
    elsewhere: float | None = None
    """of the other trajectory's observation, had it been shown instead"""


class Watcher:
    """Receives one frame at a time, with the actions said to have led there."""

    def __init__(self, model: WorldModel, timing: Timing, kind: EnergyKind) -> None:
        self.model, self.timing, self.kind = model, timing, kind
        self._window = OnlineWindow(timing)
        self._latents: deque[Tensor | None] = deque(maxlen=timing.stride + 1)

    def forget(self) -> None:
        """Start an episode: no transition crosses this point."""
        self._window.clear()
        self._latents.clear()

    @torch.no_grad()
    def see(self, frame: np.ndarray, action: np.ndarray | None, other: np.ndarray | None) -> Reading:
        """``frame`` uint8 (H, W, C) after ``action`` float32 (A,); None before the first frame of an episode.

        ``other`` is an observation, uint8 (stack, H, W, C), that is proposed beside the true one.
        """
        self._window.add(frame, action)
        observation = self._window.observation()
        if observation is None:
            self._latents.append(None)
            return Reading()
        both = observation[None] if other is None else np.stack([observation, other])
        latents = self.model.encode(torch.from_numpy(both))[:, 0]
        self._latents.append(latents[:1])
        before, taken = self._latents[0], self._window.chunk()
        if len(self._latents) <= self.timing.stride or before is None or taken is None:
            return Reading(latents[:1])
        chunk = torch.from_numpy(taken)[None].to(latents.device)
        foreseen, _ = self.model.predict(before, chunk)
        n = len(latents)
        energies = self.model.energy(
            before.expand(n, *before.shape[1:]), chunk.expand(n, -1), latents, self.kind
        ).tolist()
        return Reading(latents[:1], foreseen, energies[0], energies[1] if n > 1 else None)


class Dream:
    """A rollout from one latent, given only the actions."""

    def __init__(self, model: WorldModel, z: Tensor, stride: int, steps: int) -> None:
        self._model, self._start, self._stride = model, z, stride
        self.steps, self.done = steps, 0
        self._actions: list[np.ndarray] = []
        self.z = z
        """the latest latent of the rollout, (1, D)"""

    @property
    def over(self) -> bool:
        return self.done >= self.steps

    @torch.no_grad()
    def hear(self, action: np.ndarray) -> bool:
        """Add a frame's action, float32 (A,). Returns whether it completed a model step."""
        if self.over:
            return False
        self._actions.append(action)
        self.done, rest = divmod(len(self._actions), self._stride)
        if rest:
            return False
        chunks = np.concatenate(self._actions).reshape(1, self.done, -1)
        self.z = self._model.rollout(self._start, torch.from_numpy(chunks).to(self._start.device))[:, -1]
        return True

    def error(self, z: Tensor) -> float:
        """Mean squared distance per dimension from a latent (1, D)."""
        return float((self.z - z).square().mean())
