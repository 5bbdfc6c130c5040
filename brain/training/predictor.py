"""Stage 2: the encoder is frozen; fit the predictor and its variance head to the latents."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from brain import distributed
from brain.data.observations import to_device
from brain.data.source import Feed
from brain.data.windows import Timing
from brain.device import adamw, at_most, set_rate
from brain.models.calibration import HORIZON
from brain.models.latents import LatentWindows, embed_episodes
from brain.models.world_model import Dynamics, WorldModel
from brain.objectives.losses import GaussianNLL, InvarianceLoss, RelativeErrorLoss
from brain.recipes import schema
from brain.runs import checkpoint
from brain.runs.folder import Run
from brain.training.graph import StepGraph
from brain.training.loop import Budget, Loop, one_cycle, progress
from shared.cli.watch import duration
from shared.errors import TinyJEPAError

CALIBRATED = 1_000
"""Windows that bring two energies to one scale, ``CALIBRATED_AT_ONCE`` rolled out together."""
CALIBRATED_AT_ONCE = 100


def check_predictor(recipe: schema.Recipe, feed: Feed | None = None) -> None:
    """Raises ``TinyJEPAError`` where stage 2 cannot train: a batch that the processes cannot share, and with a
    ``feed`` that does not grow, no training episode as long as a window."""
    section, ranks = recipe.prediction, distributed.world_size()
    parts = 2 * ranks if section.pushforward else ranks
    if section.batch % parts:
        halved = ", half of it from forecasts" if section.pushforward else ""
        raise TinyJEPAError(
            f"prediction.batch {section.batch} does not divide among {ranks} processes{halved}: set it to a multiple "
            f"of {parts}"
        )
    if feed is None or feed.follower is not None:
        return
    timing = Timing.of(recipe.observation)
    if max((ref.rows for ref in feed.store.split("train")), default=0) < timing.rows(section.span):
        raise _too_short(section, timing.stride)


def train_predictor(
    run: Run,
    model: WorldModel,
    feed: Feed,
    budget: Budget,
    *,
    seed: int,
    checkpoint_seconds: float,
    quiet: bool,
    threads: int | None = None,
    graphs: bool = True,
) -> None:
    """Embed the training episodes once, fit ``model.dynamics`` to them and write ``predictor.safetensors``.

    Continues from the stage's checkpoint, like stage 1, with the episodes that were known when it began. Several
    processes share the embedding and each batch. ``budget`` begins after the embedding. ``threads`` are the most that
    embed on a CPU, None: torch's own number; with one, a budget in steps gives the same weights anywhere. ``graphs`` is
    as in stage 1. Raises ``TinyJEPAError`` for too short episodes and where training diverges.
    """
    check_predictor(model.recipe)
    section = model.recipe.prediction
    known = progress(run, "predictor").get("known") or feed.known()
    tell = Told("embedding", quiet or not distributed.first(), "a smaller prediction.max_latents embeds fewer")
    with contextlib.nullcontext() if threads is None else at_most(threads):
        table = embed_episodes(model, feed.store, feed.episodes(known), section.max_latents, tell)
        if section.start == "joint":
            checkpoint.restore(run.encoder, model.dynamics.predictor, checkpoint.load(run.encoder)[0], "predictor")
        else:
            fit_scale(model.dynamics, table)
    step_of = DynamicsStep(model.dynamics, table, section, seed, graphs=graphs)
    loop = Loop(
        run, "predictor", budget, {"model": model.dynamics}, step_of.optimizer,
        peak=section.learning_rate, checkpoint_seconds=checkpoint_seconds, quiet=quiet,
        extra=lambda step: {"known": known},
    )  # fmt: skip
    with at_most(threads=1):  # predictors are so small that more gain nothing
        for step in loop:
            terms = step_of(step)
            if loop.due:
                loop.log(**terms)
        fit_calibration(model.dynamics, table, seed)
        fit_actions(model.dynamics, table)  # now, since a checkpoint of an earlier version does not have them
    if distributed.first():
        checkpoint.save(run.predictor, checkpoint.state(model=model.dynamics), loop.facts())
        run.checkpoint("predictor").unlink(missing_ok=True)


def fit_dynamics(
    dynamics: Dynamics,
    table: LatentWindows,
    section: schema.Prediction,
    *,
    steps: int,
    seed: int,
    tell: Callable[[float], None] = lambda done: None,
) -> None:
    """The same fit without a run folder, for baselines and upper bounds. Trains ``dynamics`` in place.

    ``tell`` hears after each step which share is done. Steps are plain ones, not replayed as a CUDA graph: there are
    few, and the judge and the planner have no option that turns graphs off.
    """
    fit_scale(dynamics, table)
    step_of = DynamicsStep(dynamics, table, section, seed, graphs=False)
    for step in range(steps):
        set_rate(step_of.optimizer, section.learning_rate * one_cycle(step / steps))
        step_of(step)
        tell((step + 1) / steps)
    fit_calibration(dynamics, table, seed)


def fit_actions(dynamics: Dynamics, table: LatentWindows) -> None:
    """Keep mean, standard deviation and range of the table's action chunks, per dimension."""
    chunks = table.chunks(table.starts(1), 1)[:, 0]
    if chunks.numel():  # otherwise a world without actions, or no transition, which is refused elsewhere
        dynamics.data_action_mean.copy_(chunks.mean(0))
        dynamics.data_action_std.copy_(chunks.std(0, correction=0).clamp_min(1e-4))
        dynamics.data_action_low.copy_(chunks.amin(0))
        dynamics.data_action_high.copy_(chunks.amax(0))


