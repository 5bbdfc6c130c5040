"""The interface of costs: imagined futures to a number, lower is better."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from brain.parts import COSTS
from brain.planning.dynamics import Dynamics
from brain.recipes.schema import PartOptions
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds.tasks import Task


@dataclass(frozen=True)
class Imagination:
    """The imagined futures of N plans of K model steps."""

    present: Tensor
    """(N, *L)"""
    future: Tensor
    """(N, K, *L)"""
    chunks: Tensor
    """float (N, K, stride * A): the actions"""

    @property
    def before(self) -> Tensor:
        """The latent before each step, (N, K, *L)."""
        return torch.cat([self.present[:, None], self.future[:, :-1]], 1)


@dataclass(frozen=True)
class Goal:
    """The goal of an episode."""

    z: Tensor
    """its latent, (1, *L)"""
    state: np.ndarray
    """its true state, float32 (S,): read by upper bounds only"""
    frame: np.ndarray
    """its picture, uint8 (H, W, C)"""


@dataclass(frozen=True)
class Setting:
    """The context in which a cost is used."""

    task: Task
    dynamics: Dynamics
    run: Path
    """the run folder, where learned parts are kept"""
    store: Store | None
    """episodes that learned parts are fitted to; None where there are none"""
    seed: int
    quiet: bool = True
    chosen: bool = True
    """whether ``store`` was chosen for the fit: parts that were fitted to another are then fitted anew, else kept"""
    fitted_to: dict[str, str] = field(default_factory=dict)
    """the stores that the learned parts in use were fitted to, by kind of part"""
    fitted_with: dict[str, dict[str, Any]] = field(default_factory=dict)
    """how they were fitted, by kind of part: optimiser steps, options of the loss, rows of the store, seed"""
    examples: dict[int, Any] = field(default_factory=dict)
    """embedded episodes (``brain.planning.learned.Examples``) by their thinning: heads that are fitted share them"""


class CostOptions(PartOptions):
    """Options of every cost."""

    registry = COSTS
    default = "goal-distance"

    kind: str = Field("", description=f"registered cost: {', '.join(COSTS)}")
    weight: float = Field(1.0, description="weight in the sum of costs")


class Cost:
    """Costs of imagined futures, (N,)."""

    Options: ClassVar[type[CostOptions]] = CostOptions
    """The options that ``brain plan --cost KIND:KEY=VALUE`` takes."""
    needs_goal: ClassVar[bool] = False
    vector_suffices: ClassVar[bool] = False
    """Whether the vector beside a grid tells it enough: then the cells need not be imagined."""
    threshold: float | None = None
    """What it reads from the run's ``judge.json``, where it does."""

    def __init__(self, options: Any, setting: Setting) -> None:
        """Raises ``TinyJEPAError`` if the setting lacks something it needs."""
        self.options = options

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        raise NotImplementedError


class WeightedSum:
    """Several costs, each times its weight."""

    def __init__(self, costs: list[Cost]) -> None:
        self.costs = costs

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        """float (N,)"""
        total = torch.zeros(len(imagined.present), dtype=imagined.future.dtype, device=imagined.future.device)
        for cost in self.costs:
            total = total + cost.options.weight * cost(imagined, goal)
        return total


def over_time(values: Tensor, when: str) -> Tensor:
    """Values (N, K) of K model steps to one: their ``last``, ``mean`` (the sum, whatever the horizon) or ``least``."""
    if when == "last":
        return values[:, -1]
    return values.mean(1) if when == "mean" else values.amin(1)


def needed(goal: Goal | None, kind: str) -> Goal:
    """The goal. Raises ``TinyJEPAError`` if the task has none."""
    if goal is None:
        raise TinyJEPAError(f"cost {kind} needs a goal, and this task has none: give another --cost, such as reward")
    return goal
