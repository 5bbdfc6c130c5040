"""Whole episodes as frozen latents in memory: what stage 2, the probes and the judge read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from brain.models.world_model import WorldModel
from shared.store.reader import Store
from shared.store.schema import EpisodeRef


@dataclass(frozen=True)
class LatentTable:
    """Raw latents of several episodes, one for every frame that completes a stack, end to end.

    Row r and row r + stride of the same episode are one model step apart.
    """

    z: Tensor
    """float32 (R, *latent_shape)"""
    actions: Tensor
    """float32 (R, A): the action taken at each row's frame"""
    lengths: tuple[int, ...]
    """rows of each episode, summing to R"""
    stride: int

    def starts(self, steps: int) -> Tensor:
        """int64 (M,): rows from which ``steps`` model steps stay within the episode."""
        firsts = np.cumsum([0, *self.lengths[:-1]])
        span = steps * self.stride
        parts = [first + np.arange(max(0, length - span)) for first, length in zip(firsts, self.lengths)]
        return torch.from_numpy(np.concatenate(parts)).to(self.z.device)

    def windows(self, starts: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Of the windows at ``starts`` (B,): latents (B, steps + 1, *latent_shape), actions (B, steps, stride * A)."""
        device = self.z.device
        rows = starts[:, None] + torch.arange(steps + 1, device=device) * self.stride
        chunks = starts[:, None] + torch.arange(steps * self.stride, device=device)
        return self.z[rows], self.actions[chunks].reshape(len(starts), steps, self.stride * self.actions.shape[1])


def embed_episodes(
    model: WorldModel, store: Store, episodes: Sequence[EpisodeRef], limit: int | None = None
) -> LatentTable:
    """Embed every frame of the episodes with the model's frozen encoder, episode by episode.

    With ``limit``, only as many evenly spread episodes as give about that many latents. Episodes shorter than a
    stack are left out.
    """
    observation = model.recipe.observation
    lead = (observation.stack - 1) * observation.stride
    episodes = [episode for episode in episodes if episode.rows > lead]
    rows = sum(episode.rows - lead for episode in episodes)
    if limit is not None and rows > limit:
        keep = max(1, len(episodes) * limit // rows)
        episodes = [episodes[i] for i in np.linspace(0, len(episodes) - 1, keep).astype(int)]
    latents, actions = [], []
    for episode in episodes:
        data = store.read_episode(episode, "frame", "action")
        frames = torch.from_numpy(data["frame"])
        count = episode.rows - lead
        stacks = torch.stack([frames[i * observation.stride :][:count] for i in range(observation.stack)], 1)
        latents.append(model.embed(stacks)[:, 0])
        actions.append(torch.from_numpy(data["action"][lead:]).to(model.device))
    return LatentTable(torch.cat(latents), torch.cat(actions), tuple(len(part) for part in latents), observation.stride)
