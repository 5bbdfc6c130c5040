"""Small models, costs and problems to plan with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from brain import recipes
from brain.models.world_model import WorldModel
from brain.parts import COSTS, PLANNERS
from brain.planning.actions import ActionSpace
from brain.planning.costs.base import Cost, Goal, Setting, WeightedSum
from brain.planning.dynamics import Dynamics, Imagined
from brain.planning.planners.base import Planner, Problem
from shared.store.reader import Store
from shared.worlds.base import World
from shared.worlds.tasks import Score, Task

SMALL = {
    "samples": 12, "iterations": 2, "elites": 4, "horizon": 5, "block": 2, "receding": 1, "fit_steps": 2, "nodes": 60,
}  # fmt: skip
"""Of every planner that has such options."""
RECIPE = [
    "observation.stack=2", "observation.stride=2", "encoder.dim=8", "encoder.width=8", "prediction.predictor.width=8",
]  # fmt: skip
GRID = [
    "encoder.width=8", "prediction.predictor.width=8", "objective.predictor.width=8", "observation.stack=2",
    "observation.stride=2",
]  # fmt: skip


def small_model(store: Store, *, grid: bool = False) -> WorldModel:
    """An untrained model of a store's world, whose latents are vectors, or a grid of cells."""
    torch.manual_seed(0)
    recipe = recipes.load("two-room-grid", GRID) if grid else recipes.load("car-racing", RECIPE)
    return WorldModel(recipe, store.spec).eval()


def planner(kind: str, space: ActionSpace, setting: Setting, **options: Any) -> Planner:
    part = PLANNERS.get(kind)
    known = {key: value for key, value in (SMALL | options).items() if key in part.Options.model_fields}
    made: Planner = part(part.Options(kind=kind, **known), space, setting)
    return made


def cost(kind: str, setting: Setting, **options: Any) -> Cost:
    part = COSTS.get(kind)
    known = {key: value for key, value in (SMALL | options).items() if key in part.Options.model_fields}
    made: Cost = part(part.Options(kind=kind, **known), setting)
    return made


def setting(
    dynamics: Dynamics, run: Path, store: Store | None = None, task: Task | None = None, seed: int = 0
) -> Setting:
    return Setting(task or Score("", 10, 2), dynamics, run, store, seed)


def model_problem(world: World, dynamics: Imagined, made: WeightedSum, number: int) -> Problem:
    """The first moment of an episode, with the first moment of another one as its goal."""
    frames, states = [], []
    for seed in (number, number + 100):
        frame, _ = world.reset(seed=seed)
        frames.append(frame)
        states.append(world.state())
    z, goal = (dynamics.observe(np.stack([frame] * dynamics.stack), state) for frame, state in zip(frames, states))
    return Problem(dynamics, made, z, Goal(goal, states[1], frames[1]))


class Drift:
    """Latents (N, 2) to which the action is added: the shortest way to a goal is known."""

    name = "drift"
    stack = stride = 1
    differentiable = True

    def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
        return torch.from_numpy(np.atleast_2d(states)[-1:])

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        moves = chunks if chunks.shape[2] == 2 else chunks[..., :2] - chunks[..., 2:4]
        return z[:, None] + moves.cumsum(1)


def inside(space: gym.Space[Any], row: np.ndarray) -> bool:
    """Whether a stored action, float32 (A,), is one of the space, as it is."""
    if isinstance(space, gym.spaces.Box):
        return bool(space.contains(row.reshape(space.shape).astype(space.dtype)))
    return bool(np.array_equal(gym.spaces.flatten(space, gym.spaces.unflatten(space, row)), row))
