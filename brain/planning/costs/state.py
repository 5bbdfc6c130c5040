"""Costs of the true state: for upper bounds and tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from brain.planning.costs.base import Cost, Goal, Imagination, Setting, needed, over_time
from brain.planning.costs.distance import DistanceOptions
from brain.planning.dynamics import Copies, Counted, states_of
from shared.errors import TinyJEPAError
from shared.worlds.tasks import Reach


class TrueDistance(Cost):
    """The remaining distance to the goal as the task defines it (``Reach.remaining``), in its unit."""

    Options = DistanceOptions
    needs_goal = True

    def __init__(self, options: Any, setting: Setting) -> None:
        super().__init__(options, setting)
        self._dynamics = plain(setting)
        if self._dynamics.differentiable:
            raise TinyJEPAError("cost true-distance reads the true state: use it with --dynamics true")
        if not isinstance(setting.task, Reach):
            raise TinyJEPAError("cost true-distance needs a task with a goal: use true-reward")
        self._task = setting.task

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        target = needed(goal, "true-distance").state
        states = states_of(self._dynamics, imagined.future.flatten(0, 1))
        remaining = torch.from_numpy(self._task.remaining(states, target)).unflatten(0, imagined.future.shape[:2])
        return over_time(remaining, self.options.when)


class TrueReward(Cost):
    """Minus the reward earned by copies of the world."""

    def __init__(self, options: Any, setting: Setting) -> None:
        super().__init__(options, setting)
        if not isinstance(plain(setting), Copies):
            raise TinyJEPAError("cost true-reward needs a world that is copied: use it with --dynamics true")

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        return -imagined.future[:, -1, 0]


def plain(setting: Setting) -> Any:
    """The setting's dynamics without the counter."""
    return setting.dynamics.inner if isinstance(setting.dynamics, Counted) else setting.dynamics
