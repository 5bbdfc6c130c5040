"""The planner of the live page: goals, its actions, its thread, and what is said where it cannot act."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from brain import pretrained
from brain.live.loaded import Loaded, load
from brain.live.messages import plan_text, scene_state
from brain.live.pilot import SOME, Acting
from brain.live.places import Places
from brain.live.rides import PLANNER
from brain.live.scene import Scene
from brain.live.viewers import Hall
from brain.planning.agent import Agent
from brain.planning.dynamics import TrueState
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds import make_world
from shared.worlds.tasks import Reach, tasks
from tests.brain.live.test_live import refused
from tests.support.living import ENDLESS, EXACT, TWO_ROOM, opened, rooms

SMALL_TREE = Acting("tree", ("nodes=40", "branches=4"))


@pytest.fixture(scope="module")
def exact() -> Loaded:
    return rooms(EXACT)


@pytest.fixture(scope="module")
def learned() -> Loaded:
    return rooms(SMALL_TREE)


def place(scene: Scene) -> np.ndarray:
    """Where the dot is, in shares of the picture."""
    assert scene.world is not None and scene.pilot is not None
    task = scene.pilot.job.task
    assert isinstance(task, Reach)
    found = task.places(scene.world.state()[None].astype(float))
    assert found is not None
    return found[0]


def test_the_dot_goes_where_one_points(exact: Loaded) -> None:
    scene = Scene(exact, seed=4)
    for _ in range(5):
        scene.advance()
    assert scene.policy != PLANNER and scene.imagined() is not None and not scene.imagined()["acting"]
    wall = scene.world.state()[2] / 65
    across = 0.8 if place(scene)[0] < wall else 0.15  # in the other room
    scene.point(across, 0.3)
    scene.advance()
    drawn = scene.imagined()
    assert scene.policy == PLANNER and drawn["goal"] == pytest.approx((across, 0.3), abs=1e-4)
    assert len(drawn["paths"]) >= SOME and len(drawn["way"]) == 13
    cuts = [scene.advance().cut for _ in range(120)]
    assert not any(cuts), "it has its task's steps, whenever the goal was set"
    assert np.hypot(*(place(scene) - (across, 0.3))) * 65 < 4.5
    scene.close()


def test_it_does_what_the_agent_of_brain_plan_does(learned: Loaded) -> None:
    """The same start, goal and seed: the same course, whether the scene waits for decisions or asks for them."""
    courses = []
    for asking in (False, True):
        scene = Scene(learned, seed=6)
        scene.choose_policy(PLANNER)
        states = []
        for _ in range(8):
            while asking and not scene.ready(0.01):
                pass
            scene.advance()
            states.append(scene.world.state())
        courses.append(np.stack(states))
        goal = scene.pilot.goal
        scene.close()
    assert np.array_equal(*courses)
    job = learned.planning
    world = make_world("two-room")
    layout = {"wall": courses[0][0, 2], "door": courses[0][0, 3]}
    frame, _ = world.reset(seed=0, options={"start": courses[0][0, :2], **layout})
    agent = Agent(world, job.dynamics, job.planner, job.cost, goal, int(np.random.default_rng([6, 2]).integers(2**31)))
    own = [world.state()]
    for _ in range(7):
        frame, *_ = world.step(agent.act(frame, world.state()))
        own.append(world.state())
    assert np.allclose(own, courses[0], atol=1e-3) and not np.allclose(own[0], own[-1], atol=0.5)


def test_a_decision_that_nobody_waits_for_ends() -> None:
    scene = Scene(rooms(ENDLESS), seed=1)
    scene.choose_policy(PLANNER)
    scene.advance()
    assert not scene.ready(0.05) and not scene.ready(0.05)
    drawn = scene.imagined()
    assert drawn["acting"] and drawn["busy"] > 0
    given_up = scene.pilot._action
    scene.point(0.2, 0.5)
    with pytest.raises(Exception, match=r"^$"):
        given_up.result(60)
    assert not scene.ready(0) and scene.imagined()["goal"] == pytest.approx((0.2, 0.5), abs=1e-4)
    given_up = scene.pilot._action
    scene.choose_policy("random")
    with pytest.raises(Exception, match=r"^$"):
        given_up.result(60)
    assert scene.ready(0) and not scene.imagined()["acting"] and scene.imagined()["goal"] is None
    assert not scene.advance().cut, "random actions go on from where it is"
    scene.close()


def test_the_goal_stays_where_it_is_after_a_teleport(learned: Loaded) -> None:
    scene = Scene(learned, seed=2)
    scene.choose_policy(PLANNER)
    for _ in range(3):
        scene.advance()
    before, old = scene.imagined()["goal"], scene.world.state()
    assert scene.play("teleport")
    scene.advance()
    layout = scene.world.state()[2:]
    assert not np.array_equal(layout, old[2:])
    assert np.array_equal(scene.pilot.goal.state[2:], layout), "the goal is shown in the other episode's rooms"
    assert np.abs(np.subtract(scene.imagined()["goal"], before)).max() < 0.12
    assert not scene.advance().cut
    scene.close()


def test_after_a_violation_that_leads_elsewhere_it_sees_where_it_is(learned: Loaded) -> None:
    scene = Scene(learned, seed=3)
    scene.choose_policy(PLANNER)
    for _ in range(2):
        scene.advance()
    shown: list[bool] = []
    act = scene.pilot.act

    def watched(frame: np.ndarray, state: np.ndarray) -> object:
        shown.append(np.array_equal(frame, scene.world.frame()) and np.array_equal(state, scene.world.state()))
        return act(frame, state)

    scene.pilot.act = watched
    before = scene.world.state()[2:]
    assert scene.play("through-the-wall")
    while scene.advance().intervention is None:
        assert scene.number < 100
    acted = len(shown)
    while len(shown) < acted + 3:
        assert scene.number < 200
        scene.advance()
    assert not np.array_equal(scene.world.state()[2:], before), "the violation has rooms of its own"
    assert all(shown)
    scene.close()


def test_an_episode_that_a_violation_leads_up_to_is_not_planned_and_then_has_its_own_goals(tmp_path: Path) -> None:
    """Rooms whose contrast differs from episode to episode: the picture of a goal shows which one it was drawn in."""
    folder = tmp_path / "two-room"
    shutil.copytree(TWO_ROOM, folder)
    judged = json.loads((folder / "judge.json").read_text())
    judged["store"]["world_options"]["vary"] = ["contrast"]
    (folder / "judge.json").write_text(json.dumps(judged))
    scene = Scene(load(folder, None, torch.device("cpu"), acting=SMALL_TREE), seed=3)
    scene.choose_policy(PLANNER)
    scene.advance(), scene.advance()
    before = scene.world.frame()[:, :, 1].max()
    assert scene.play("through-the-wall")
    while scene.advance().intervention is None:
        assert scene.ready(0) and scene.pilot.busy is None and scene.pilot._action is None
    scene.point(0.2, 0.3)
    scene.advance()
    wall = scene.world.frame()[:, :, 1].max()
    assert scene.pilot.goal.frame[:, :, 1].max() == wall != before
    scene.close()


def test_places_are_read_off_latents() -> None:
    """On true states, whose places are known."""
    world = make_world("two-room")
    task = tasks(world)["ours"]
    world.reset(seed=3)
    layout = world.state()
    read = Places(task, world, TrueState(world), 3, layout)
    rng = np.random.default_rng(0)
    states = np.concatenate([rng.uniform(8, 56, (50, 2)), np.tile(layout[2:], (50, 1))], 1)
    states = states[np.abs(states[:, 0] - layout[2]) > 5]
    assert np.abs(read(torch.from_numpy(states)) - task.places(states)).max() * 65 < 2


def test_a_run_that_has_learned_to_drive_drives_from_the_first_frame() -> None:
    loaded = load(pretrained.folder("car-racing"), None, torch.device("cpu"), acting=Acting())
    assert loaded.policies[0] == PLANNER and loaded.planning is not None
    assert loaded.planning.choices.planner == "prior"
    scene = Scene(loaded, seed=2)
    for _ in range(60):
        scene.advance()
    speed = scene.world.state()[scene.world.state_names.index("forward_speed")]
    assert scene.policy == PLANNER and speed > 10, "it stands still under no actions, and nearly so under random ones"
    assert len(scene.imagined()["way"]) > 1, "what reads states off latents comes with the run"
    scene.close()


def test_paths_lead_on_from_the_car() -> None:
    """On the true state, where all that was imagined comes true: each picture has the rest of the plan."""
    acting = Acting(
        "cem", ("horizon=5", "receding=5", "samples=16", "block=5", "iterations=2", "elites=3"), dynamics="true"
    )
    scene = Scene(load(pretrained.folder("car-racing"), None, torch.device("cpu"), acting=acting), seed=3)
    world, stride = scene.world, scene.loaded.timing.stride
    states, drawn = [], []
    for _ in range(2 + 6 * 5 * stride):
        scene.advance()
        states.append(scene.world.state().astype(float))
        drawn.append(scene.imagined())
    car = world.course(np.stack(states)[None, :1], 1)[0, 0]
    assert drawn[0]["way"] == [] and drawn[0]["goal"] is None
    for number in range(1 + 5 * 5 * stride, 1 + 6 * 5 * stride):
        left = 5 * stride - 1 - (number - 1) % (5 * stride)
        true = world.course(np.stack(states[number : number + left + 1])[None], 1 / 50)[0]
        way, paths = np.array(drawn[number]["way"]), drawn[number]["paths"]
        assert np.allclose(way[0], car) and len(way) == min(6, left + 1)
        assert np.abs(way[-1] - true[-1]).max() < 0.03
        assert 1 <= len(paths) <= 32 + 1 and all(np.allclose(path[0], car) for path in paths)
    travelled = np.hypot(*(np.array(drawn[1 + 5 * 5 * stride]["way"])[-1] - car))
    assert travelled > 0.02
    scene.choose_policy("random")
    scene.advance()
    assert scene.imagined()["way"] == [] and scene.imagined()["paths"] == []
    scene.close()


def test_paths_end_where_what_was_imagined_ends() -> None:
    """A planner that imagines one step after the other acts for longer than the first of these lasts."""
    acting = Acting("policy", ("horizon=4", "receding=2"))
    scene = Scene(load(pretrained.folder("car-racing"), None, torch.device("cpu"), acting=acting), seed=2)
    stride, drawn = scene.loaded.timing.stride, []
    for _ in range(2 + 2 * stride):
        scene.advance()
        drawn.append(scene.imagined())
    assert [len(one["way"]) for one in drawn] == [0] + [5] * (1 + 2 * stride)
    assert [len(one["paths"]) for one in drawn] == [0] + [1] * stride + [0] * stride + [1]
    scene.close()


def test_where_no_planner_can_act_it_says_why(logo: Path, car: Path) -> None:
    store = logo.parent / "store"
    cases = [
        (load(logo, Store(store), torch.device("cpu"), acting=Acting()), "nobody acts"),
        (load(logo, Store(store), torch.device("cpu"), replay=True, acting=Acting()), "cannot be steered"),
        (load(car, None, torch.device("cpu"), acting=Acting()), "give --fit STORE"),
        (load(car, None, torch.device("cpu"), acting=Acting("tree")), "planner tree needs a goal"),
        (rooms(Acting("inverse")), "give --fit STORE"),
        (rooms(Acting("gradient", dynamics="true")), "needs a model"),
    ]
    for loaded, why in cases:
        assert why in loaded.no_planner and "\n" not in loaded.no_planner and PLANNER not in loaded.policies
        scene = Scene(loaded)
        state = scene_state(scene)
        assert why in state["planner"]["why_not"] and not state["planner"]["points"] and scene.imagined() is None
        with pytest.raises(TinyJEPAError, match=why):
            scene.point(0.5, 0.5)
        with pytest.raises(TinyJEPAError):
            scene.choose_policy(PLANNER)
        assert scene.advance().cut


def test_learned_parts_are_fitted_with_progress(car: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "car"
    shutil.copytree(car, copy)
    acting = Acting("prior", ("fit_steps=3", "samples=4"), ("reward:fit_steps=3", "value:fit_steps=3"))
    loaded = load(copy, None, torch.device("cpu"), acting=acting, fit=Store(car.parent / "store"))
    said = capsys.readouterr().err
    assert (copy / "planning-states.safetensors").exists()
    for kind in ("policy", "reward", "value"):
        assert f"fit: {kind}, to " in said and (copy / f"planning-{kind}.safetensors").exists()
    scene = Scene(loaded)
    scene.choose_policy(PLANNER)
    for _ in range(10):
        moment = scene.advance()
        assert scene.world.action_space.contains(scene.past[-1][1])
    assert moment.energy is not None and scene.imagined()["ahead"] == 8
    with pytest.raises(TinyJEPAError, match="sets no goal"):
        scene.point(0.5, 0.5)
    scene.close()
    again = load(copy, None, torch.device("cpu"), acting=replace(acting, options=("fit_steps=3",)))
    assert again.planning is not None and again.planning.reader.reads, "what was fitted is kept"


def test_bad_choices_of_a_planner_are_one_line(logo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = ("--run", str(logo))
    assert "Did you mean 'tree'" in refused(capsys, *run, "--planner", "tre")
    assert "Did you mean 'horizon'" in refused(capsys, *run, "--planner", "cem", "--set", "horizn=3")
    assert "option of planner" in refused(capsys, *run, "--set", "bananas=3")
    assert "Did you mean 'reward'" in refused(capsys, *run, "--cost", "rewart")
    assert "apply to one run" in refused(capsys, *run, *run, "--fit", "somewhere")
    assert "somewhere" in refused(capsys, *run, "--fit", "somewhere")


def test_who_comes_later_sees_the_plan_too(exact: Loaded) -> None:
    async def main() -> None:
        hall = Hall()
        early = hall.enter()
        scene = Scene(exact)
        scene.choose_policy(PLANNER)
        scene.advance()
        scene.advance()
        hall.state(scene_state(scene), fresh=True)
        hall.plan(plan_text(scene.imagined()))
        hall.plan(plan_text(scene.imagined()))
        for viewer in (early, hall.enter()):
            state, plan = await viewer.take()
            assert "plan" not in json.loads(state) and len(json.loads(plan)["plan"]["way"]) == 13
        hall.plan(plan_text(scene.imagined()))
        hall.state({"scene": 2}, fresh=True)
        assert [json.loads(item) for item in await early.take()] == [{"scene": 2}]
        scene.close()

    asyncio.run(main())


def test_a_stored_scene_has_no_planner(logo: Path) -> None:
    scene = Scene(opened(logo, logo.parent / "store", replay=True))
    assert scene.ready(0) and scene.imagined() is None and scene_state(scene)["planner"]["why_not"]
