"""Every action lies in its space, whatever the space, and is what the store says of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import example, given, settings
from hypothesis import strategies as st

from factory.collecting.episodes import run_episode
from factory.policies import MIXED, POLICIES, check_policy, make_policy
from shared.errors import TinyJEPAError
from shared.worlds import make_world
from shared.worlds.actions import Actions, RandomActions
from shared.worlds.base import World, action_dim
from tests.support.odd import world_of

LARGEST = {np.float32: float(np.finfo(np.float32).max), np.float64: float(np.finfo(np.float64).max)}


@st.composite
def boxes(draw: st.DrawFn) -> spaces.Box:
    """Finite, half-infinite, infinite, huge, tiny and degenerate bounds; floats and integers."""
    width = draw(st.integers(1, 3))
    if draw(st.booleans()):
        kind: Any = draw(st.sampled_from([np.int8, np.uint8, np.int32, np.int64]))
        info = np.iinfo(kind)
        bound = st.one_of(st.integers(int(info.min), int(info.max)), st.sampled_from([int(info.min), int(info.max)]))
    else:
        kind = draw(st.sampled_from([np.float16, np.float32, np.float64]))
        ends = [-np.inf, np.inf] + ([-LARGEST[kind], LARGEST[kind]] if kind in LARGEST else [])
        bits = np.finfo(kind).bits
        bound = st.one_of(
            st.floats(-100, 100, width=bits), st.floats(allow_nan=False, width=bits), st.sampled_from(ends)
        )
    pairs = [sorted((draw(bound), draw(bound))) for _ in range(width)]
    if np.issubdtype(kind, np.floating):  # some value that float32 can hold must be allowed
        most = min(float(np.finfo(kind).max), LARGEST[np.float32])
        pairs = [[min(low, most), max(high, -most)] for low, high in pairs]
    lows, highs = zip(*pairs)
    return spaces.Box(np.array(lows, kind), np.array(highs, kind), dtype=kind)


def others() -> st.SearchStrategy[spaces.Space[Any]]:
    starts = st.integers(-5, 5)
    return st.one_of(
        st.builds(lambda n, start: spaces.Discrete(n, start=start), st.integers(1, 9), starts),
        st.builds(spaces.MultiBinary, st.integers(1, 5)),
        st.lists(st.tuples(st.integers(1, 5), starts), min_size=1, max_size=4).map(
            lambda pairs: spaces.MultiDiscrete([n for n, _ in pairs], start=[start for _, start in pairs])
        ),
        st.just(spaces.MultiDiscrete([[2, 3], [4, 5]])),
    )


class Anywhere(World):
    """Nothing but an action space."""

    observation_space = spaces.Box(0, 255, (8, 8, 1), np.uint8)

    def __init__(self, space: spaces.Space[Any]) -> None:
        self.action_space = space


@settings(max_examples=300, deadline=None)
@given(st.one_of(boxes(), others()), st.integers(0, 2**32))
@example(spaces.Box(0.0, -0.0, (1,), np.float32), 0)
@example(spaces.Box(5, np.inf, (2,), np.float32), 0)
@example(spaces.Box(-np.inf, -5, (2,), np.float32), 0)
@example(spaces.Box(-LARGEST[np.float32], LARGEST[np.float32], (2,), np.float32), 0)
@example(spaces.Box(-LARGEST[np.float64], LARGEST[np.float64], (2,), np.float64), 0)
@example(spaces.Box(-0.1, 0.1, (2,), np.float64), 0)
@example(spaces.Box(1e30, 1e35, (2,), np.float32), 0)
@example(spaces.Box(0, 2**31 - 1, (2,), np.int32), 0)
@example(spaces.Box(2**53 + 1, 2**53 + 1, (1,), np.int64), 0)
def test_every_policys_action_lies_in_the_space(space: spaces.Space[Any], seed: int) -> None:
    world = Anywhere(space)
    frame, state, actions, able = np.zeros((8, 8, 1), np.uint8), np.zeros(0, np.float32), Actions(space), []
    for name in [*POLICIES, MIXED]:
        try:
            check_policy(name, world)
        except TinyJEPAError:
            continue
        able.append(name)
        _, policy = make_policy(name, world, np.random.default_rng(seed))
        for _ in range(12):
            action = policy.act(frame, state)
            assert space.contains(action), f"{name}: {action!r} is not in {space}"
            row = actions.row(action)
            assert row.dtype == np.float32 and row.shape == (action_dim(space),) and np.isfinite(row).all()
            again = actions.action(row)
            assert space.contains(again) and np.array_equal(again, action), f"{name}: stored {action!r}, read {again!r}"
    assert {"uniform", "uniform-held", MIXED} <= set(able)
    assert ("ornstein-uhlenbeck" in able) == isinstance(space, spaces.Box)


def test_random_actions_spread_over_the_space() -> None:
    rng = np.random.default_rng(0)

    def draws(space: spaces.Space[Any]) -> np.ndarray:
        actions = RandomActions(space, rng)
        return np.array([actions.next() for _ in range(4000)], np.float64)

    bounded = draws(spaces.Box(-2, 6, (1,), np.float64))
    assert abs(bounded.mean() - 2) < 0.2 and bounded.min() < -1.9 and bounded.max() > 5.9
    half = draws(spaces.Box(5, np.inf, (1,), np.float32)) - 5
    assert abs(half.mean() - 1) < 0.1 and half.min() >= 0 and half.max() > 4
    assert abs(draws(spaces.Box(-np.inf, -5, (1,), np.float32)).mean() + 6) < 0.1
    free = draws(spaces.Box(-np.inf, np.inf, (1,), np.float32))
    assert abs(free.mean()) < 0.1 and abs(free.std() - 1) < 0.1
    huge = draws(spaces.Box(-LARGEST[np.float32], LARGEST[np.float32], (1,), np.float32))
    assert abs(huge.std() - 1) < 0.1, "a bound at the limit of floats is none"
    values, counts = np.unique(draws(spaces.Box(-1, 2, (1,), np.int64)), return_counts=True)
    assert values.tolist() == [-1, 0, 1, 2] and counts.min() > 800


@pytest.mark.parametrize("policy", ["uniform", "uniform-held", "ornstein-uhlenbeck"])
def test_an_environment_that_changes_its_action_changes_nothing_else(policy: str) -> None:
    plain, mutator = (make_world(world_of(kind), 16) for kind in ("Square", "Mutator"))
    wanted, got = (run_episode(world, policy, 3, 0, 50) for world in (plain, mutator))
    for name in ("action", "reward", "frame"):
        assert np.array_equal(getattr(wanted, name), getattr(got, name)), name
    assert np.abs(got.action).max() <= 1
    assert np.allclose(got.reward, got.action.sum(axis=1), atol=1e-6), "it was given what is stored"
    if policy == "uniform-held":
        assert (got.action[1:-1] == got.action[:-2]).all(axis=1).any(), "some action was held"
