"""Steps of training for benchmarks: a recipe's first stage, data to run it on, and how to time either."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from brain.data.windows import Batch
from brain.device import pick_precision
from brain.models.world_model import WorldModel
from brain.objectives.base import Terms, make_objective
from brain.recipes.schema import Recipe
from brain.runs.folder import Compute
from brain.training.encoder import EncoderStep
from shared.store.dataset import create_store
from shared.store.schema import Episode, RunSpec, StoreSpec
from shared.store.writer import StreamWriter
from shared.worlds import make_world
from shared.worlds.base import action_dim
from shared.worlds.episode import play, record
from shared.worlds.policy import Held


class EncoderTraining:
    """Stage 1 of a recipe, a step at a time, as ``brain train`` does it, without its data and log."""

    def __init__(
        self, recipe: Recipe, spec: StoreSpec, device: torch.device, seed: int = 0, *,
        graphs: bool = True, compiled: bool = False,
    ) -> None:  # fmt: skip
        torch.manual_seed(seed)
        self.recipe, self.device = recipe, device
        self.model = WorldModel(recipe, spec).to(device)
        self.objective = make_objective(recipe, self.model.encoder, self.model.action_dim).to(device)
        self.objective.begin(self.model.encoder)
        self.precision = pick_precision("auto", device)
        compute = Compute(self.precision, compiled=compiled)
        self.step_of = EncoderStep(self.model.encoder, self.objective, compute, device, graphs=graphs)
        self.model.encoder.train()
        self.objective.train()

    @property
    def images(self) -> int:
        """Observations of a batch."""
        return self.recipe.objective.batch * (self.objective.steps + 1)

    def step(self, batch: Batch, number: int) -> Terms:
        """One optimiser step; its terms are overwritten by the next."""
        self.objective.before_step(0.5)
        terms = self.step_of(batch, number)
        self.objective.after_step(self.model.encoder, 0.5)
        return terms

    def random_batch(self, spec: StoreSpec) -> Batch:
        """A batch of noise on the device."""
        count, steps = self.recipe.objective.batch, self.objective.steps
        frames = torch.randint(0, 256, (count, self.recipe.observation.stack + steps, *spec.frame_shape))
        actions = torch.randn(count, steps, self.model.action_dim)
        return Batch(frames.to(torch.uint8).to(self.device), actions.to(self.device))


def make_store(path: Path, world: str, frames: int) -> Path:
    """A store of about so many frames of a world under random actions, held for a few steps each."""
    made = make_world(world)
    shape = made.observation_space.shape or ()
    spec = create_store(
        path,
        StoreSpec(
            world=world, frame_shape=(shape[0], shape[1], shape[2]), action_dim=action_dim(made.action_space),
            state_names=tuple(made.state_names), control_rate=made.control_rate, split="blocks",
        ),
    )  # fmt: skip
    longest = min(made.max_episode_steps, max(40, frames // 50))
    written = 0
    with StreamWriter(path, spec, RunSpec(seed=0, policy="uniform", max_episode_steps=longest), 0) as writer:
        for index in range(frames):
            policy = Held(made, np.random.default_rng(index))
            rows = record(made, play(made, index, lambda policy=policy: policy, longest), longest)  # type: ignore[misc]
            writer.append(Episode(
                index, index, "uniform", rows.frame, rows.action, rows.reward, rows.state, rows.terminated,
                rows.truncated or not rows.terminated,
            ))  # fmt: skip
            written += len(rows.frame)
            if written >= frames and index >= 40:  # every split has episodes
                break
    made.close()
    return path


def wait_for(device: torch.device) -> None:
    """Until the device has done everything it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def rate(step: Callable[[int], object], device: torch.device, seconds: float, warm: int = 3) -> float:
    """Steps per second, over at least ``seconds`` after ``warm`` steps; the device has finished at both ends."""
    for number in range(warm):
        step(number)
    wait_for(device)
    started, number = time.perf_counter(), warm
    while number == warm or time.perf_counter() - started < seconds:
        step(number)
        number += 1
    wait_for(device)
    return (number - warm) / (time.perf_counter() - started)


def interleaved(variants: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """The figure of every variant, repeat by repeat: the machine's mood is the same for all."""
    found: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats):
        for name, measure in variants.items():
            found[name].append(measure())
    return found


def spread(values: Sequence[float], digits: int = 0) -> str:
    """``median [min-max]``."""
    low, middle, high = min(values), median(values), max(values)
    return f"{middle:,.{digits}f} [{low:,.{digits}f}–{high:,.{digits}f}]"


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    return [value / other for value, other in zip(values, base)]


def rows_of(table: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table, the first row its head."""
    head, *body = table
    for row in (head, ["---"] * len(head), *body):
        yield "| " + " | ".join(row) + " |"
