"""Running an agent, baselines and upper bounds on a task's episodes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from brain.planning import outcome
from brain.planning.agent import Agent, Decision
from brain.planning.costs.base import Goal, WeightedSum
from brain.planning.dynamics import Counted
from brain.planning.paths import PathReader
from brain.planning.planners.base import Plan, Planner
from shared.worlds.base import World
from shared.worlds.episode import Recording, play, record
from shared.worlds.policy import Held, Policy
from shared.worlds.tasks import Case, Reach, Task


@dataclass(frozen=True)
class Played:
    """A played episode."""

    case: Case
    recording: Recording
    goal: Goal | None
    distances: np.ndarray
    """float (T,): to the goal, in the task's unit, after each action; empty without a goal"""
    decisions: list[Decision] = field(default_factory=list)

    @property
    def score(self) -> float:
        return float(self.recording.reward.sum())


@dataclass(frozen=True)
class Options:
    """A policy with reset options: what ``play`` takes."""

    policy: Policy
    reset_options: dict[str, Any] | None

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        return self.policy.act(frame, state)


class Evaluation:
    """Plays a task's episodes. ``world`` is stepped; ``other`` shows goals and is never at the agent's moment."""

    def __init__(self, world: World, other: World, task: Task, seed: int) -> None:
        self.world, self.task, self.seed = world, task, seed
        self._other = other

    def seeds(self, number: int) -> np.random.SeedSequence:
        """The generator of episode ``number``, independent of the other episodes."""
        return np.random.SeedSequence([self.seed, number])

    def goal(self, case: Case, dynamics: Counted | None) -> Goal | None:
        """The goal as a frame, and as the dynamics encode it."""
        if case.goal is None:
            return None
        frame, _ = self._other.reset(seed=case.seed, options=case.goal)
        state = self._other.state()
        z = Tensor() if dynamics is None else dynamics.observe(np.stack([frame] * dynamics.stack), state)
        return Goal(z, state, frame)

    def agent(
        self, cases: Sequence[Case], dynamics: Counted, planner: Planner, cost: WeightedSum, first: int = 0
    ) -> Iterator[Played]:
        """Play episodes with the planner, one after the other; ``first`` is the number of the first in its list."""
        for number, case in enumerate(cases, first):
            goal = self.goal(case, dynamics)
            seed = int(self.seeds(number).generate_state(1)[0])
            agent = Agent(self.world, dynamics, planner, cost, goal, seed, case.start or None)
            yield self._play(case, goal, agent, agent.decisions)

    @property
    def baselines(self) -> list[str]:
        """Policies without a model: ``random``, and the task's guides, which read the true state."""
        return ["random", *self.task.guides]

    def baseline(self, name: str, cases: Sequence[Case]) -> Iterator[Played]:
        """Episodes under one of ``baselines``."""
        for number, case in enumerate(cases):
            rng, goal = np.random.default_rng(self.seeds(number)), self.goal(case, None)
            policy: Policy = Held(self.world, rng)
            if name != "random":
                self._other.reset(seed=case.seed, options=case.start or None)
                state = self._other.state()
                policy = self.task.guides[name](state, state if goal is None else goal.state, rng)
            yield self._play(case, goal, Options(policy, case.start or None), [])

    def again(self, case: Case, recording: Recording) -> Played:
        """An episode that was recorded before; its decisions are not known."""
        return self._played(case, self.goal(case, None), recording, [])

    def _play(self, case: Case, goal: Goal | None, policy: Policy, decisions: list[Decision]) -> Played:
        steps = play(self.world, case.seed, lambda: policy, self.task.steps)
        return self._played(case, goal, record(self.world, steps, self.task.steps), decisions)

    def _played(self, case: Case, goal: Goal | None, recording: Recording, decisions: list[Decision]) -> Played:
        distances = np.zeros(0)
        if goal is not None and isinstance(self.task, Reach):
            distances = self.task.distance(recording.state[1:].astype(np.float64), goal.state.astype(np.float64))
        return Played(case, recording, goal, distances, decisions)

    def figures(self, played: Sequence[Played]) -> dict[str, Any]:
        """Success or score of these episodes, and the cost of decisions, of those whose decisions are known."""
        if isinstance(self.task, Reach):
            groups = [one.case.group for one in played]
            found = outcome.reach_figures(self.task, [one.distances for one in played], groups)
        else:
            found = outcome.score_figures(self.task, [one.score for one in played])  # type: ignore[arg-type]
        return found | {"decision": outcome.decision_figures([one.decisions for one in played if one.decisions])}


def impossible_plans(task: Task, played: Played, reader: PathReader) -> list[bool]:
    """Of each plan of an episode, whether it does what the world forbids, such as walk through a wall.

    Empty where the task forbids nothing or the latents cannot be read. The layout is the true one of the moment.
    """
    if not isinstance(task, Reach) or type(task).impossible is Reach.impossible or not reader.reads:
        return []
    found = []
    for decision in played.decisions:
        path = reader.path(decision.plan.latents)
        path[0] = played.recording.state[decision.step]
        found.append(task.impossible(path))
    return found


def light(played: Played) -> Played:
    """The episode without its frames and imagined latents: enough for metrics."""
    recording = played.recording._replace(frame=played.recording.frame[:0])
    decisions = [
        replace(one, plan=Plan(one.plan.actions[:0], one.plan.latents[:0], one.plan.cost)) for one in played.decisions
    ]
    return replace(played, recording=recording, decisions=decisions)
