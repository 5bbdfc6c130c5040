"""One contract for every registered planner, on every world that can be acted in; and what each is for."""

from __future__ import annotations

import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
from torch import Tensor

from brain.parts import COSTS, PLANNERS
from brain.planning.actions import ActionSpace, Categorical, Gaussian, Typical, coloured, shift
from brain.planning.costs.base import Goal, WeightedSum
from brain.planning.dynamics import Counted, Imagined
from brain.planning.learned import Head
from brain.planning.paths import Linear
from brain.planning.planners.base import Plan, Problem
from factory.cli import cli as factory
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds import WORLDS, make_world
from tests.support.planning import SMALL, Drift, cost, inside, model_problem, planner, setting, small_model

ACTED = {name: {} for name in WORLDS if name != "bouncing-logo"} | {
    "double-pendulum": {"torque": True},
    "CartPole-v1": {},
}
"""Worlds in which somebody can act, and the options that they need for it."""
GRID = "two-room, grid"
"""The two rooms, seen by a model whose latents are a grid of cells."""
SEARCHES = [kind for kind in PLANNERS if not PLANNERS.get(kind).learned]
SPACES = {
    "box": gym.spaces.Box(np.array([-1, 0, -5], np.float32), np.array([1, 2, -4], np.float32)),
    "unbounded": gym.spaces.Box(-np.inf, np.inf, (2,), np.float32),
    "integers": gym.spaces.Box(0, 9, (2,), np.int64),
    "discrete": gym.spaces.Discrete(4),
    "multi-discrete": gym.spaces.MultiDiscrete([2, 3]),
    "multi-binary": gym.spaces.MultiBinary(3),
}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Six short episodes of every world that can be acted in."""
    folder = tmp_path_factory.mktemp("acted")
    small = ["--local", "--quiet", "--episodes", "6", "--max-episode-steps", "12", "--frame-size", "16"]
    for world, options in ACTED.items():
        given = [word for key, value in options.items() for word in ("--option", f"{key}={str(value).lower()}")]
        assert (
            run(factory, "factory", ["collect", "--world", world, "--store", str(folder / world), *small, *given]) == 0
        )
    return {world: folder / world for world in ACTED}


def generators(numbers: list[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(number) for number in numbers]


@pytest.mark.parametrize("world", [*ACTED, GRID])
@pytest.mark.parametrize("kind", PLANNERS.names())
def test_a_planner_on_a_world(kind: str, world: str, stores: dict[str, Path], tmp_path: Path) -> None:
    """Two plans of each of seven episodes: inside the space, held in blocks, and the same alone as in company."""
    grid, world = world == GRID, world.removesuffix(", grid")
    store = Store(stores[world])
    dynamics = Imagined(small_model(store, grid=grid))
    made = make_world(world, 16, **store.spec.world_options)
    space, given = ActionSpace(made.action_space, dynamics.typical), setting(dynamics, tmp_path, store)
    total = WeightedSum([cost("goal-distance", given), cost("control", given)])
    part = planner(kind, space, given)
    problems = [model_problem(made, dynamics, total, number) for number in range(7)]

    drawn = generators([*range(7)])
    first = [part.plan(*each) for each in zip(problems, drawn)]
    second = [part.plan(*each) for each in zip(problems, drawn, first)]
    (generator,) = generators([3])
    alone = part.plan(problems[3], generator)
    then = part.plan(problems[3], generator, alone)
    for one, other in ((alone, first[3]), (then, second[3])):
        assert torch.equal(one.actions, other.actions) and torch.equal(one.latents, other.latents)
        assert one.cost == other.cost and np.isfinite(one.cost)
    for plan in [*first, *second]:
        assert len(plan.actions) == part.options.horizon or (
            kind == "tree" and len(plan.actions) > part.options.horizon
        )
        assert plan.actions.shape[1:] == (space.dim,)
        assert plan.latents.shape == (len(plan.actions) + 1, *problems[0].z.shape[1:])
        assert plan.latents.isfinite().all()
        assert all(inside(made.action_space, row) for row in plan.actions.numpy())
        if kind in SEARCHES and kind != "tree":  # the way of a tree goes on where it was left, within a block too
            assert torch.equal(plan.actions[0:4:2], plan.actions[1:4:2])


@pytest.mark.parametrize("name", SPACES)
def test_whatever_is_proposed_lies_in_the_space(name: str) -> None:
    space = ActionSpace(SPACES[name])
    proposal = space.proposal(5)
    plans = proposal.sample(50, torch.Generator().manual_seed(0), 2.0)
    fitted = proposal.fit(plans[:6], torch.full((6,), 1 / 6), 0.1)
    later = fitted.shifted(3, 2)
    relaxed = space.nearest(
        space.relaxed(10 * torch.randn(50, 5, space.dim, generator=torch.Generator().manual_seed(1)))
    )
    for rows in (plans, relaxed, later.sample(50, torch.Generator()), later.best()[None]):
        for row in rows.flatten(0, 1).numpy():
            assert inside(SPACES[name], row)
            action = space.action(row, SPACES[name])
            assert SPACES[name].contains(action)
            assert np.array_equal(np.asarray(gym.spaces.flatten(SPACES[name], action), np.float32), row)
    assert len(np.unique(plans.numpy(), axis=0)) > 10


def drifting(kind: str, tmp_path: Path, space: gym.Space, **options: object) -> tuple[object, Problem]:
    given = setting(Drift(), tmp_path)
    total = WeightedSum([cost("goal-distance", given, when="last")])
    goal = torch.tensor([[2.0, -1.0]])
    problem = Problem(Drift(), total, torch.zeros(1, 2), Goal(goal, goal[0].numpy(), np.zeros((1, 1, 1), np.uint8)))
    return planner(kind, ActionSpace(space), given, **options), problem


@pytest.mark.parametrize("kind", SEARCHES)
def test_a_search_finds_a_way_that_is_known(kind: str, tmp_path: Path) -> None:
    """The goal is 2 right and 1 down, in steps of at most 1: a Box, and the four directions of a Discrete."""
    options = {"horizon": 4, "block": 1, "samples": 200, "iterations": 12, "elites": 20}
    part, problem = drifting(kind, tmp_path, gym.spaces.Box(-1, 1, (2,), np.float32), **options)
    plan = part.plan(problem, torch.Generator().manual_seed(0))
    assert plan.cost < 0.02 and torch.allclose(plan.latents[-1], torch.tensor([2.0, -1.0]), atol=0.2)
    part, problem = drifting(kind, tmp_path, gym.spaces.Discrete(4), **options | {"horizon": 3})
    plan = part.plan(problem, torch.Generator().manual_seed(0))
    assert plan.cost == 0 and sorted(plan.actions.argmax(1).tolist()) == [0, 0, 3]


@pytest.mark.parametrize("kind", [kind for kind in SEARCHES if kind != "tree"])
def test_a_warm_start_is_read(kind: str, tmp_path: Path) -> None:
    """Ten plans of a few samples each: one that begins at the last one's ends up nearer than one that never does."""
    reached = {}
    for warm in (True, False):
        options = {"horizon": 6, "block": 2, "samples": 6, "iterations": 1, "elites": 2, "receding": 2}
        part, problem = drifting(kind, tmp_path, gym.spaces.Box(-1, 1, (2,), np.float32), **options, warm_start=warm)
        generator, costs = torch.Generator().manual_seed(0), []
        before: Plan | None = None
        for _ in range(20):
            before = part.plan(problem, generator, before)
            costs.append(before.cost)
        reached[warm] = np.mean(costs[5:])
    assert reached[True] < reached[False]


