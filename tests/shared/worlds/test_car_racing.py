"""The fast CarRacing against gymnasium's: the same physics to the last bit, nearly the same pictures."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest
from gymnasium.envs.box2d import car_racing as reference
from gymnasium.utils.env_checker import check_env

from benchmarks.car_racing_behaviours import BEHAVIOURS
from benchmarks.car_racing_fidelity import Reference, fidelity, lockstep, reduced, ssim
from shared.errors import TinyJEPAError
from shared.worlds.car_racing import CarRacing
from shared.worlds.car_racing.situations import Driver
from shared.worlds.car_racing.track import CentreLine, Track


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_physics_are_gymnasiums_to_the_last_bit(behaviour: str) -> None:
    ours, theirs = CarRacing(8), Reference(pictures=False)
    for seed in (1, 2):
        for _, _, mine, wanted in lockstep(ours, theirs, behaviour, seed, 300):
            assert mine == wanted
        assert ours.track == theirs.track


def test_leaving_the_playfield_ends_like_gymnasium() -> None:
    *_, (_, _, mine, wanted) = lockstep(CarRacing(8), Reference(pictures=False), "straight", 3, 400)
    assert mine == wanted
    assert mine[-2:] == (-100.0, True)


def test_a_finished_lap_ends_like_gymnasium() -> None:
    ours, theirs = CarRacing(8), Reference(pictures=False)
    last = None
    for _, _, mine, wanted in lockstep(ours, theirs, "pursuit", 4, 4000):
        assert mine == wanted
        last = mine
    assert last is not None and last[-1] is True
    assert ours.new_lap or ours.tile_visited_count == len(ours.track)


def test_lap_complete_percent_ends_a_lap_early() -> None:
    for percent, ends in ((0.5, True), (0.6, False)):
        env = CarRacing(8, lap_complete_percent=percent)
        env.reset(seed=5)
        env.tile_visited_count = int(0.55 * len(env.track))
        env.visited[0] = False
        env.visit(0)
        assert env.step(np.zeros(3, np.float32))[2] is ends


@pytest.mark.parametrize(
    ("size", "hud", "intro"), [(64, False, False), (64, True, False), (64, False, True), (96, True, True)]
)
def test_pictures_are_close_to_gymnasiums(size: int, hud: bool, intro: bool) -> None:
    steps = 44 if intro else 145
    found = fidelity(size, hud, intro, range(50, 57), steps, every=5 if intro else 18)
    assert found["frames"] >= 50
    assert found["mad"] <= 0.4
    assert found["p99"] <= 0.8
    assert found["ssim"] >= 0.99


def test_randomised_colours_are_gymnasiums() -> None:
    ours = CarRacing(64, domain_randomize=True)
    theirs = reference.CarRacing(domain_randomize=True)
    for options in (None, {"randomize": False}, {"randomize": True}):
        ours.reset(seed=11, options=options)
        theirs.reset(seed=11, options=options)
        for name in ("road_color", "bg_color", "grass_color"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
    for _ in range(60):
        frame = ours.step(np.array([0, 0.5, 0], np.float32))[0]
        picture = theirs.step(np.array([0, 0.5, 0], np.float32))[0]
    wanted = reduced(picture, 64, False)
    assert np.abs(frame.astype(int) - wanted).mean() < 0.6
    assert ssim(frame, wanted) > 0.985


FACTORS: list[dict[str, Any]] = [
    {"camera_zoom": 0.5}, {"camera_zoom": 1.5}, {"road_width": 0.5}, {"road_width": 1.5},
    {"car_colour": [20, 40, 220]}, {"camera_zoom": 1.3, "road_width": 1.2, "car_colour": [250, 250, 0]},
]  # fmt: skip


@pytest.mark.parametrize("factors", FACTORS, ids=str)
def test_factors_are_gymnasiums_with_other_constants(factors: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = CarRacing(64, factors=factors, render_mode="rgb_array"), reference.CarRacing()
    monkeypatch.setattr(reference, "TRACK_WIDTH", reference.TRACK_WIDTH * factors.get("road_width", 1.0))
    zoom = reference.ZOOM * factors.get("camera_zoom", 1.0)
    ours.reset(seed=4)
    theirs.reset(seed=4)
    theirs.car.hull.color = tuple(level / 255 for level in factors.get("car_colour", (204, 0, 0)))
    for step in range(100):
        action = np.array([0.6 * math.sin(step / 9), 0.7, 0.0], np.float32)
        frame, reward, *_ = ours.step(action)
        _, wanted_reward, *_ = theirs.step(action)
        assert ours.car is not None
        assert tuple(ours.car.hull.position) == tuple(theirs.car.hull.position) and reward == wanted_reward
        if step % 20 == 19:
            with monkeypatch.context() as patched:
                patched.setattr(reference, "ZOOM", zoom)
                theirs.t += 1.0  # past the first second, whose zoom ours leaves out
                wanted = reduced(theirs._render("state_pixels"), 64, False)
                theirs.t -= 1.0
            assert np.abs(frame.astype(int) - wanted).mean() < 0.9 and ssim(frame, wanted) > 0.975
    picture = ours.render()
    with monkeypatch.context() as patched:
        patched.setattr(reference, "ZOOM", zoom)
        theirs.t += 1.0
        assert picture is not None and np.abs(picture.astype(int) - theirs._render("rgb_array")).mean() < 0.5


DIGEST = """
import hashlib, sys
import numpy as np
from shared.worlds.car_racing import CarRacing

