"""The agent: a policy that plans with imagined rollouts."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from brain.data.windows import OnlineWindow, Timing
from brain.planning.costs.base import Goal, WeightedSum
from brain.planning.dynamics import Counted
from brain.planning.planners.base import Plan, Planner, Problem
from shared.worlds.actions import Actions
from shared.worlds.base import World


@dataclass(frozen=True)
class Decision:
    """One call of the planner."""

    step: int
    """step of the episode at which it was made"""
    plan: Plan
    seconds: float
    core_seconds: float
    """processor time of this process, over all its threads"""
    predictor_steps: int
    """model steps imagined for it, over all plans"""


class Agent:
    """A ``shared.worlds.policy.Policy`` for one episode: history of frames and states, dynamics, planner, cost.

    It replans after ``receding`` model steps of the last plan. Everything random comes from ``seed``.
    """

    def __init__(
        self,
        world: World,
        dynamics: Counted,
        planner: Planner,
        cost: WeightedSum,
        goal: Goal | None,
        seed: int,
        reset_options: dict[str, Any] | None = None,
    ) -> None:
        self.reset_options = reset_options
        self.decisions: list[Decision] = []
        self._actions = Actions(world.action_space)
        self._dynamics, self._planner, self._cost, self._goal = dynamics, planner, cost, goal
        self._generator = torch.Generator().manual_seed(seed)
        timing = Timing(dynamics.stack, dynamics.stride)
        self._frames, self._states = OnlineWindow(timing), OnlineWindow(timing)
        self._rows: deque[np.ndarray] = deque()
        self._step = 0

    @property
    def decided(self) -> bool:
        """Whether the next action is part of the present plan; else ``act`` plans first, which may take seconds."""
        return bool(self._rows)

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        """A model of pictures reads the frames only; upper bounds, and models that see coordinates, read the state."""
        self._frames.add(frame.copy())  # a world may draw the next one into the same array
        self._states.add(state.copy())
        if not self._rows:
            self._decide()
        self._step += 1
        return self._actions.action(self._rows.popleft())

    def _decide(self) -> None:
        started, core, counted = time.perf_counter(), time.process_time(), self._dynamics.steps
        z = self._dynamics.observe(self._frames.padded(), self._states.padded())
        before = self.decisions[-1].plan if self.decisions else None
        plan = self._planner.plan(Problem(self._dynamics, self._cost, z, self._goal), self._generator, before)
        seconds, core_seconds = time.perf_counter() - started, time.process_time() - core
        self.decisions.append(Decision(self._step, plan, seconds, core_seconds, self._dynamics.steps - counted))
        for action in plan.actions[: self._planner.options.receding].cpu().numpy():
            self._rows.extend([action] * self._dynamics.stride)