@pytest.mark.parametrize("kind", SEARCHES)
def test_costs_that_are_no_numbers_are_not_chosen(kind: str, tmp_path: Path) -> None:
    class Broken(Drift):
        differentiable = True

        def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
            future = super().rollout(z, chunks)
            return torch.where(chunks[:, :1, :1] > 0, torch.nan, future)

    part, problem = drifting(kind, tmp_path, gym.spaces.Box(-1, 1, (2,), np.float32), samples=40, horizon=4, block=1)
    plan = part.plan(Problem(Broken(), problem.cost, problem.z, problem.goal), torch.Generator().manual_seed(0))
    assert np.isfinite(plan.cost) and plan.actions[0, 0] <= 0


class Walled(Drift):
    """A plane with a wall at x = 1 whose gate is at y > 1.5; a step into the wall does not happen."""

    def __init__(self, leak: float = 0.0) -> None:
        self.leak = leak
        """half the height, about y = 0, of a gap that the wall does not have in truth"""

    def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
        steps = []
        for action in chunks.unbind(1):
            to = z + action
            share = (1 - z[:, 0]) / (to[:, 0] - z[:, 0])
            y = z[:, 1] + share * (to[:, 1] - z[:, 1])
            stopped = ((z[:, 0] < 1) != (to[:, 0] < 1)) & (y < 1.5) & (y.abs() >= self.leak)
            z = torch.where(stopped[:, None], z, to)
            steps.append(z)
        return torch.stack(steps, 1)