def fit_scale(dynamics: Dynamics, table: LatentWindows) -> None:
    """Set the standardisation to the table's mean and standard deviation, per dimension."""
    fit_actions(dynamics, table)
    dynamics.action_mean.copy_(dynamics.data_action_mean)
    dynamics.action_std.copy_(dynamics.data_action_std)
    space = dynamics.predictor.space
    cells = (table.z[:, : space.cells] if space.grid else table.z).reshape(-1, space.dim)  # of a grid, every cell
    dynamics.latent_mean.copy_(cells.mean(0))
    dynamics.latent_std.copy_(cells.std(0, correction=0).clamp_min(1e-4))
    if space.registers:
        vector = table.z[:, space.cells :]
        dynamics.latent_mean[space.cells :] = vector.mean(0)
        dynamics.latent_std[space.cells :] = vector.std(0, correction=0).clamp_min(1e-4)


@torch.no_grad()
def fit_calibration(dynamics: Dynamics, table: LatentWindows, seed: int) -> None:
    """Bring the energies of a grid and of the vector beside it to one scale, on windows of the table."""
    if dynamics.calibration is None:
        return
    longest = max(n for n in range(1, HORIZON + 1) if n == 1 or len(table.starts(n)))
    starts = table.starts(longest)
    picks = np.random.default_rng([seed, *b"calibration"]).permutation(len(starts))[:CALIBRATED]
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in range(longest)]
    for part in torch.from_numpy(picks).split(CALIBRATED_AT_ONCE):
        z, actions = table.windows(starts[part.to(starts.device)], longest)
        z = dynamics.standardise(z)
        predicted, log_variance = dynamics.unroll(z[:, 0], actions)
        error = (predicted - z[:, 1:]).square()
        for k in range(longest):
            found[k].append((error[:, k], log_variance[:, k]))
    for k, parts in enumerate(found):
        error, log_variance = (torch.cat(values) for values in zip(*parts))
        dynamics.calibration.fit(error, log_variance, k + 1)


