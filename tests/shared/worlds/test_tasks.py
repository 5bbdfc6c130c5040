"""Every world's tasks: fixed lists, goals that can be shown, guides that do what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shared.errors import TinyJEPAError
from shared.worlds import WORLDS, make_world
from shared.worlds.tasks import LISTED, Reach, Score, fingerprint, steps_states, tasks
from shared.worlds.two_room.geometry import WALLS

OPTIONS = {"double-pendulum": {"torque": True}}
LISTS = {
    "two-room ours": "5327604", "two-room eb-jepa": "db80935", "two-room lewm": "b303a80",
}  # fmt: skip
"""Beginnings of the fingerprints of the first 40 episodes: results stay comparable while these do."""


def every_task() -> list[tuple[str, str]]:
    return [(name, task) for name in WORLDS for task in tasks(make_world(name, **OPTIONS.get(name, {})))]


@pytest.mark.parametrize(("name", "task_name"), every_task())
def test_a_task_is_a_fixed_list_that_its_world_can_play(name: str, task_name: str) -> None:
    world = make_world(name, **OPTIONS.get(name, {}))
    task = tasks(world)[task_name]
    cases = task.cases(12)
    assert fingerprint(cases) == fingerprint(task.cases(12)) != fingerprint(task.cases(12, LISTED + 1))
    assert cases[:5] == task.cases(5) and task.steps > 0 and task.episodes > 0 and task.summary
    practice = {case.seed for case in task.practice(12, 7)}
    assert len(practice) == 12 and not practice & {case.seed for case in cases}
    for case in cases[:3]:
        world.reset(seed=case.seed, options=case.start or None)
        start = world.state()
        if isinstance(task, Reach):
            assert case.goal is not None
            world.reset(seed=case.seed, options=case.goal)
            goal = world.state()
            assert task.distance(goal[None].astype(float), goal)[0] < 1e-3
            assert task.distance(start[None].astype(float), goal)[0] > task.radii[0] or task_name == "lewm"
            assert task.remaining(goal[None].astype(float), goal)[0] == pytest.approx(0, abs=1e-3)
        else:
            assert isinstance(task, Score) and case.goal is None


@pytest.mark.parametrize("listed", LISTS)
def test_the_lists_stay_what_they_are(listed: str) -> None:
    name, task = listed.split()
    assert fingerprint(tasks(make_world(name))[task].cases(40)).startswith(LISTS[listed])


def test_nobody_plans_where_nobody_acts() -> None:
    world = make_world("bouncing-logo")
    with pytest.raises(TinyJEPAError, match="nobody acts"):
        tasks(world)["reward"].check(world)


@pytest.mark.parametrize("name", [name for name in WORLDS if steps_states(make_world(name, **OPTIONS.get(name, {})))])
def test_states_are_stepped_as_the_world_steps(name: str) -> None:
    world = make_world(name, **OPTIONS.get(name, {}))
    world.action_space.seed(0)
    for seed in range(4):
        world.reset(seed=seed)
        states = world.state()[None].astype(np.float64)
        for _ in range(15):
            action = world.action_space.sample()
            states = world.next_states(states, action[None])
            world.step(action)
        assert states[0] == pytest.approx(world.state(), abs=1e-3)


def test_two_rooms_lists_are_what_they_say() -> None:
    world = make_world("two-room")
    for name in ("ours", "eb-jepa", "dino-wm", "pldm"):
        for number, case in enumerate(tasks(world)[name].cases(30)):
            assert case.goal is not None
            wall, start, goal = case.start["wall"], case.start["start"], case.goal["start"]
            assert (start[0] - wall) * (goal[0] - wall) < 0 and case.goal["wall"] == wall
            unseen = name in ("ours", "dino-wm") and number % 2 == 1
            assert case.group == ("unseen" if unseen else "seen")
            assert wall in WALLS["held-out" if unseen else "seen"]
    assert {case.group for case in tasks(world)["ours"].practice(10, 0)} == {"seen"}


def test_a_guide_knows_the_door_and_a_straight_line_does_not() -> None:
    world = make_world("two-room")
    task = tasks(world)["ours"]
    assert isinstance(task, Reach)
    reached = {}
    for name, make in task.guides.items():
        ends = []
        for case in task.cases(20):
            world.reset(seed=case.seed, options=case.goal)
            goal = world.state()
            frame, _ = world.reset(seed=case.seed, options=case.start)
            guide = make(world.state(), goal, np.random.default_rng(0))
            for _ in range(task.steps):
                frame = world.step(guide.act(frame, world.state()))[0]
            ends.append(task.distance(world.state()[None], goal)[0] < min(task.radii))
        reached[name] = np.mean(ends)
    assert reached["expert"] == 1 and reached["straight"] < 0.3


def test_paths_through_walls_are_found() -> None:
    task = tasks(make_world("two-room"))["ours"]
    assert isinstance(task, Reach)

    def path(*places: tuple[float, float]) -> np.ndarray:
        return np.array([(*place, 30.0, 20.0) for place in places])

    assert not task.impossible(path((20, 20), (28, 21), (32, 19), (40, 30)))
    assert not task.impossible(path((20, 40), (28, 40), (20, 50)))
    assert task.impossible(path((20, 40), (28, 40), (32, 40)))
    assert task.impossible(path((20, 20), (32, 20), (40, 40), (28, 40)))


DOORS = {"set": {"factors": {"door_width": 15.0}}, "sampled": {"vary": ["door_width@outside"]}}


@pytest.mark.parametrize("options", DOORS.values(), ids=DOORS)
def test_two_rooms_tasks_know_how_wide_the_door_is(options: dict[str, Any]) -> None:
    world = make_world("two-room", **options)
    task = tasks(world)["ours"]
    assert isinstance(task, Reach)
    for seed in range(6):
        world.reset(seed=seed, options={"wall": 30.0, "door": 30.0})
        half = world.half.door

        def states(*places: tuple[float, float]) -> np.ndarray:
            return np.array([(*place, 30.0, 30.0) for place in places])

        assert not task.impossible(states((26, 30 + half), (34, 30 + half))), "through the door"
        assert task.impossible(states((26, 32 + half), (34, 32 + half)))
        goal = states((34, 30))[0]
        inside, beside = task.remaining(states((29.9, 29.9 + half), (27.5, 30.1 + half)), goal)
        assert inside == pytest.approx(np.hypot(3.1, half - 0.1) + 1) and beside > 7, "into the door, and through it"


@pytest.mark.parametrize("options", [{"factors": {"door_width": 5.0, "wall_thickness": 6.0}}, *DOORS.values()])
def test_no_goal_that_is_pointed_at_is_in_a_wall(options: dict[str, Any]) -> None:
    world = make_world("two-room", **options)
    task = tasks(world)["ours"]
    assert isinstance(task, Reach)
    for seed in range(4):
        world.reset(seed=seed, options={"wall": 30.0, "door": 30.0})
        before, free = world.state(), 0
        for down in np.linspace(0.3, 0.6, 60):
            goal = task.pointed(before, 30.5 / 65, down)
            assert goal is not None
            x, y = goal["start"]
            half = world.half
            assert abs(x - 30) > half.wall or abs(y - 30) <= half.door
            free += x == 30
        assert free == pytest.approx(2 * half.door / (0.3 * 65 / 59), abs=2), "in the door any place is meant"


POINTED = [
    (name, task) for name, task in every_task()
    if isinstance(made := tasks(make_world(name, **OPTIONS.get(name, {})))[task], Reach)
    and type(made).pointed is not Reach.pointed
]  # fmt: skip


@pytest.mark.parametrize(("name", "task_name"), POINTED)
def test_a_point_of_the_picture_becomes_the_goal_there(name: str, task_name: str) -> None:
    """The goal is where it was pointed at, or near where nothing can be; nothing else changes."""
    world = make_world(name, **OPTIONS.get(name, {}))
    task = tasks(world)[task_name]
    assert isinstance(task, Reach)
    rng = np.random.default_rng(0)
    off = []
    for seed in range(60):
        point = rng.uniform(0, 1, 2)
        world.reset(seed=seed)
        before = world.state()
        options = task.pointed(before, *point)
        assert options is not None
        world.reset(seed=seed, options=options)
        found = task.places(world.state()[None].astype(float))
        assert found is not None and np.allclose(world.state()[2:], before[2:])
        off.append(float(np.abs(found[0] - point).max()))
        action = world.action_space.sample()
        world.step(np.zeros_like(action))
        assert np.allclose(task.places(world.state()[None].astype(float)), found), "it can stay there"
    assert np.quantile(off, 0.3) < 1e-4 and max(off) < 0.12, "at walls and outside the nearest free place is meant"


def test_nothing_is_pointed_at_where_nobody_says() -> None:
    world = make_world("double-pendulum", torque=True)
    task = tasks(world)["swing-up"]
    assert isinstance(task, Reach)
    world.reset(seed=0)
    assert task.pointed(world.state(), 0.5, 0.5) is None and task.places(world.state()[None]) is None