def walk(kind: str, tmp_path: Path, imagined: Drift, *, plans: int = 10, seed: int = 0, **options: object) -> float:
    """Distance from the goal beyond the wall after the three steps of each of so many plans."""
    given = setting(imagined, tmp_path)
    total = WeightedSum([cost("goal-distance", given)])
    goal = torch.tensor([[2.0, 0.0]])
    part = planner(kind, ActionSpace(gym.spaces.Box(-0.3, 0.3, (2,), np.float32)), given, **options)
    z, before, generator = torch.zeros(1, 2), None, torch.Generator().manual_seed(seed)
    for _ in range(plans):
        problem = Problem(imagined, total, z, Goal(goal, goal[0].numpy(), np.zeros((1, 1, 1), np.uint8)))
        before = part.plan(problem, generator, before)
        for action in before.actions[: part.options.receding]:
            z = Walled().rollout(z, action[None, None])[:, 0]
    return float((z - goal).norm())


def test_a_tree_finds_a_detour_that_the_distance_knows_nothing_of(tmp_path: Path) -> None:
    """The way through the gate leads away from the goal first; cem, under the same distance, stays at the wall."""
    options = {"horizon": 6, "receding": 3, "block": 3, "samples": 24}
    assert walk("tree", tmp_path, Walled(), nodes=300, **options) < 0.2
    assert walk("cem", tmp_path, Walled(), **options) > 0.9


def test_a_tree_keeps_a_way_that_still_leads_there(tmp_path: Path) -> None:
    dynamics = Counted(Walled())
    given = setting(dynamics, tmp_path)
    goal = torch.tensor([[2.0, 0.0]])
    total = WeightedSum([cost("goal-distance", given)])
    part = planner("tree", ActionSpace(gym.spaces.Box(-0.3, 0.3, (2,), np.float32)), given, nodes=300, horizon=3)
    shown = Goal(goal, goal[0].numpy(), np.zeros((1, 1, 1), np.uint8))
    first = part.plan(Problem(dynamics, total, torch.zeros(1, 2), shown), torch.Generator().manual_seed(0))
    grown, dynamics.steps = dynamics.steps, 0
    second = part.plan(Problem(dynamics, total, first.latents[1:2], shown), torch.Generator().manual_seed(0), first)
    assert torch.equal(second.actions, first.actions[1:]) and dynamics.steps < grown / 10


def test_a_tree_does_not_imagine_again_what_did_not_come_true(tmp_path: Path) -> None:
    """The model believes in a gap in the wall: when the agent has run into it, it takes the gate.

    Where it runs into the gap, and how often, differs by seed and by processor: it has the time for any of them.
    """
    options = {"horizon": 6, "receding": 3, "block": 3, "samples": 24, "plans": 20}
    for seed in range(4):
        assert walk("tree", tmp_path, Walled(leak=0.2), seed=seed, nodes=300, **options) < 0.2
        assert walk("cem", tmp_path, Walled(leak=0.2), seed=seed, **options) > 0.9


def test_typical_actions_narrow_a_box() -> None:
    box = gym.spaces.Box(-10, 10, (2,), np.float32)
    least, most = torch.tensor([-0.5, -40.0]), torch.tensor([2.5, 60.0])
    space = ActionSpace(box, Typical(torch.tensor([1.0, 0.0]), torch.tensor([0.5, 20.0]), least, most))
    assert torch.equal(space.low, torch.tensor([-0.5, -10.0])) and torch.equal(space.high, torch.tensor([2.5, 10.0]))
    proposal = space.proposal(3)
    assert isinstance(proposal, Gaussian) and torch.equal(proposal.mean, torch.tensor([[1.0, 0.0]] * 3))


def test_a_world_without_actions_is_refused_in_one_line() -> None:
    with pytest.raises(TinyJEPAError, match="nobody acts"):
        ActionSpace(make_world("bouncing-logo").action_space)


def test_shifted_plans_drop_what_was_done() -> None:
    values, fresh = torch.arange(3.0)[:, None], torch.full((3, 1), 9.0)
    assert shift(values, fresh, 1, 1)[:, 0].tolist() == [1, 2, 9]
    assert shift(values, fresh, 2, 2)[:, 0].tolist() == [1, 2, 9]
    assert shift(values, fresh, 1, 2)[:, 0].tolist() == [0.5, 1.5, 5.5]
    assert shift(values, fresh, 6, 2)[:, 0].tolist() == [9, 9, 9]


def test_probabilities_follow_the_elites() -> None:
    proposal = ActionSpace(gym.spaces.MultiDiscrete([2, 3])).proposal(2)
    plan = torch.tensor([[1.0, 0, 0, 0, 1], [0, 1, 1, 0, 0]])
    fitted = proposal.fit(plan[None], torch.ones(1), 0.0)
    assert isinstance(fitted, Categorical) and torch.equal(fitted.best(), plan)
    for group in fitted.probabilities.split((2, 3), 1):
        assert torch.allclose(group.sum(1), torch.ones(2)) and (group > 0).all()


