"""The planner as the one who acts: goals that people point at, decisions on a thread of their own, imagined paths."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from brain.live.imagining import Drawing, Moving, Standing, Watched, apart
from brain.live.places import Places
from brain.planning.agent import Agent
from brain.planning.costs.base import Goal
from brain.planning.dynamics import Imagined
from brain.planning.job import DEFAULTS, Choices, Job, cost_options, default_planner, planner_options
from shared.errors import TinyJEPAError
from shared.worlds.base import World
from shared.worlds.tasks import Case, Reach, Task, tasks

SOME = 8
"""A decision that imagined fewer paths follows an earlier one, whose paths stay in the picture if that stands still."""


@dataclass(frozen=True)
class Acting:
    """Which planner acts, with the texts that ``brain plan`` takes."""

    planner: str | None = None
    """None: one of ``DEFAULTS``"""
    options: tuple[str, ...] = ()
    costs: tuple[str, ...] = ()
    dynamics: str = "model"

    def check(self) -> None:
        """Raise ``TinyJEPAError`` for a planner, option or cost that there is not, whatever the world."""
        kinds = (self.planner,) if self.planner is not None else DEFAULTS
        for kind in kinds:
            try:
                planner_options(kind, self.options)
                break
            except TinyJEPAError:
                if kind == kinds[-1]:
                    raise
        for text in self.costs:
            cost_options(text)

    def choices(self, task: Task, run: Path, trust_world: bool) -> Choices:
        planner = self.planner or default_planner(task, run)
        return Choices(None, planner, self.options, self.costs, self.dynamics, trust_world=trust_world)


class Pilot:
    """Acts in one world at a time, towards a goal that may change, for a whole scene.

    What it does follows from the seed and the calls of ``begin``, ``point`` and ``again``; how long a decision takes
    does not matter. All methods are called from one thread.
    """

    latents: Tensor | None
    """of the present plan, (K + 1, *L)"""
    _way: np.ndarray | None
    _tried: list[np.ndarray]
    _took: float | None
    _passed: int
    """frames since the present plan was made"""

    def __init__(self, job: Job, seed: int) -> None:
        self.job = job
        self.version = 0
        """grows whenever there is something new to draw"""
        self._seeds = np.random.default_rng([seed, 2])  # 0 and 1 are the two trajectories'
        self._thread = ThreadPoolExecutor(1, "planner")
        self._agent: Agent | None = None
        self._goal: Goal | None = None
        self._action: Future[Any] | None = None
        self._drawing: Drawing | None = None
        self.leave()

    @property
    def points(self) -> bool:
        """Whether a point of the picture sets the goal."""
        return type(self.job.task).pointed is not Reach.pointed if isinstance(self.job.task, Reach) else False

    def case(self, rng: np.random.Generator) -> Case:
        """An episode to begin with: of the task's kind, but drawn anew."""
        return self.job.task.case(rng, int(rng.integers(2**31)))

    def begin(self, case: Case) -> None:
        """Act from the start of an episode, towards its goal."""
        self._goal, self._seed = self.job.evaluation.goal(case, self.job.dynamics), case.seed
        self._renew()

    def point(self, world: World, across: float, down: float) -> None:
        """Act from here, the world's present moment, towards a point of the picture (shares, [0, 1]).

        The goal is shown in the episode that the world is in: of the seed that it was reset with last.
        """
        task = tasks(world)[self.job.name]
        assert isinstance(task, Reach)
        options = task.pointed(world.state(), across, down)
        if options is None:
            raise TinyJEPAError("a point of the picture sets no goal in this world")
        self.begin(Case(world.np_random_seed, goal=options))

    def again(self, world: World) -> None:
        """The world has changed, by no action: forget the plan, and keep the goal's place."""
        place = self._place_of_goal()
        if place and self.points:
            self.point(world, *place)
        else:
            self._renew()

    def leave(self) -> None:
        """Somebody else acts."""
        self._abandon()
        self._agent = self._goal = None
        self._watched = Watched(self.job.dynamics, None)
        self.version += 1

    def close(self) -> None:
        self._abandon()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def ready(self, frame: np.ndarray, state: np.ndarray, patience: float) -> bool:
        """Whether the next action is known, or becomes so within ``patience`` seconds; else it is being planned."""
        agent = self._acting()
        if self._action is None:
            if agent.decided:
                return True
            self._watched.forget()
            self._began = time.perf_counter()
            self._action = self._thread.submit(agent.act, frame, state)
        wait([self._action], patience)
        return self._action.done()

    def act(self, frame: np.ndarray, state: np.ndarray) -> Any:
        """The action for this frame; waits for the planner. Raises what the planner raises."""
        agent = self._acting()
        self._passed += 1
        if self._drawing is not None and self._drawing.moving:
            self.version += 1
        if self._action is None and agent.decided:
            return agent.act(frame, state)
        self.ready(frame, state, 0)
        planned, self._action = self._action, None
        assert planned is not None
        action = planned.result()
        took = time.perf_counter() - self._began
        del agent.decisions[:-1]
        self.latents = agent.decisions[-1].plan.latents
        self._way, self._passed, kept = None, 1, self._watched.kept
        if self._drawing is not None:
            self._way = self._drawing.path(self.latents)
        if self._drawing is None or self._drawing.moving or len(kept) >= SOME or not self._tried:
            self._tried, self._took, self._steps = kept, took, self._watched.steps - self._watched.before
        self.version += 1
        return action

    @property
    def goal(self) -> Goal | None:
        return self._goal

    @property
    def busy(self) -> float | None:
        """Seconds since the decision that is being made began; None where none is."""
        if self._action is None or self._action.done():
            return None
        return time.perf_counter() - self._began

    def view(self, world: World) -> dict[str, Any]:
        """What is to be drawn into the picture of the world. Places are shares of its width and height.

        ``way``: the present plan, ``ahead`` model steps long. ``paths``: what was imagined for it, or is being
        imagined, by ``steps`` predictor steps in ``took`` seconds. ``busy``: seconds since the decision that is being
        made began, or None.
        """
        busy = self.busy
        kept, passed = self._tried, self._passed
        if busy is not None and len(self._watched.kept) >= SOME:
            kept, passed = self._watched.kept, 0
        return {
            "acting": self._agent is not None,
            "goal": self._place_of_goal(),
            "way": [] if self._way is None else self._drawn(world, [self._way], self._passed)[0],
            "paths": self._drawn(world, kept, passed),
            "busy": busy,
            "took": self._took,
            "steps": self._steps if busy is None else self._watched.steps - self._watched.before,
            "ahead": max(0, len(self.latents) - 1) if self.latents is not None else 0,
        }

    def _drawn(self, world: World, kept: list[np.ndarray], passed: int) -> list[list[list[float]]]:
        """Places of what was kept of paths."""
        if self._drawing is None:
            return []
        places = self._drawing.places(world, kept, passed)
        return [path.tolist() for path in (apart(places, set()) if self._drawing.moving else places)]

    def _acting(self) -> Agent:
        if self._agent is None:
            self._renew()
        assert self._agent is not None
        return self._agent

    def _renew(self) -> None:
        """An agent that has seen nothing yet."""
        self._abandon()
        job = self.job
        self._drawing = self._chosen_drawing()
        self._watched = Watched(job.dynamics, self._drawing)
        seed = int(self._seeds.integers(2**31))
        self._agent = Agent(job.world, self._watched, job.planner, job.cost, self._goal, seed)
        self.version += 1

    def _abandon(self) -> None:
        if self._action is not None:
            self._watched.abandoned = True
            self._action = None
        self._way, self._tried, self.latents, self._took, self._steps = None, [], None, None, 0
        self._passed = 0
        self._began = time.perf_counter()

    def _chosen_drawing(self) -> Drawing | None:
        """How what is imagined is drawn in the picture; None where it cannot be."""
        task, job, goal = self.job.task, self.job, self._goal
        if not isinstance(task, Reach) or type(task).places is Reach.places:
            courses = type(job.world).course is not World.course and job.reader.reads
            return Moving(job.reader, job.dynamics.stride) if courses else None
        if self.points and goal is not None and isinstance(job.dynamics.inner, Imagined):
            seed = self._seed
            made: list[Places] = []

            def locate(latents: Tensor) -> np.ndarray:
                if not made:  # first by the planner's thread, which nothing waits for
                    made.append(Places(task, job.world, job.dynamics, seed, goal.state))
                return made[0](latents)

            return Standing(locate)
        return Standing(self._read) if job.reader.reads else None

    def _read(self, latents: Tensor) -> np.ndarray:
        assert isinstance(self.job.task, Reach)
        places = self.job.task.places(self.job.reader.path(latents))
        assert places is not None
        return places

    def _place_of_goal(self) -> tuple[float, float] | None:
        task = self.job.task
        if self._goal is None or not isinstance(task, Reach):
            return None
        places = task.places(self._goal.state[None].astype(np.float64))
        return None if places is None else (float(places[0, 0]), float(places[0, 1]))