class DynamicsCriterion(nn.Module):
    """The losses of stage 2 on a batch of windows: rollout error, and likelihood of the one-step error.

    The variance head sees the error detached, so it does not trade accuracy for confidence. Of a grid with a vector,
    both losses are sums over the two, the cells' rollout error ``cells`` times, and the likelihood is of every step.

    With ``pushforward``, the second half of the batch starts from forecasts in place of true latents, and the rollout
    error is the mean over the halves: the predictor learns to go on from its own errors, at the cost of rolling it out
    without gradients (Brandstetter et al. 2022, "Message Passing Neural PDE Solvers", section 3.1).
    """

    def __init__(self, dynamics: Dynamics, section: schema.Prediction) -> None:
        super().__init__()
        self.dynamics, self.section = dynamics, section
        self.loss = RelativeErrorLoss() if section.relative else InvarianceLoss()

    def forward(self, z: Tensor, actions: Tensor, age: Tensor) -> tuple[Tensor, Tensor]:
        """Raw latents (B, pushforward + rollout + 1, *shape) and action chunks (B, pushforward + rollout, A) to two
        scalars. ``age``, int64 (B / 2,) in [1, pushforward], is how many model steps old each forecast is; (0,)
        without ``pushforward``."""
        z, steps, oldest = self.dynamics.standardise(z), self.section.rollout, self.section.pushforward
        if not oldest:
            return self._losses(z[:, 0], z[:, 1:], actions)
        half = len(age)
        error, likelihood = self._losses(z[:half, 0], z[:half, 1 : steps + 1], actions[:half, :steps])
        with torch.no_grad():
            forecasts = self.dynamics.rollout(z[half:, 0], actions[half:, :oldest])
        row = torch.arange(half, device=age.device)
        window = row[:, None], age[:, None] + torch.arange(steps, device=age.device)
        later, _ = self._losses(forecasts[row, age - 1], z[half:, 1:][window], actions[half:][window])
        return (error + later) / 2, likelihood

    def _losses(self, start: Tensor, true: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        space = self.dynamics.predictor.space
        if space.registers:
            predicted, log_variance = self.dynamics.unroll(start, actions)
            (cells, vector), (true_cells, true_vector) = space.split(predicted), space.split(true)
            of_cells, of_vector = space.split(log_variance)
            nll = GaussianNLL()
            likelihood = nll((true_cells - cells).detach(), of_cells).mean()
            likelihood = likelihood + nll((true_vector - vector).detach(), of_vector).mean()
            return self.section.cells * self.loss(cells, true_cells) + self.loss(vector, true_vector), likelihood
        predicted = self.dynamics.rollout(start, actions)
        _, log_variance = self.dynamics.predict(start, actions[:, 0])
        likelihood = GaussianNLL()((true[:, 0] - predicted[:, 0]).detach(), log_variance).mean()
        return self.loss(predicted, true), likelihood


class DynamicsStep:
    """One optimiser step of stage 2 after another, on windows of a table drawn by (seed, step); a CUDA graph where that
    can be and ``graphs`` says so.

    Raises ``TinyJEPAError`` where no episode is long enough.
    """

    def __init__(
        self, dynamics: Dynamics, table: LatentWindows, section: schema.Prediction, seed: int, *, graphs: bool = True
    ) -> None:
        self.table, self.section, self.seed = table, section, seed
        self.starts = _starts(table, section)
        self.optimizer = adamw(dynamics.parameters(), section.learning_rate, section.weight_decay)
        self.criterion = distributed.parallel(DynamicsCriterion(dynamics, section))
        named = self.criterion.named_parameters()
        self.clipped = [p for name, p in named if "dynamics.predictor." in name] if section.gradient_clip else []
        alone = distributed.world_size() == 1
        self.graph = StepGraph(self._work, self.optimizer, self.starts.device, wanted=graphs and alone)

    def __call__(self, step: int) -> dict[str, Tensor]:
        """Train on this process's share of a batch; its losses, which the next step may overwrite."""
        rng, section = np.random.default_rng([self.seed, step]), self.section
        picks = rng.integers(len(self.starts), size=section.batch)
        age = rng.integers(1, section.pushforward + 1, size=section.batch // 2 if section.pushforward else 0)
        mine = (distributed.mine(torch.from_numpy(part)) for part in (picks, age))
        return self.graph(*(to_device(part, self.starts.device) for part in mine))

    def _work(self, picks: Tensor, age: Tensor) -> dict[str, Tensor]:
        self.optimizer.zero_grad(set_to_none=True)
        prediction, likelihood = self.criterion(*self.table.windows(self.starts[picks], self.section.span), age)
        loss = prediction + likelihood
        loss.backward()
        if self.clipped:
            torch.nn.utils.clip_grad_norm_(self.clipped, self.section.gradient_clip)
        self.optimizer.step()
        return {"loss": loss.detach(), "prediction": prediction.detach(), "likelihood": likelihood.detach()}


def _starts(table: LatentWindows, section: schema.Prediction) -> Tensor:
    starts = table.starts(section.span)
    if len(starts) == 0:
        raise _too_short(section, table.stride)
    return starts


def _too_short(section: schema.Prediction, stride: int) -> TinyJEPAError:
    keys = "prediction.rollout, prediction.pushforward" if section.pushforward else "prediction.rollout"
    return TinyJEPAError(
        f"no training episode is longer than {section.span} model steps of {stride} frames: "
        f"collect longer episodes, or lower {keys} or observation.stride"
    )


class Told:
    """Says every so many seconds which share of something is done; ``hint`` follows where it takes minutes.

    With a large encoder on a CPU embedding outlasts the training.
    """

    def __init__(self, what: str, quiet: bool, hint: str = "", every: float = 10.0) -> None:
        self._what, self._quiet, self._hint, self._every = what, quiet, hint, every
        self._started = self._printed = time.monotonic()

    def __call__(self, done: float) -> None:
        now = time.monotonic()
        if self._quiet or now - self._printed < self._every:
            return
        self._printed, left = now, (now - self._started) * (1 - done) / done
        hint = f"; {self._hint}" if self._hint and left > 120 else ""
        print(f"{self._what}: {100 * done:.0f} %, {duration(left)} left{hint}", file=sys.stderr, flush=True)
