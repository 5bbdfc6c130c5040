"""One contract for the violations of every world, and for those made of frames alone."""

from __future__ import annotations

import itertools
from functools import cache

import numpy as np
import pytest

from shared.worlds import WORLDS, make_world, world_class
from shared.worlds.base import World
from shared.worlds.frame_violations import FRAME_VIOLATIONS
from shared.worlds.violations import PRINCIPLES, VISIBLE, Pairs, Ride, draw_pairs

EVERY = [name for name in WORLDS if world_class(name).violations]
STEPS, PAST, COUNT = 8, 3, 6
STRIDE = {"car-racing": 4}
AT_LEAST = {"bouncing-logo": 8, "car-racing": 10, "double-pendulum": 8, "two-room": 8}
"""Violations that a world of the package declares at least."""


@cache
def drawn(name: str, **options: object) -> tuple[Pairs, ...]:
    world = make_world(name, **options)
    stride = STRIDE.get(name, 1)
    return tuple(draw_pairs(world, world.violations, itertools.count(3), COUNT, steps=STEPS, past=PAST, stride=stride))


def clip(frames: np.ndarray) -> np.ndarray:
    return frames.astype(np.float64).reshape(*frames.shape[:2], -1)


@pytest.mark.parametrize("name", AT_LEAST)
def test_a_world_of_the_package_declares_violations_of_many_principles(name: str) -> None:
    violations = world_class(name).violations
    assert len(violations) >= AT_LEAST[name]
    assert {"permanence", "immutability", "continuity"} <= {violation.principle for violation in violations}


@pytest.mark.parametrize("name", EVERY)
def test_violations_have_names_of_their_own_a_principle_and_a_summary(name: str) -> None:
    violations = world_class(name).violations
    assert len({violation.name for violation in violations}) == len(violations)
    assert {violation.principle for violation in violations} <= set(PRINCIPLES)
    assert all(violation.summary for violation in violations)


@pytest.mark.parametrize("name", EVERY)
def test_pairs_share_their_past_and_differ_visibly(name: str) -> None:
    world = make_world(name)
    frame, states, stride = world.observation_space.shape, len(world.state_names), STRIDE.get(name, 1)
    assert [pairs.violation for pairs in drawn(name)] == list(world.violations)
    for pairs in drawn(name):
        table = pairs.moments
        count = len(table.episode)
        assert len(pairs) == COUNT and pairs.at.max() < count, pairs.violation.name
        assert table.past.shape == (count, PAST, *frame) and table.past.dtype == np.uint8
        assert table.true.shape == (count, STEPS, *frame) and table.true.dtype == np.uint8
        assert pairs.impossible.shape == (COUNT, STEPS, *frame) and pairs.impossible.dtype == np.uint8
        assert table.past_state.shape == (count, PAST, states) and table.true_state.shape == (count, STEPS, states)
        assert pairs.impossible_state.shape == (COUNT, STEPS, states) and np.isfinite(pairs.impossible_state).all()
        assert table.actions.shape[:2] == (count, PAST - 1 + STEPS) and table.actions.dtype == np.float32
        assert table.actions.shape[2] == stride * int(np.prod(world.action_space.shape))
        difference = np.abs(clip(pairs.impossible) - clip(table.true[pairs.at])).max((1, 2))
        assert (difference >= VISIBLE).all(), pairs.violation.name


@pytest.mark.parametrize("name", EVERY)
def test_the_true_continuation_is_the_worlds_own(name: str) -> None:
    """Each moment's frames are found again, bit for bit, in an episode that nobody forked."""
    world = make_world(name)
    stride = STRIDE.get(name, 1)
    for pairs in {id(pairs.moments): pairs for pairs in drawn(name)}.values():
        table, situation = pairs.moments, pairs.violation.situation  # type: ignore[union-attr]
        seed = int(table.episode[0])
        rng = np.random.default_rng([seed, *situation.__name__.encode()])
        ride = Ride(world, seed, rng, (PAST - 1) * stride, STEPS * stride)
        act = next(iter(situation(ride)))
        for _ in range(STEPS * stride):
            ride.step(act())
        shown = np.stack(ride.frames)[-1 - (PAST - 1 + STEPS) * stride :: stride]
        assert np.array_equal(shown, np.concatenate([table.past[0], table.true[0]])), situation.__name__