def digest(env, seed):
    found = hashlib.sha256()
    frame, _ = env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for step in range(60):
        found.update(frame.tobytes() + env.state().tobytes())
        frame, reward, ended, _, _ = env.step(rng.uniform([-0.4, 0.3, 0], [0.4, 1, 0.1]).astype(np.float32))
        found.update(np.float64(reward).tobytes())
    return found.hexdigest()
"""


def test_an_episode_does_not_depend_on_what_ran_before() -> None:
    scope: dict[str, object] = {}
    exec(DIGEST, scope)
    digest = scope["digest"]
    env = CarRacing(hud=True, domain_randomize=True)
    first = [digest(env, seed) for seed in (7, 8, 9)]  # type: ignore[operator]
    again = [digest(env, seed) for seed in (9, 7, 8)]  # type: ignore[operator]
    assert again == [first[2], first[0], first[1]]
    assert len(set(first)) == 3
    program = DIGEST + "print(digest(CarRacing(hud=True, domain_randomize=True), 9))"
    fresh = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert fresh.stdout.strip() == first[2]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("options", [{}, {"hud": True, "intro": True, "frame_skip": 3, "domain_randomize": True}])
def test_gymnasium_accepts_the_environment(options: dict[str, object]) -> None:
    check_env(CarRacing(**options))  # type: ignore[arg-type]


def test_state_agrees_with_what_the_car_does() -> None:
    env = CarRacing()
    env.reset(seed=12)
    rng = np.random.default_rng(12)
    before = env.state()
    for step in range(300):
        env.step(BEHAVIOURS["wander"](env, rng, step))
        now = env.state()
        moved = (now[:2].astype(float) - before[:2]) / 0.02
        angle = float(now[2])
        forward = moved @ (-math.sin(angle), math.cos(angle))
        left = moved @ (-math.cos(angle), -math.sin(angle))
        # Box2D's velocity is that of the centre of mass, 0.13 units off the origin whose position is told.
        slack = 0.05 + 0.3 * abs(float(now[5]))
        assert forward == pytest.approx(float(now[3]), abs=slack)
        assert left == pytest.approx(float(now[4]), abs=slack)
        assert (angle - float(before[2])) / 0.02 == pytest.approx(float(now[5]), abs=0.01)
        line = env.line.xy
        assert env.line.nearest == np.argmin(((line - now[:2]) ** 2).sum(1))
        assert abs(float(now[6])) <= np.sqrt(((line - now[:2]) ** 2).sum(1).min()) + 1e-3
        assert abs(float(now[7])) <= math.pi
        assert now[8] == np.float32(env.tile_visited_count / len(env.track))
        before = now
    assert now.dtype == np.float32 and now.shape == (len(env.state_names),)
    assert now[8] > 0.1


def test_the_centre_line_measures_offset_and_heading() -> None:
    track = Track.create(np.random.default_rng(3))
    line = CentreLine(track)
    for i in (0, 40, 150, 151, 41, 290 % len(track.points)):
        _, beta, x, y = track.points[i]
        line.follow(x, y)
        assert line.nearest == i
        offset, heading = line.locate(x, y)
        assert offset == pytest.approx(0, abs=1e-9)
        assert math.remainder(heading - beta, 2 * math.pi) == pytest.approx(0, abs=1e-9)
        for left in (2.0, -2.0):
            offset, _ = line.locate(x - left * math.cos(beta), y - left * math.sin(beta))
            assert offset == pytest.approx(left, abs=0.2)


def test_on_road_is_whether_a_wheel_touches_a_tile() -> None:
    env = CarRacing(8)
    env.reset(seed=13)
    assert env.on_road
    while env.on_road:
        env.step(np.array([0.0, 1.0, 0.0], np.float32))
    assert abs(float(env.state()[6])) > reference.TRACK_WIDTH - 2.0


def test_frame_skip_repeats_the_action() -> None:
    one, three = CarRacing(16), CarRacing(16, frame_skip=3)
    assert three.control_rate == pytest.approx(one.control_rate / 3)
    one.reset(seed=14)
    three.reset(seed=14)
    rng = np.random.default_rng(14)
    for _ in range(40):
        action = rng.uniform([-1, 0, 0], [1, 1, 0.2]).astype(np.float32)
        total = 0.0
        for _ in range(3):
            frame, reward, *_ = one.step(action)
            total += reward
        skipped, reward, *_ = three.step(action)
        assert reward == total
        np.testing.assert_array_equal(skipped, frame)
        np.testing.assert_array_equal(three.state(), one.state())


def test_render_is_gymnasiums_drawing() -> None:
    ours, theirs = CarRacing(intro=True, render_mode="rgb_array"), reference.CarRacing(render_mode="rgb_array")
    ours.reset(seed=15)
    theirs.reset(seed=15)
    for step in range(80):
        action = np.array([0.9 if step > 30 else 0.0, 1.0, 0.0], np.float32)
        ours.step(action)
        theirs.step(action)
    assert len(theirs.car.particles) > 0
    picture = ours.render()
    assert picture is not None and picture.shape == (400, 600, 3)
    np.testing.assert_array_equal(picture, theirs.render())


@pytest.mark.parametrize("options", [{}, {"hud": True, "factors": {"camera_zoom": 0.8}}], ids=["plain", "other-camera"])
def test_a_course_leads_to_where_the_car_gets(options: dict[str, Any]) -> None:
    """A dot on the ground, where the car is 24 frames later, is drawn in the picture of now where the course ends."""
    env = CarRacing(**options)
    env.reset(seed=17)
    driver = Driver(env, np.random.default_rng(0))
    for _ in range(100):
        env.step(driver.act())
    picture, now, states = env.frame().astype(int), env.fork(), [env.state()]
    for _ in range(24):
        env.step(driver.act())
        states.append(env.state())
    texture, scale = now.renderer.texture, now.renderer.scale
    assert env.car is not None
    place = [round((at + reference.PLAYFIELD) * scale - 0.5) for at in (env.car.x, env.car.y)]
    cv2.circle(texture, place, round(2 * scale), (0, 0, 255, 0), -1)
    rows, columns = np.nonzero(np.abs(now.frame().astype(int) - picture).sum(2) > 150)
    assert len(rows) > 3 and not (picture[rows, columns, 2] > 200).any()
    drawn = (np.array([columns.mean(), rows.mean()]) + 0.5) / 64
    path = np.stack(states).astype(np.float64)
    courses = now.course(np.stack([path, path]), 1 / 50)
    start = now.course(path[None, :1], 1 / 50)[0]
    assert courses.shape == (2, 25, 2) and np.array_equal(courses[0, :1], start) and start[0, 0] == 0.5
    assert np.hypot(*(start[0] - drawn)) > 0.25, "it drives on"
    for every in (1, 4):
        end = now.course(path[None, ::every], every / 50)[0, -1]
        assert np.hypot(*(end - drawn)) < 1.5 / 64


def test_a_frame_is_the_callers_own() -> None:
    env = CarRacing()
    frame, _ = env.reset(seed=16)
    kept = hashlib.sha256(frame.tobytes()).hexdigest()
    for _ in range(20):
        env.step(np.array([0.0, 1.0, 0.0], np.float32))
    assert hashlib.sha256(frame.tobytes()).hexdigest() == kept


@pytest.mark.parametrize("options", [{"frame_size": 4}, {"frame_skip": 0}, {"render_mode": "human"}])
def test_bad_options_are_told(options: dict[str, object]) -> None:
    with pytest.raises(TinyJEPAError, match=str(next(iter(options)))):
        CarRacing(**options)  # type: ignore[arg-type]


def test_step_needs_a_reset() -> None:
    with pytest.raises(TinyJEPAError, match="reset"):
        CarRacing().step(np.zeros(3, np.float32))
