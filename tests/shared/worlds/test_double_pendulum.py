"""The double pendulum: what its docstring says, held against other derivations of the same physics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.integrate import solve_ivp

from shared.errors import TinyJEPAError
from shared.worlds import World, make_world
from shared.worlds.double_pendulum import energy, lyapunov_exponents, lyapunov_time
from shared.worlds.tasks import Reach, tasks

G = 9.81
NONE = np.zeros(0, np.float32)
FASTEST = [3.14, 3.14, 0.83, 0.53]
"""Of 1000 starts, the one whose energy drifts most; it turns at up to 15 rad/s."""


def video(
    start: Sequence[float] | None, actions: Iterable[Any], seed: int = 0, **options: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Frames and states (float64) of an episode, the first ones included."""
    world = make_world("double-pendulum", **options)
    frame, _ = world.reset(seed=seed, options=None if start is None else {"state": start})
    frames, states = [frame], [world.state()]
    for action in actions:
        frames.append(world.step(action)[0])
        states.append(world.state())
    return np.array(frames), np.array(states, np.float64)


def held(seed: int, steps: int) -> np.ndarray:
    """Random actions (steps, 2), each held for 5 steps."""
    return np.random.default_rng(seed).uniform(-1, 1, (steps // 5, 2)).astype(np.float32).repeat(5, 0)


def float32(values: Any) -> np.ndarray:
    return np.array(values, np.float32)


def turned(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    return np.remainder(after - before + np.pi, 2 * np.pi) - np.pi


def hamilton(_: float, y: np.ndarray, pivot: float, elbow: float) -> list[float]:
    """Hamilton's equations in the angles and their momenta: not the form that the world integrates."""
    a, b, p, q = y
    s, c = math.sin(a - b), math.cos(a - b)
    mass = 1 + s * s
    h = p * q * s / mass - (p * p + 2 * q * q - 2 * p * q * c) * s * c / mass**2
    return [
        (p - q * c) / mass,
        (2 * q - p * c) / mass,
        -2 * G * math.sin(a) - h + pivot - elbow,
        -G * math.sin(b) + h + elbow,
    ]


@pytest.mark.parametrize("start", [FASTEST, [3.11, 3.21, 0.76, 0.62], [2.0, -3.0, 0.5, -1.0]])
def test_energy_is_kept_for_a_minute(start: list[float]) -> None:
    _, states = video(start, [NONE] * 1200, frame_size=8)
    energies = energy((*states.T,))
    assert np.abs(energies - energies[0]).max() < 3e-5 * G
    assert np.abs(states[:, 2:]).max() > 8


@pytest.mark.parametrize("action", [None, (1.0, -0.5), (-0.3, 1.0)])
@pytest.mark.parametrize("start", [FASTEST, [1.0, -2.0, 0.3, 0.9]])
def test_an_independent_solver_agrees(start: list[float], action: tuple[float, float] | None) -> None:
    steps = 40
    _, states = video(start, [NONE if action is None else float32(action)] * steps, torque=action is not None)
    a, b, w, v = start
    c = math.cos(a - b)
    solution = solve_ivp(
        hamilton,
        (0, steps / 20),
        [a, b, 2 * w + v * c, v + w * c],
        method="DOP853",
        t_eval=np.arange(steps + 1) / 20,
        args=[2.0 * part for part in float32(action or (0, 0))],
        rtol=1e-10,
        atol=1e-12,
    )
    a, b, p, q = solution.y
    s, c = np.sin(a - b), np.cos(a - b)
    rates = np.stack([p - q * c, 2 * q - p * c]) / (1 + s * s)
    assert np.abs(turned(states[:, :2], np.stack([a, b], 1))).max() < 1e-4
    assert np.abs(states[:, 2:] - rates.T).max() < 5e-4
    assert np.abs(states[-1] - states[0]).max() > 1


@pytest.mark.parametrize("sign", [1, -1])
def test_small_swings_have_the_analytic_frequencies(sign: int) -> None:
    small, times = 1e-4, np.arange(201) / 20
    _, states = video([small, sign * math.sqrt(2) * small, 0, 0], [NONE] * 200, frame_size=8)
    frequency = math.sqrt(G * (2 - sign * math.sqrt(2)))
    swing = small * np.cos(frequency * times)
    assert np.abs(states[:, 0] - swing).max() < 1e-4 * small
    assert np.abs(states[:, 1] - sign * math.sqrt(2) * swing).max() < 1e-4 * small


def test_the_energy_changes_by_the_work_of_the_torques() -> None:
    actions = held(1, 200)
    _, states = video(None, actions, torque=True, frame_size=8)
    first, second = turned(states[1:, :2], states[:-1, :2]).T
    work = 2.0 * (actions[:, 0] * first + actions[:, 1] * (second - first))
    energies = energy((*states.T,))
    assert np.abs(energies[1:] - energies[0] - work.cumsum()).max() < 1e-3
    assert np.ptp(energies) > 5 and (np.abs(work) > 0.1).any()


def test_actions_are_clipped_and_none_is_no_torque() -> None:
    wild, tame = float32([[3, -5]] * 20), float32([[1, -1]] * 20)
    assert np.array_equal(video(None, wild, torque=True)[1], video(None, tame, torque=True)[1])
    still = video(None, np.zeros((20, 2), np.float32), torque=True)[1]
    assert np.array_equal(still, video(None, [NONE] * 20)[1])
    assert not np.array_equal(still, video(None, tame, torque=True)[1])


def test_with_torque_it_is_a_world_too() -> None:
    world = make_world("double-pendulum", torque=True)
    check_env(world, skip_render_check=True)
    space = world.action_space
    assert all(float32(keys) in space for keys in world.keys.values()) and len(world.keys) == 4
    assert make_world("double-pendulum").keys == {} == World.keys
    ours, again, other = (video(None, held(2, 50), seed, torque=True) for seed in (3, 3, 4))
    assert all(np.array_equal(one, two) for one, two in zip(ours, again))
    assert not np.array_equal(ours[1], other[1])


@pytest.mark.parametrize(
    ("start", "reward"),
    [
        ((math.pi, math.pi, 0, 0), 0.0),
        ((0, 0, 0, 0), -math.log(1 + 0.1 * 6 * G + 2 * math.pi**2)),
        ((math.pi, 0, 0, 0), -math.log(1 + 0.1 * 2 * G + math.pi**2)),
    ],
)
def test_with_torque_the_reward_says_how_far_from_upright(start: tuple[float, ...], reward: float) -> None:
    for torque, expected in ((True, reward), (False, 0.0)):
        world = make_world("double-pendulum", torque=torque, frame_size=8)
        world.reset(seed=0, options={"state": start})
        assert world.step(np.zeros(2 * torque, np.float32))[1] == pytest.approx(expected, abs=1e-3), "it stays at rest"


HEAVY = {"length1": 0.6, "length2": 0.9, "mass1": 0.5, "mass2": 3.0, "gravity": 12.0}


@pytest.mark.parametrize("factors", [HEAVY, HEAVY | {"gravity": 0.0}])
def test_energy_and_reward_are_those_of_the_worlds_own_bodies(factors: dict[str, float]) -> None:
    world = make_world("double-pendulum", torque=True, frame_size=8, factors=factors)
    world.reset(seed=0, options={"state": (1.0, -2.0, 0.3, 0.9)})
    before = energy(world.motion, world.bodies)
    for _ in range(60):
        world.step(np.zeros(2, np.float32))
    assert energy(world.motion, world.bodies) == pytest.approx(before, abs=0.02)
    world.reset(seed=0, options={"state": (0, 0, 0, 0)})
    high = 2 * factors["gravity"] * (3.5 * 0.6 + 3.0 * 0.9)
    away = 0.1 * high + 2 * math.pi**2
    assert world.step(np.zeros(2, np.float32))[1] == pytest.approx(-math.log(1 + away))
    task = tasks(world)["swing-up"]
    upright = np.array([math.pi, math.pi, 0, 0])
    assert isinstance(task, Reach) and task.remaining(np.zeros((1, 4)), upright) == pytest.approx(away)


def test_the_reward_falls_with_the_speed_at_the_top() -> None:
    def earned(speed: float) -> float:
        world = make_world("double-pendulum", torque=True, frame_size=8)
        world.reset(seed=0, options={"state": (math.pi, math.pi, speed, speed)})
        return world.step(np.zeros(2, np.float32))[1]

    assert 0 > earned(0.2) > earned(2) > earned(10)


def test_starts_cover_all_angles_and_differ_in_energy() -> None:
    world = make_world("double-pendulum", frame_size=8)
    states = np.array([(world.reset(seed=seed), world.state())[1] for seed in range(300)])
    assert (np.abs(states) <= float32([np.pi, np.pi, 1, 1])).all()
    shares = [np.histogram(column / edge, 4, (-1, 1))[0] / 300 for column, edge in zip(states.T, (np.pi, np.pi, 1, 1))]
    assert np.abs(np.array(shares) - 0.25).max() < 0.1
    assert np.ptp(energy((*states.T,))) > 5 * G
    _, states = video([3.1, -3.1, 9.0, -9.0], [NONE] * 20, frame_size=8)
    assert (np.abs(states[:, :2]) <= np.float32(np.pi)).all() and (np.abs(np.diff(states[:, :2], axis=0)) > 5).any()


@pytest.mark.parametrize(("size", "error"), [(32, 0.25), (64, 0.15), (96, 0.15), (480, 0.15)])
def test_the_picture_shows_the_bobs_where_the_state_says(size: int, error: float) -> None:
    world = make_world("double-pendulum", 64 if size == 480 else size, render_mode="rgb_array")
    grid, metre = np.arange(size), (size / 2 - 1) / 2.2
    areas = []
    for seed in range(40):
        frame, _ = world.reset(seed=seed)
        picture = world.render() if size == 480 else frame
        assert isinstance(picture, np.ndarray) and picture.shape == (size, size, 3) and picture.dtype == np.uint8
        red, _, blue = picture.astype(float).transpose(2, 0, 1)
        x = y = (size - 1) / 2
        for angle, excess in zip(world.state()[:2], (red - blue, blue - red)):
            half = x + metre * math.sin(angle) / 2, y + metre * math.cos(angle) / 2
            x, y = 2 * half[0] - x, 2 * half[1] - y
            weight = np.maximum(excess, 0)
            place = weight.sum(0) @ grid / weight.sum(), weight.sum(1) @ grid / weight.sum()
            assert math.dist(place, (x, y)) < error
            assert picture[round(half[1]), round(half[0])].min() > 30  # its rod
            assert (picture.max(2) == 0).mean() > 0.8
            areas.append(weight.sum() / 191 / metre**2)
    assert min(areas) > 0.85 * max(areas)  # never cut off, never hidden


def test_render_is_for_those_who_asked() -> None:
    world = make_world("double-pendulum")
    world.reset(seed=0)
    assert world.render() is None


def test_the_exponent_at_the_upright_equilibrium_is_the_analytic_one() -> None:
    upright, hanging = lyapunov_exponents(np.array([[np.pi, np.pi, 0, 0], [0, 0, 0, 0]]), seconds=1.5, settle=2.0)
    assert upright == pytest.approx(math.sqrt(G * (2 + math.sqrt(2))), rel=1e-3)
    assert abs(hanging) < 0.5


def test_chaos_is_found_where_the_energy_is_high() -> None:
    rng = np.random.default_rng(0)
    high, low = rng.uniform(2, 4, (12, 4)), rng.uniform(-0.3, 0.3, (12, 4))
    high[:, 2:] = 0
    exponents = lyapunov_exponents(np.concatenate([high, low]), seconds=6.0, settle=2.0)
    assert exponents.shape == (24,) and exponents[:12].mean() > 0.8 and np.abs(exponents[12:]).mean() < 0.15


def test_the_lyapunov_time_is_a_function_of_its_arguments() -> None:
    first, again, other = (lyapunov_time(3.0, 16, settle=1.0, seed=seed) for seed in (1, 1, 2))
    assert first == again != other and 0.5 < first < 3
    with pytest.raises(ValueError, match="seconds"):
        lyapunov_time(0.0)


@pytest.mark.parametrize("options", [{"frame_size": 7}, {"render_mode": "human"}, {"torque": 1}])
def test_bad_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TinyJEPAError, match=next(iter(options)).replace("_", "[_ ]")):
        make_world("double-pendulum", **options)


@pytest.mark.parametrize("start", [[0, 0, 0], [0, 0, math.nan, 0]])
def test_a_bad_start_is_refused(start: list[float]) -> None:
    with pytest.raises(TinyJEPAError, match="four finite numbers"):
        video(start, [])
