"""Every policy gives valid actions that depend on nothing but its seed, and the drivers drive."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from factory.collecting.episodes import episode_seeds, run_episode
from factory.inspection.coverage import coverage, within_bands
from factory.policies import CONTINUOUS_MIX, DISCRETE_MIX, DRIVING_MIX, MIXED, POLICIES, check_policy, make_policy, mix
from factory.policies.noise import SmoothNoise
from shared.errors import TinyJEPAError
from shared.store.schema import Episode
from shared.worlds import make_world
from shared.worlds.base import World

EVERY = [name for name in [*POLICIES, MIXED] if name != "none"]
ROOMS = ["wander", "crossing", "charge", "bump", "expert"]
UNDRIVEN = [name for name in EVERY if not name.startswith("pursuit") and name not in ROOMS]


def home(policy: str) -> World:
    """A world the policy can act in."""
    return make_world("two-room" if policy in ROOMS else "car-racing", frame_size=16)


@pytest.fixture(scope="module")
def cars() -> World:
    return make_world("car-racing", frame_size=16)


def equal(a: Episode, b: Episode) -> bool:
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("frame", "action", "reward", "state"))
    return arrays and (a.seed, a.policy, a.terminated) == (b.seed, b.policy, b.terminated)


@pytest.mark.parametrize("policy", EVERY)
def test_an_episode_is_a_pure_function_of_policy_seed_and_number(policy: str) -> None:
    world = home(policy)
    first = run_episode(world, policy, 7, 3, 60)
    run_episode(world, "uniform", 7, 4, 5)
    assert equal(first, run_episode(world, policy, 7, 3, 60))
    assert equal(first, run_episode(home(policy), policy, 7, 3, 60))
    for seed, number in ((7, 5), (8, 3)):
        other = run_episode(world, policy, seed, number, 60)
        assert not np.array_equal(first.state, other.state)
        assert policy == "charge" or not np.array_equal(first.action, other.action)  # charge knows two actions


@pytest.mark.parametrize("policy", EVERY)
def test_actions_lie_in_the_worlds_space(policy: str) -> None:
    world = home(policy)
    episode = run_episode(world, policy, 1, 0, 300)
    for action in episode.action[:-1]:
        assert world.action_space.contains(action)
    assert not episode.action[-1].any() and episode.reward[-1] == 0
    assert episode.policy in POLICIES


@pytest.mark.parametrize("world", ["CartPole-v1", "Pendulum-v1"])
@pytest.mark.parametrize("policy", UNDRIVEN)
def test_policies_that_look_at_nothing_act_anywhere(world: str, policy: str) -> None:
    made = make_world(world, frame_size=16)
    if policy == "ornstein-uhlenbeck" and world == "CartPole-v1":
        with pytest.raises(TinyJEPAError, match="continuous"):
            check_policy(policy, made)
        return
    check_policy(policy, made)
    episode = run_episode(made, policy, 0, 0, 10)
    assert episode.rows == len(episode.action) == len(episode.frame)
    assert np.isfinite(episode.action).all() and episode.action[:-1].any()
    if world == "CartPole-v1":
        assert (episode.action[:-1].sum(axis=1) == 1).all()  # one-hot


def test_episodes_know_how_they_ended(cars: World) -> None:
    short = run_episode(cars, "uniform", 0, 0, 20)
    assert short.rows == 21 and short.truncated and not short.terminated
    fallen = run_episode(make_world("CartPole-v1", frame_size=16), "uniform", 0, 0, 500)
    assert fallen.rows < 200 and fallen.terminated and not fallen.truncated


def test_seeds_of_episodes_are_distinct_and_in_range() -> None:
    seeds = [episode_seeds(run, k)[0] for run in range(4) for k in range(500)]
    assert len(set(seeds)) == 2000
    assert all(0 <= seed < 2**31 for seed in seeds)


def test_pursuit_keeps_to_the_road_and_gets_round(cars: World) -> None:
    for k in range(3):
        episode = run_episode(cars, "pursuit", 0, k, 1000)
        found = coverage(cars.axes(64), cars.state_names, episode.state, 1)
        progress = episode.state[-1, cars.state_names.index("progress")]
        road = found.spreads["lateral_offset"].within
        assert road is not None and road > 0.97
        assert within_bands(cars.axes(64), cars.state_names, episode.state) == {"on road": road}
        assert progress > 0.75 or episode.terminated


def test_pursuit_comes_back_from_the_grass(cars: World) -> None:
    """Driven off the road by full steering, it is back on it and moving within 12 seconds."""
    from factory.policies.pursuit import Pursuit

    for seed in range(3):
        frame, _ = cars.reset(seed=seed)
        for steer, steps in ((0.0, 50), (0.25, 45)):
            for _ in range(steps):
                frame, *_ = cars.step(np.array([steer, 0.6, 0.0], np.float32))
        column = cars.state_names.index("lateral_offset")
        assert abs(cars.state()[column]) > 10
        driver = Pursuit(cars, np.random.default_rng(0))
        offsets = []
        for _ in range(600):
            frame, *_ = cars.step(driver.act(frame, cars.state()))
            offsets.append(abs(cars.state()[column]))
        assert max(offsets[-50:]) < 6.7
        assert cars.state()[cars.state_names.index("forward_speed")] > 10


def test_the_mix_covers_more_than_its_tamest_and_wildest_members(cars: World) -> None:
    def bins(policy: str) -> int:
        states = [run_episode(cars, policy, 0, k, 300).state for k in range(6)]
        return coverage(cars.axes(64), cars.state_names, np.concatenate(states), 6).hit

    assert bins(MIXED) > 3 * bins("uniform-held")
    assert bins(MIXED) > 2 * bins("pursuit")


def test_mixed_draws_its_members_in_their_shares(cars: World) -> None:
    cars.reset(seed=0)
    drawn = Counter(make_policy(MIXED, cars, episode_seeds(0, k)[1])[0] for k in range(600))
    assert set(drawn) == set(DRIVING_MIX)
    for name, share in DRIVING_MIX.items():
        assert abs(drawn[name] / 600 - share) < 0.07
    assert mix(make_world("Pendulum-v1")) == CONTINUOUS_MIX and mix(make_world("CartPole-v1")) == DISCRETE_MIX
    for shares in (DRIVING_MIX, CONTINUOUS_MIX, DISCRETE_MIX):
        assert sum(shares.values()) == pytest.approx(1.0) and set(shares) <= set(POLICIES)


def test_smooth_noise_is_an_ornstein_uhlenbeck_process() -> None:
    noise = SmoothNoise(2, correlation_seconds=0.2, rate=50.0, rng=np.random.default_rng(0))
    values = np.array([noise.next() for _ in range(40_000)])
    assert np.abs(values.mean(axis=0)).max() < 0.15
    assert values.std(axis=0) == pytest.approx([1.0, 1.0], abs=0.06)
    for lag in (1, 5, 10):
        expected = np.exp(-lag / (0.2 * 50.0))
        for column in values.T:
            assert np.corrcoef(column[:-lag], column[lag:])[0, 1] == pytest.approx(expected, abs=0.05)
    assert abs(np.corrcoef(values.T)[0, 1]) < 0.1


@pytest.mark.parametrize(
    ("policy", "words"), [("persuit", "Did you mean 'pursuit'?"), ("nonsense", "Choices: uniform")]
)
def test_unknown_policies_are_refused(cars: World, policy: str, words: str) -> None:
    with pytest.raises(TinyJEPAError) as caught:
        check_policy(policy, cars)
    assert words in str(caught.value) and MIXED in str(caught.value)


def test_a_driver_needs_a_track() -> None:
    with pytest.raises(TinyJEPAError, match="centre line"):
        check_policy("pursuit-noise", make_world("CarRacing-v3"))


def test_nobody_acts_where_there_is_nothing_to_do(cars: World) -> None:
    logo = make_world("bouncing-logo")
    for policy in ("none", MIXED):
        check_policy(policy, logo)
        episode = run_episode(logo, policy, 0, 0, 20)
        assert episode.policy == "none" and episode.action.shape == (21, 0)
    with pytest.raises(TinyJEPAError, match="has no actions"):
        check_policy("uniform", logo)
    with pytest.raises(TinyJEPAError, match="has actions"):
        check_policy("none", cars)
