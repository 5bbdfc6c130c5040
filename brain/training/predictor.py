"""Stage 2: the encoder is frozen; fit the predictor and its variance head to the latents."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from brain import distributed
from brain.data.observations import to_device
from brain.data.source import Feed
from brain.device import adamw, one_thread
from brain.models.latents import LatentWindows, embed_episodes
from brain.models.world_model import Dynamics, WorldModel
from brain.objectives.losses import GaussianNLL, InvarianceLoss
from brain.recipes import schema
from brain.runs import checkpoint
from brain.runs.folder import Run
from brain.training.loop import Budget, Loop, one_cycle, progress
from shared.errors import TinyJEPAError


def train_predictor(
    run: Run,
    model: WorldModel,
    feed: Feed,
    budget: Budget,
    *,
    seed: int,
    checkpoint_seconds: float,
    quiet: bool,
) -> None:
    """Embed the training episodes once, fit ``model.dynamics`` to them and write ``predictor.safetensors``.

    Continues from the stage's checkpoint, like stage 1, with the episodes that were known when it began. Several
    processes share the embedding and each batch.
    """
    section, ranks = model.recipe.prediction, distributed.world_size()
    if section.batch % ranks:
        raise TinyJEPAError(
            f"prediction.batch {section.batch} does not divide among {ranks} processes: set it to a multiple"
        )
    known = progress(run, "predictor").get("known") or feed.known()
    table = embed_episodes(model, feed.store, feed.episodes(known), section.max_latents)
    if section.start == "joint":
        checkpoint.restore(run.encoder, model.dynamics.predictor, checkpoint.load(run.encoder)[0], "predictor")
    else:
        fit_scale(model.dynamics, table)
    optimizer = make_optimizer(model.dynamics, section)
    loop = Loop(
        run, "predictor", budget, {"model": model.dynamics}, optimizer,
        peak=section.learning_rate, checkpoint_seconds=checkpoint_seconds, quiet=quiet,
        extra=lambda step: {"known": known},
    )  # fmt: skip
    starts = _starts(table, section)
    criterion = distributed.parallel(DynamicsCriterion(model.dynamics))
    with one_thread():
        for step in loop:
            terms = dynamics_step(criterion, table, starts, optimizer, section, seed, step)
            if loop.due:
                loop.log(**terms)
    if distributed.first():
        checkpoint.save(run.predictor, checkpoint.state(model=model.dynamics), loop.facts())
        run.checkpoint("predictor").unlink(missing_ok=True)


def fit_dynamics(
    dynamics: Dynamics, table: LatentWindows, section: schema.Prediction, *, steps: int, seed: int
) -> None:
    """The same fit without a run folder, for the judge's baselines and upper bound. Trains ``dynamics`` in place."""
    fit_scale(dynamics, table)
    optimizer = make_optimizer(dynamics, section)
    starts, criterion = _starts(table, section), DynamicsCriterion(dynamics)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = section.learning_rate * one_cycle(step / steps)
        dynamics_step(criterion, table, starts, optimizer, section, seed, step)


def fit_scale(dynamics: Dynamics, table: LatentWindows) -> None:
    """Set the standardisation to the table's mean and standard deviation, per dimension."""
    chunks = table.windows(table.starts(1), 1)[1][:, 0]
    cells = table.z.reshape(-1, table.z.shape[-1])  # of a grid, every cell
    for name, values in (("latent", cells), ("action", chunks)):
        if values.shape[1] == 0:
            continue  # a world without actions
        getattr(dynamics, f"{name}_mean").copy_(values.mean(0))
        getattr(dynamics, f"{name}_std").copy_(values.std(0, correction=0).clamp_min(1e-4))


def make_optimizer(dynamics: Dynamics, section: schema.Prediction) -> torch.optim.Optimizer:
    return adamw(dynamics.parameters(), section.learning_rate, section.weight_decay)


class DynamicsCriterion(nn.Module):
    """The losses of stage 2 on a batch of windows: rollout error, and likelihood of the one-step error.

    The variance head sees the error detached, so it does not trade accuracy for confidence.
    """

    def __init__(self, dynamics: Dynamics) -> None:
        super().__init__()
        self.dynamics = dynamics

    def forward(self, z: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Raw latents (B, rollout + 1, *shape) and action chunks (B, rollout, A) to two scalars."""
        z = self.dynamics.standardise(z)
        predicted = self.dynamics.rollout(z[:, 0], actions)
        _, log_variance = self.dynamics.predict(z[:, 0], actions[:, 0])
        likelihood = GaussianNLL()((z[:, 1] - predicted[:, 0]).detach(), log_variance).mean()
        return InvarianceLoss()(predicted, z[:, 1:]), likelihood


def dynamics_step(
    criterion: nn.Module,
    table: LatentWindows,
    starts: Tensor,
    optimizer: torch.optim.Optimizer,
    section: schema.Prediction,
    seed: int,
    step: int,
) -> dict[str, Tensor]:
    """One optimiser step on this process's share of a batch drawn by (seed, step); its losses.

    ``criterion`` is a ``DynamicsCriterion`` of the optimiser's dynamics, or ``brain.distributed.parallel`` of one.
    """
    picks = np.random.default_rng([seed, step]).integers(len(starts), size=section.batch)
    rows = to_device(distributed.mine(torch.from_numpy(picks)), starts.device)
    optimizer.zero_grad(set_to_none=True)
    prediction, likelihood = criterion(*table.windows(starts[rows], section.rollout))
    loss = prediction + likelihood
    loss.backward()
    if section.gradient_clip:
        predictor = (p for name, p in criterion.named_parameters() if "dynamics.predictor." in name)
        torch.nn.utils.clip_grad_norm_(predictor, section.gradient_clip)
    optimizer.step()
    return {"loss": loss, "prediction": prediction, "likelihood": likelihood}


def _starts(table: LatentWindows, section: schema.Prediction) -> Tensor:
    starts = table.starts(section.rollout)
    if len(starts) == 0:
        raise TinyJEPAError(
            f"no training episode is longer than {section.rollout} model steps of {table.stride} frames: "
            "collect longer episodes, or lower prediction.rollout or observation.stride"
        )
    return starts
