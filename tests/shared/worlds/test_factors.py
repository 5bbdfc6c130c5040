"""Factors of variation: what every world that declares them promises."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from shared.errors import TinyJEPAError
from shared.worlds import WORLDS, make_world, world_class
from shared.worlds.base import World
from shared.worlds.factors import Factor
from shared.worlds.violations import draw_pairs

CASES = [(world, factor) for world in WORLDS for factor in world_class(world).factors]
cases = pytest.mark.parametrize(("world", "factor"), CASES, ids=[f"{world}-{factor.name}" for world, factor in CASES])


def _numbers(value: Any) -> np.ndarray:
    return np.atleast_1d(np.asarray(value, np.float64))


def _other(factor: Factor) -> Any:
    """A value that is clearly not the default."""
    low, high = factor.allowed
    numbers = _numbers(factor.default)
    if abs(numbers - numbers[::-1]).max() > 100:  # a blue car; a grey one would be invisible on the road
        return tuple(numbers[::-1].tolist())
    found = np.where(numbers - low > high - numbers, (low + numbers) / 2, (numbers + high) / 2).tolist()
    return found if isinstance(factor.default, tuple) else found[0]


OFF_THE_ROAD = np.array((0.5, 1.0, 0.0), np.float32)
"""A car that is driven like that leaves the road: what a wider one does shows there alone."""


def _played(
    world: World, seed: int, steps: int = 30, action: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    frame, _ = world.reset(seed=seed)
    rng = np.random.default_rng(seed)
    frames, states = [frame], [world.state()]
    if action is None:
        action = rng.uniform(0.3, 0.8, world.action_space.shape or (0,)).astype(np.float32)
    for _ in range(steps):
        frames.append(world.step(action)[0])
        states.append(world.state())
    return np.stack(frames), np.stack(states)


@cases
def test_sampling_is_a_function_of_the_seed_within_the_training_range(world: str, factor: Factor) -> None:
    one, other = (make_world(world, vary=[factor.name]) for _ in range(2))
    one.reset(seed=99)  # what ran before does not show
    drawn = []
    for seed in range(4):
        one.reset(seed=seed)
        other.reset(seed=seed)
        assert one.factor_values == other.factor_values
        drawn.append(_numbers(one.factor_values[factor.name]))
        assert (drawn[-1] >= factor.training[0]).all() and (drawn[-1] <= factor.training[1]).all()
    assert len({tuple(each) for each in drawn}) == 4


@cases
def test_outside_is_all_that_can_be_set_and_is_not_sampled(world: str, factor: Factor) -> None:
    made = make_world(world, vary=[f"{factor.name}@outside"])
    assert made.variation.names == (factor.name,)
    drawn = np.array([_numbers(made.variation.values(seed)[factor.name]) for seed in range(300)])
    (low, high), (least, most) = factor.training, factor.allowed
    assert ((drawn >= least) & (drawn <= most)).all()
    assert ((drawn < low) | (drawn > high)).any(1).all()
    assert least == low or (drawn < low).any()
    assert most == high or (drawn > high).any()


@cases
def test_declared_ranges_hold_each_other(world: str, factor: Factor) -> None:
    assert factor.allowed[0] <= factor.training[0] < factor.training[1] <= factor.allowed[1]
    assert factor.check(factor.default) == factor.default
    assert (_numbers(factor.default) >= factor.training[0]).all()
    assert (_numbers(factor.default) <= factor.training[1]).all()


@cases
def test_another_value_shows_where_it_should(world: str, factor: Factor) -> None:
    plain, other = make_world(world), make_world(world, factors={factor.name: _other(factor)})
    plain_frames, plain_states = _played(plain, 3)
    frames, states = _played(other, 3)
    assert not np.array_equal(frames, plain_frames)
    if not factor.physical:
        assert np.array_equal(states, plain_states)
        return
    driven = {"action": OFF_THE_ROAD, "steps": 120} if world == "car-racing" else {}
    seeds = range(3) if world == "car-racing" else range(80)  # few dots come to the edge of the door
    assert any(not np.array_equal(_played(plain, s, **driven)[1], _played(other, s, **driven)[1]) for s in seeds)


@cases
def test_violations_are_of_the_varied_world(world: str, factor: Factor) -> None:
    """The same ones show as in the plain world, and nothing but what is impossible differs."""
    names = [[], []]
    for found, factors in zip(names, ({}, {factor.name: _other(factor)})):
        made = make_world(world, frame_size=32 if world in ("car-racing", "double-pendulum") else None, factors=factors)
        for one in draw_pairs(made, made.violations, itertools.count(1), 2, steps=3, past=3):
            found.append(one.violation.name)
            true, shown = one.moments.true[one.at], one.impossible
            if factor.name == "background_colour":  # a corner, where nothing ever is
                assert np.array_equal(true[:, :, 0, 0], shown[:, :, 0, 0]), one.violation.name
    assert names[0] == names[1] != []


@pytest.mark.parametrize("world", sorted({world for world, _ in CASES}))
def test_defaults_are_the_plain_world(world: str) -> None:
    defaults = {factor.name: factor.default for factor in world_class(world).factors}
    for ours, plain in zip(_played(make_world(world, factors=defaults), 5), _played(make_world(world), 5)):
        assert np.array_equal(ours, plain)


@pytest.mark.parametrize("world", sorted({world for world, _ in CASES}))
def test_bad_factors_are_one_line(world: str) -> None:
    first = world_class(world).factors[0]
    with pytest.raises(TinyJEPAError, match=f"unknown factor '{first.name}x'.*Did you mean '{first.name}'"):
        make_world(world, vary=[f"{first.name}x"])
    with pytest.raises(TinyJEPAError, match=f"factor '{first.name}' is .*give"):
        make_world(world, factors={first.name: 1e9})
    with pytest.raises(TinyJEPAError, match=f"factor '{first.name}' is sampled from inside as well"):
        make_world(world, vary=[first.name, f"{first.name}@outside"])
    with pytest.raises(TinyJEPAError, match="set and varied"):
        make_world(world, factors={first.name: first.default}, vary=[first.name])