@pytest.mark.parametrize("colour", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("length", [8, 15])
def test_coloured_noise_has_unit_variance_and_the_spectrum_it_names(colour: float, length: int) -> None:
    noise = coloured(torch.randn(20_000, length, 1, generator=torch.Generator().manual_seed(0)), colour)
    assert noise.std().item() == pytest.approx(1, abs=0.02)
    power = torch.fft.rfft(noise, dim=1).abs().square().mean((0, 2))[1:-1]
    frequency = torch.fft.rfftfreq(length)[1:-1]
    slope = np.polyfit(frequency.log().numpy(), power.log().numpy(), 1)[0]
    assert slope == pytest.approx(-colour, abs=0.05)


def test_options_that_make_no_sense_are_refused() -> None:
    for options in ({"receding": 20, "horizon": 4}, {"elites": 50, "samples": 10}):
        with pytest.raises(ValueError, match=r"elites|receding"):
            PLANNERS.get("cem").Options(kind="cem", **options)
    assert set(SMALL) >= {"samples", "iterations", "elites"}


@pytest.mark.parametrize("shape", [(8,), (16, 8), (6, 8), (4, 4, 8)])
def test_heads_read_latents_of_any_shape(shape: tuple[int, ...]) -> None:
    """A vector, a grid of tokens, one that is no square, rows by columns; a reader knows where things are."""
    torch.manual_seed(0)
    head = Head(torch.Size(shape), 3, pair=True, extra=2)
    z, goal = torch.randn(5, *shape), torch.randn(5, *shape)
    out = head(z, goal, torch.randn(5, 2))
    assert out.shape == (5, 3) and out.isfinite().all()
    out.sum().backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    alone = Head(torch.Size(shape), 1)
    assert not torch.allclose(alone(z), alone(z.flip(1)))


def test_latents_may_be_grids(tmp_path: Path) -> None:
    class Grid(Drift):
        def rollout(self, z: Tensor, chunks: Tensor) -> Tensor:
            return z[:, None] + chunks.cumsum(1)[:, :, None]

    given = setting(Grid(), tmp_path)
    total = WeightedSum([cost("goal-distance", given, when="last")])
    goal = torch.tensor([1.0, -1.0]).repeat(1, 3, 1)
    problem = Problem(Grid(), total, torch.zeros(1, 3, 2), Goal(goal, np.zeros(2), np.zeros((1, 1, 1), np.uint8)))
    for kind in SEARCHES:
        space = ActionSpace(gym.spaces.Box(-1, 1, (2,), np.float32))
        part = planner(kind, space, given, horizon=3, block=1, samples=100, iterations=10, elites=10)
        plan = part.plan(problem, torch.Generator().manual_seed(0))
        assert plan.latents.shape == (4, 3, 2) and plan.cost < 0.05


@pytest.mark.parametrize("count", [40, 400])
def test_states_are_read_from_few_and_from_many_latents(count: int) -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(count, 2))
    latents = states @ rng.normal(size=(2, 100)) + 3
    read = Linear(100, 2)
    read.fit(latents.astype(np.float32), states)
    assert read(torch.from_numpy(latents[:5])).numpy() == pytest.approx(states[:5], abs=1e-2)


@pytest.mark.parametrize("grid", [False, True], ids=["vector", "grid"])
@pytest.mark.parametrize("kind", [kind for kind in COSTS if not kind.startswith("true-")])
def test_a_cost_of_a_model(kind: str, grid: bool, stores: dict[str, Path], tmp_path: Path) -> None:
    """A number for each plan, which depends on the plan; a gradient, but where the docstring says that it is 0."""
    store = Store(stores["two-room"])
    energy = {"form": "scaled", "kinds": {}, "validation": {"scaled": {"thresholds": {"1": 1e-3}}}}
    (tmp_path / "judge.json").write_text(json.dumps({"energy": energy, "store": {}, "headline": {}}))
    dynamics = Imagined(small_model(store, grid=grid))
    given = setting(dynamics, tmp_path, store)
    total = WeightedSum([cost(kind, given, ahead=2)])
    problem = model_problem(make_world("two-room", 16), dynamics, total, 0)
    part = planner("shooting", ActionSpace(make_world("two-room").action_space), given)
    plans = 2 * torch.randn(6, part.decisions, 2, generator=torch.Generator().manual_seed(0))
    costs = part.costs(problem, plans)
    assert costs.shape == (6,) and costs.isfinite().all() and len(costs.unique()) > 1
    assert torch.allclose(part.costs(problem, plans[2:3]), costs[2:3], rtol=1e-4)
    plans.requires_grad_()
    total(part.imagine(problem, plans), problem.goal).sum().backward()
    assert plans.grad is not None and plans.grad.isfinite().all()
    assert plans.grad.any() or (kind, grid) == ("surprise", True)
