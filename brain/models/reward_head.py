"""The reward of a model step, predicted from frozen latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from brain.models.layers.mlp import mlp
from brain.models.world_model import WorldModel
from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.errors import TinyJEPAError


class RewardHead(nn.Module):
    """The reward of a model step, the sum over its frames: one hidden layer on the latent and the action chunk.

    Standardised latents (N, *shape) of ``dim`` numbers each, as ``WorldModel.encode`` and ``rollout`` give them, and
    raw chunks (N, A) to (N,), in the world's unit. With ``rollout`` it tells a planner what a plan earns (Hafner et al.
    2020, "Dream to Control: Learning Behaviors by Latent Imagination", section 4), without the encoder ever having seen
    a reward.
    """

    WIDTH = 256

    def __init__(self, dim: int, action_dim: int) -> None:
        super().__init__()
        self.network = mlp(dim + action_dim, self.WIDTH, 1, 1)
        self.input_mean: Tensor
        self.input_std: Tensor
        self.reward_mean: Tensor
        self.reward_std: Tensor
        for name, size in (("input", dim + action_dim), ("reward", 1)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def forward(self, z: Tensor, action: Tensor) -> Tensor:
        inputs = (torch.cat([z.flatten(1), action], 1) - self.input_mean) / self.input_std
        return (self.network(inputs) * self.reward_std + self.reward_mean)[:, 0]

    def fit_scale(self, z: Tensor, action: Tensor, reward: Tensor) -> None:
        """Set the standardisation to the mean and standard deviation of latents, chunks and rewards (N,)."""
        for name, values in (("input", torch.cat([z.flatten(1), action], 1)), ("reward", reward[:, None])):
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_std").copy_(values.std(0).clamp_min(1e-4))

    @classmethod
    def load(cls, run: Run, model: WorldModel) -> RewardHead:
        """The head that ``brain probe`` left in a run folder; ``TinyJEPAError`` where there is none."""
        if not run.reward.exists():
            raise TinyJEPAError(f"{run.path} has no reward head: brain probe --run makes one, if the reward varies")
        head = cls(model.space.size, model.action_dim)
        checkpoint.restore(run.reward, head, checkpoint.load(run.reward)[0], "head")
        return head.to(model.device).eval()
