"""Planners where the model or a cost fails, worlds that reuse what they return, and dynamics that do not suit."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from brain.parts import PLANNERS
from brain.planning.actions import ActionSpace
from brain.planning.agent import Agent
from brain.planning.costs.base import Cost, CostOptions, Goal, Imagination, WeightedSum
from brain.planning.dynamics import Copies, Counted, Imagined
from brain.planning.planners.base import Problem
from factory.cli import cli as factory
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds import make_world
from tests.support.planning import Drift, cost, inside, model_problem, planner, setting, small_model

SEARCHES = [kind for kind in PLANNERS if not PLANNERS.get(kind).learned]
BOX = gym.spaces.Box(-1, 1, (2,), np.float32)


class Broken(Cost):
    """These values in turn for the plans that begin to the right, else nothing."""

    values: tuple[float, ...] = ()

    def __call__(self, imagined: Imagination, goal: Goal | None) -> Tensor:
        turn = torch.tensor(self.values).repeat(len(imagined.chunks))[: len(imagined.chunks)]
        return torch.where(imagined.chunks[:, 0, 0] > 0, turn, 0.0)


def to_the_goal(kind: str, tmp_path: Path, *values: float) -> tuple[object, Problem]:
    given = setting(Drift(), tmp_path)
    broken = Broken(CostOptions(kind="broken"), given)
    broken.values = values
    total = WeightedSum([cost("goal-distance", given, when="last"), broken])
    goal = torch.tensor([[2.0, -1.0]])
    problem = Problem(Drift(), total, torch.zeros(1, 2), Goal(goal, goal[0].numpy(), np.zeros((1, 1, 1), np.uint8)))
    return planner(kind, ActionSpace(BOX), given, samples=40, horizon=4, block=1), problem


@pytest.mark.parametrize("values", [(np.inf,), (-np.inf,), (np.inf, np.nan), (-np.inf, np.nan, np.inf)], ids=str)
@pytest.mark.parametrize("kind", SEARCHES)
def test_costs_that_are_not_finite_are_not_chosen(kind: str, values: tuple[float, ...], tmp_path: Path) -> None:
    part, problem = to_the_goal(kind, tmp_path, *values)
    plan = part.plan(problem, torch.Generator().manual_seed(0))
    assert np.isfinite(plan.cost) and plan.actions.isfinite().all()
    assert plan.actions[0, 0] <= 0 or kind == "tree", "whose moments are each judged by themselves"


def test_plans_without_a_finite_cost_do_not_move_the_mean(tmp_path: Path) -> None:
    """Of mppi: to the right nothing is finite, so that all that it averages leads to the left."""
    part, problem = to_the_goal("mppi", tmp_path, np.inf, np.nan)
    proposal = part.plan(problem, torch.Generator().manual_seed(0)).memory["proposal"]
    assert proposal.mean.isfinite().all() and proposal.mean[0, 0] < 0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("walked") / "store"
    small = ["--local", "--quiet", "--episodes", "6", "--max-episode-steps", "12", "--frame-size", "16"]
    assert run(factory, "factory", ["collect", "--world", "two-room", "--store", str(path), *small]) == 0
    return Store(path)


@pytest.mark.parametrize("kind", PLANNERS.names())
def test_a_model_that_explodes_leaves_actions_in_the_space(kind: str, store: Store, tmp_path: Path) -> None:
    """Two decisions, the second of which begins at the first: no imagined latent is finite."""
    dynamics = Imagined(small_model(store))
    world = make_world("two-room", 16)
    given = setting(dynamics, tmp_path, store)
    total = WeightedSum([cost("goal-distance", given), cost("control", given)])
    options = {"receding": 2, "horizon": 4}
    part = planner(kind, ActionSpace(world.action_space, dynamics.typical), given, **options)
    problem = model_problem(world, dynamics, total, 0)
    for parameter in dynamics.model.dynamics.predictor.parameters():
        parameter.data.fill_(1e30)
    assert not dynamics.rollout(problem.z, torch.ones(1, 2, 2 * dynamics.stride)).isfinite().any()
    before, generator = None, torch.Generator().manual_seed(0)
    for _ in range(2):
        before = part.plan(problem, generator, before)
        assert len(before.actions) >= 2
        assert all(inside(world.action_space, row) for row in before.actions.numpy())


def test_a_branch_that_explodes_does_not_end_a_tree(tmp_path: Path) -> None:
    """A step far to the left does: what lies elsewhere is reached all the same."""

    class Cliff(Drift):
        def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
            future = super().rollout(z, chunks)
            return torch.where(future[..., :1] < -0.5, torch.nan, future)

    given = setting(Cliff(), tmp_path)
    goal = torch.tensor([[9.0, 0.0]])
    total = WeightedSum([cost("goal-distance", given)])
    part = planner("tree", ActionSpace(BOX), given, nodes=200, horizon=3, block=1)
    shown = Goal(goal, goal[0].numpy(), np.zeros((1, 1, 1), np.uint8))
    plan = part.plan(Problem(Cliff(), total, torch.zeros(1, 2), shown), torch.Generator().manual_seed(0))
    assert plan.latents.isfinite().all() and (plan.latents[-1] - goal).norm() < 2


def test_a_tree_does_not_grow_in_copies_of_a_world(tmp_path: Path) -> None:
    """They start at the present only, whatever moment is to be gone on from."""
    world = make_world("two-room", 16)
    given = setting(Counted(Copies(world)), tmp_path)
    with pytest.raises(TinyJEPAError, match="--planner cem"):
        planner("tree", ActionSpace(world.action_space), given)


def test_an_agent_remembers_frames_that_a_world_draws_over(tmp_path: Path) -> None:
    class Seen(Drift):
        stack = 2
        frames = np.zeros(0)
        states = np.zeros(0)

        def observe(self, frames: np.ndarray, states: np.ndarray) -> Tensor:
            self.frames, self.states = frames, states
            return torch.zeros(1, 2)

    world, dynamics = make_world("two-room", 16), Seen()
    given = setting(dynamics, tmp_path)
    part = planner("shooting", ActionSpace(world.action_space), given)
    goal = Goal(torch.ones(1, 2), np.zeros(2), np.zeros((1, 1, 1), np.uint8))
    agent = Agent(world, Counted(dynamics), part, WeightedSum([cost("goal-distance", given)]), goal, seed=0)
    frame, state = np.zeros((4, 4, 3), np.uint8), np.zeros(2, np.float32)
    for value in (1, 2, 3):
        frame[:], state[:] = value, value
        agent.act(frame, state)
    assert [one.max() for one in dynamics.frames] == [one.max() for one in dynamics.states] == [2, 3]