@pytest.mark.parametrize("name", EVERY)
def test_pairs_are_a_pure_function_of_the_seeds(name: str) -> None:
    again = draw_pairs(
        make_world(name), make_world(name).violations, itertools.count(3), COUNT,
        steps=STEPS, past=PAST, stride=STRIDE.get(name, 1),
    )  # fmt: skip
    for first, second in zip(drawn(name), again):
        assert np.array_equal(first.impossible, second.impossible), first.violation.name
        assert np.array_equal(first.moments.true, second.moments.true)
        assert np.array_equal(first.moments.actions, second.moments.actions)
        assert np.array_equal(first.moments.episode, second.moments.episode)


@pytest.mark.parametrize("name", EVERY)
def test_a_fork_goes_on_as_the_world_does_and_leaves_it_alone(name: str) -> None:
    world, plain = make_world(name), make_world(name)
    for one in (world, plain):
        one.action_space.seed(1)
        one.reset(seed=5)
    actions = [world.action_space.sample() for _ in range(60)]
    for action in actions[:40]:
        world.step(action)
        plain.step(action)
    fork = world.fork()
    assert np.array_equal(fork.frame(), world.frame()) and np.array_equal(fork.state(), world.state())
    apart = 0
    for action in actions[40:]:
        frames = [one.step(action)[0].astype(np.int16) for one in (fork, world, plain)]
        apart = max(apart, int(np.abs(frames[0] - frames[1]).max()))
        assert np.array_equal(frames[1], frames[2])
    assert apart <= (1 if name == "car-racing" else 0)


@pytest.mark.parametrize("name", EVERY)
def test_who_expects_that_nothing_moves_is_wrong_somewhere(name: str) -> None:
    """For some violations the impossible continuation is nearer to the moment's frame than the true one."""
    wrong = []
    for pairs in drawn(name):
        still = clip(pairs.moments.past[pairs.at, -1:])
        true, impossible = (
            np.square(clip(frames) - still).mean((1, 2)) for frames in (pairs.moments.true[pairs.at], pairs.impossible)
        )
        if (impossible < true).all():
            wrong.append(pairs.violation.name)
    assert wrong


@pytest.mark.parametrize("name", EVERY)
def test_who_expects_that_all_moves_on_freely_is_wrong_somewhere(name: str) -> None:
    """For some violations the impossible continuation is nearer to constant velocities than the true one."""
    places = {"car-racing": (0, 1, 2), "double-pendulum": (0, 1)}.get(name, (0, 1))
    wrong = []
    for pairs in drawn(name):
        table = pairs.moments
        past = table.past_state[pairs.at].astype(np.float64)
        step = np.arange(1, STEPS + 1)[:, None]
        turn = 2 * np.pi if name == "double-pendulum" else np.inf
        free = past[:, -1:, places] + step * _near(past[:, -1:, places] - past[:, -2:-1, places], turn)
        true, impossible = (
            np.square(_near(states[..., places] - free, turn)).mean((1, 2))
            for states in (table.true_state[pairs.at], pairs.impossible_state)
        )
        if (impossible < true).mean() >= 0.8:
            wrong.append(pairs.violation.name)
    assert wrong


def _near(difference: np.ndarray, turn: float) -> np.ndarray:
    return difference if turn == np.inf else (difference + turn / 2) % turn - turn / 2


def test_layouts_never_trained_on_have_the_same_violations() -> None:
    for name in EVERY:
        kind: type[World] = type(make_world(name))
        for options in kind.unseen.values():
            pairs = drawn(name, **options)
            assert len(pairs) == len(kind.violations)
    walls = drawn("two-room", walls="held-out")[0].moments.past_state[:, -1, 2]
    assert (walls >= 36).all() and (walls <= 40).all()


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_violations_of_frames(channels: int) -> None:
    """A square that walks across a striped ground: each of them changes it, and the truth is left alone."""
    frames = np.zeros((24, 32, 32, channels), np.uint8)
    frames += (np.arange(32) % 8 * 8).astype(np.uint8)[None, None, :, None]
    for number, frame in enumerate(frames):
        frame[8:14, 2 + number : 8 + number, 0] = 250
    before, after, kept = frames[:8], frames[8:], frames.copy()
    names = set()
    for violation in FRAME_VIOLATIONS:
        made = violation.make(before, after, 6, np.random.default_rng(1))
        assert made.shape == (6, *frames.shape[1:]) and made.dtype == np.uint8, violation.name
        assert np.abs(made.astype(np.int16) - after[:6]).max() >= VISIBLE, violation.name
        assert violation.principle in PRINCIPLES
        names.add(violation.name)
    assert len(names) == len(FRAME_VIOLATIONS) >= 9 and np.array_equal(frames, kept)
    gone = FRAME_VIOLATIONS[0].make(before, after, 6, np.random.default_rng(1))
    assert (gone[..., 0] < 100).all()
