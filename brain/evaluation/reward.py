"""What a model step earns, read off frozen latents: the reward head, beside floors and a ceiling."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from brain.data.states import columns
from brain.evaluation.baselines import PCA, encoder_of, pca_width, random_encoder
from brain.evaluation.episodes import Encoder, Timing
from brain.evaluation.metrics import r2
from brain.evaluation.probe import Score
from brain.models.layers.mlp import mlp
from brain.models.world_model import WorldModel
from brain.runs import checkpoint
from brain.runs.folder import Run
from brain.training.loop import one_cycle
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import Split

SAMPLES: dict[Split, int] = {"train": 4000, "validation": 1000, "test": 2000}
"""Model steps of each split, drawn evenly from its episodes."""
BATCH, CHECKS, PEAK = 256, 10, 2e-3


class RewardHead(nn.Module):
    """The reward of a model step, the sum over its frames: one hidden layer on the latent and the action chunk.

    Standardised latents, as ``WorldModel.encode`` and ``rollout`` give them, and raw chunks (N, A) to (N,), in
    the world's unit. With ``rollout`` it tells a planner what a plan earns (Hafner et al. 2020, "Dream to Control:
    Learning Behaviors by Latent Imagination", section 4), without the encoder ever having seen a reward.
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

    @classmethod
    def load(cls, run: Run, model: WorldModel) -> RewardHead:
        """The head that ``brain probe`` left in a run folder; ``TinyJEPAError`` where there is none."""
        if not run.reward.exists():
            raise TinyJEPAError(f"{run.path} has no reward head: brain probe --run makes one, if the reward varies")
        head = cls(model.space.size, model.action_dim)
        checkpoint.restore(run.reward, head, checkpoint.load(run.reward)[0], "head")
        return head.to(model.device).eval()


@dataclass(frozen=True)
class Steps:
    """Model steps of one split."""

    frames: np.ndarray
    """uint8 (N, stack, H, W, C): the observation that each begins with"""
    states: np.ndarray
    """float32 (N, S): the true state there"""
    chunks: np.ndarray
    """float32 (N, stride * A): the actions"""
    rewards: np.ndarray
    """float32 (N,): what they earned"""


def draw_steps(store: Store, split: Split, timing: Timing, count: int, seed: int) -> Steps:
    """About ``count`` model steps, as many from each episode of the split."""
    refs = [ref for ref in store.split(split) if ref.rows >= timing.shortest]
    if not refs:
        raise TinyJEPAError(f"{store.path}: no {split} episodes to read rewards from: collect more")
    refs = [refs[i] for i in np.linspace(0, len(refs) - 1, min(len(refs), count)).astype(int)]
    rng = np.random.default_rng([seed, len(split)])
    parts = []
    for ref in refs:
        rows = rng.permutation(np.arange(timing.history, ref.rows - timing.stride))[: -(-count // len(refs))]
        read = store.read_episode(ref, "frame", "state", "action", "reward")
        taken = rows[:, None] + np.arange(timing.stride)
        chunks = read["action"][taken].reshape(len(rows), -1)
        parts.append((read["frame"][timing.window(rows)], read["state"][rows], chunks, read["reward"][taken].sum(1)))
    return Steps(*(np.concatenate(part) for part in zip(*parts)))


def probe_reward(
    model: WorldModel, store: Store, steps: int, seed: int, say: Callable[[str], None]
) -> tuple[dict[str, Score], RewardHead] | None:
    """A head on the model's latents, and test scores by what a head reads; None where the reward does not vary.

    Floors beside ``model``: ``actions`` alone, ``random-encoder``, ``pca`` (of the latent's width), ``mean``. Ceiling:
    the true ``state``. Fitted on train episodes for ``steps`` optimiser steps, chosen on validation episodes.
    """
    timing = Timing(model.recipe.observation.stack, model.recipe.observation.stride)
    samples = {split: draw_steps(store, split, timing, count, seed) for split, count in SAMPLES.items()}
    if any(sample.rewards.std() < 1e-6 for sample in samples.values()):
        return None
    fit = samples["train"].frames
    raw = encoder_of(model)
    spaces: dict[str, Encoder] = {
        "model": lambda frames: (
            model.dynamics.standardise(torch.from_numpy(raw(frames)).to(model.device)).cpu().numpy()
        ),
        "random-encoder": encoder_of(random_encoder(model.recipe, store.spec, fit[:1024], seed, model.device)),
        "pca": PCA(fit[:4000], pca_width(model.space), seed),
    }
    features = {"actions": {split: sample.states[:, :0] for split, sample in samples.items()}}
    for space, encode in spaces.items():
        say(f"reading rewards from {space}")
        features[space] = {
            split: np.concatenate(
                [encode(sample.frames[i : i + 256]) for i in range(0, len(sample.frames), 256)]
            ).reshape(len(sample.frames), -1)
            for split, sample in samples.items()
        }
    names = store.spec.state_names
    features["state"] = {
        split: columns(names, sample.states).astype(np.float32) if names else sample.states
        for split, sample in samples.items()
    }
    scores, heads = {}, {}
    for space, values in features.items():
        heads[space] = fit_head(values, samples, steps, seed)
        with torch.no_grad():
            guess = heads[space](torch.from_numpy(values["test"]), torch.from_numpy(samples["test"].chunks)).numpy()
        scores[space] = _score(guess, samples["test"].rewards)
    mean = np.full_like(samples["test"].rewards, samples["train"].rewards.mean())
    scores["mean"] = _score(mean, samples["test"].rewards)
    order = ("model", "mean", "actions", "random-encoder", "pca", "state")
    return {space: scores[space] for space in order}, heads["model"]


def fit_head(features: dict[Split, np.ndarray], samples: dict[Split, Steps], steps: int, seed: int) -> RewardHead:
    """A head on features (N, D) of the samples: the weights that were best on validation episodes."""
    inputs = {
        split: (torch.from_numpy(features[split]), torch.from_numpy(sample.chunks)) for split, sample in samples.items()
    }
    rewards = {split: torch.from_numpy(sample.rewards) for split, sample in samples.items()}
    both = torch.cat(inputs["train"], 1)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = RewardHead(inputs["train"][0].shape[1], inputs["train"][1].shape[1])
    for name, values in (("input", both), ("reward", rewards["train"][:, None])):
        getattr(head, f"{name}_mean").copy_(values.mean(0))
        getattr(head, f"{name}_std").copy_(values.std(0).clamp_min(1e-4))
    optimizer = torch.optim.AdamW(head.parameters(), PEAK, weight_decay=1e-2)
    generator = torch.Generator().manual_seed(seed)
    best, kept = float("inf"), {name: value.clone() for name, value in head.state_dict().items()}
    for step in range(1, steps + 1):
        optimizer.param_groups[0]["lr"] = PEAK * one_cycle(step / steps)
        rows = torch.randint(len(both), (BATCH,), generator=generator)
        error = head(*(part[rows] for part in inputs["train"])) - rewards["train"][rows]
        optimizer.zero_grad(set_to_none=True)
        (error / head.reward_std).square().mean().backward()
        optimizer.step()
        if step % max(steps // CHECKS, 1) == 0:
            with torch.no_grad():
                missed = float((head(*inputs["validation"]) - rewards["validation"]).square().mean())
            if missed < best:
                best, kept = missed, {name: value.clone() for name, value in head.state_dict().items()}
    head.load_state_dict(kept)
    return head.eval()


def _score(guess: np.ndarray, truth: np.ndarray) -> Score:
    return Score(r2(truth, guess), float(np.sqrt(np.mean((guess - truth) ** 2))))
