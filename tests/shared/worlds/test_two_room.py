"""Two rooms: what the docstrings say, and two programs of the same rules against each other."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest

from factory.collecting.episodes import run_episode
from factory.collecting.job import make_job
from shared.errors import TinyJEPAError
from shared.store.schema import Episode
from shared.worlds import make_world
from shared.worlds.two_room import TwoRoom, TwoRoomBatch, geometry
from shared.worlds.two_room.geometry import HIGH, LOW, WALLS, blocked


def episodes(dataset: str, count: int, seed: int = 3) -> list[Episode]:
    job = make_job("two-room", dataset=dataset)
    world = make_world("two-room", **job.spec.world_options)
    return [run_episode(world, job.run.policy, seed, k, job.run.max_episode_steps) for k in range(count)]


def test_one_episode_and_the_batch_obey_the_same_rules() -> None:
    rng, count, steps = np.random.default_rng(0), 60, 40
    worlds = [make_world("two-room", walls="random") for _ in range(count)]
    for seed, world in enumerate(worlds):
        world.reset(seed=seed)
    states = np.array([world.state() for world in worlds], np.float64)
    states[::2, 0] = states[::2, 2] + rng.uniform(-3, 3, count // 2)  # half of them near the wall, and near the door
    states[::2, 1] = states[::2, 3] + rng.uniform(-6, 6, count // 2)
    for seed, world in enumerate(worlds):
        world.reset(seed=seed, options={"start": states[seed, :2]})
    batch = TwoRoomBatch(count)
    seen, _ = batch.reset(seed=0, options={"start": states[:, :2], "wall": states[:, 2], "door": states[:, 3]})
    stayed = 0
    for _ in range(steps):
        actions = rng.uniform(-2.45, 2.45, (count, 2))
        before = batch.at.copy()
        seen = batch.step(actions)[0]
        frames = [world.step(action)[0] for world, action in zip(worlds, actions)]
        assert np.abs(np.array([world.state()[:2] for world in worlds]) - batch.at).max() < 1e-5
        assert np.abs(np.array(frames).astype(int) - seen).max() <= 1
        stayed += int((before == batch.at).all(1).sum())
    assert count * steps * 0.05 < stayed < count * steps * 0.5


def test_no_step_leads_through_a_wall_but_through_the_door() -> None:
    wall, door = np.array([32.0]), np.array([20.0])

    def stops(at: tuple[float, float], to: tuple[float, float]) -> bool:
        return bool(blocked(np.array([at]), np.array([to]), wall, door)[0])

    assert stops((30.5, 40), (31.5, 40)) and stops((30.0, 40), (34.0, 40)) and stops((34.0, 40), (32.5, 40))
    assert not stops((30.0, 20), (34.0, 20)) and not stops((30.0, 23.9), (34.0, 23.9))
    assert stops((30.0, 24.1), (34.0, 24.1))
    assert stops((32.0, 23.5), (32.0, 24.5)) and stops((32.0, 16.5), (32.0, 15.5)), "the jambs"
    assert stops((5.0, 30), (3.9, 30)) and stops((59.5, 30), (60.5, 30)) and stops((10, 59.5), (10, 60.0))
    assert not stops((10.0, 30), (12.0, 30))


@pytest.mark.parametrize("collision", ["stay", "stop"])
def test_the_dot_stays_in_the_rooms_and_crosses_only_at_the_door(collision: str) -> None:
    batch = TwoRoomBatch(400, walls="random", collision=collision)
    batch.reset(seed=1)
    rng, crossings = np.random.default_rng(1), 0
    for _ in range(150):
        before = batch.at
        after = batch.move(rng.uniform(-2.45, 2.45, (400, 2)))
        assert (after > LOW).all() and (after < HIGH).all()
        crossed = (before[:, 0] - batch.wall) * (after[:, 0] - batch.wall) < 0
        assert (np.abs(after[crossed, 1] - batch.door[crossed]) < 4 + 2.45).all()
        crossings += int(crossed.sum())
        inside = (np.abs(after[:, 0] - batch.wall) < 1) & (np.abs(after[:, 1] - batch.door) > 4)
        assert not inside.any()
    assert crossings > 20


def test_stopping_ends_at_the_wall_where_staying_does_not_move() -> None:
    start, places = {"start": np.array([[10.0, 30.0]]), "wall": [32.0], "door": [10.0]}, {}
    for collision in ("stay", "stop"):
        batch = TwoRoomBatch(1, collision=collision)
        batch.reset(seed=0, options=start)
        for _ in range(6):
            batch.move(np.array([[-2.0, 0.0]]))
        places[collision] = batch.at[0]
    assert places["stay"].tolist() == [6.0, 30.0]
    assert 4 < places["stop"][0] < 6 and places["stop"][1] != 30.0


def test_the_frame_shows_dot_and_walls() -> None:
    world = make_world("two-room", walls="fixed")
    frame, _ = world.reset(seed=4)
    x, y, wall, door = world.state()
    assert (wall, door) == (32, 10)
    dot = frame[:, :, 0].astype(float)
    centre = [(dot.sum(axis) * np.arange(65)).sum() / dot.sum() for axis in (0, 1)]
    assert np.allclose(centre, [x, y], atol=0.05)
    walls = frame[:, :, 1] == 255
    assert np.flatnonzero(walls[30]).tolist() == [4, 31, 32, 33, 60]
    assert not walls[6:15, 32].any() and walls[5, 32] and walls[15, 32] and set(np.unique(frame[:, :, 1])) == {0, 255}


def test_held_out_walls_are_in_no_training_set() -> None:
    assert set(WALLS["seen"]) | set(WALLS["held-out"]) == set(WALLS["random"]) == set(range(20, 45))
    seen = {float(episode.state[0, 2]) for episode in episodes("normal", 300)}
    held = {float(episode.state[0, 2]) for episode in episodes("wall_other", 100)}
    assert len(seen) == 20 and held == {36.0, 37.0, 38.0, 39.0, 40.0}


def test_the_four_data_sets_are_what_they_are_called() -> None:
    normal, wall, expert = (episodes(name, count) for name, count in (("normal", 400), ("wall", 400), ("expert", 60)))
    steps = np.concatenate([episode.action[:-1] for episode in normal])
    length = np.hypot(*steps.T)
    assert len(normal[0].frame) == 17 and length.min() >= 0.2 and length.max() <= 1.8001
    assert abs(length.mean() - 1) < 0.02 and abs(np.mean(steps)) < 0.03
    places = np.concatenate([episode.state[:, :2] for episode in normal])
    assert np.allclose(places.std(0), 16.1, atol=1.5) and np.allclose(places.mean(0), 32, atol=2.5)

    def crosses(episode: Episode) -> bool:
        side = episode.state[:, 0] > episode.state[:, 2]
        return bool(side.min() != side.max())

    assert 0.05 < np.mean([crosses(episode) for episode in normal]) < 0.2
    assert np.mean([crosses(episode) for episode in normal if episode.policy == "crossing"]) > 0.8
    ways = {tuple(action) for episode in wall for action in episode.action[:-1].tolist()}
    assert ways == {(1.0, 0.0), (-1.0, 0.0)}
    assert 0.2 < np.mean([crosses(episode) for episode in wall]) < 0.45
    assert all(crosses(episode) and len(episode.frame) == 91 for episode in expert)
    for episode in expert:
        moves = (episode.action[:-1] != 0).any(1)
        assert moves[: moves.sum()].all(), "once at the goal, it stays"


def test_gymnasium_makes_the_batch() -> None:
    batch = gym.make_vec("tinyjepa/TwoRoom-v0", num_envs=3, vectorization_mode="vector_entry_point")
    frames, _ = batch.reset(seed=0)
    assert [bool(batch.step(np.zeros((3, 2)))[3].all()) for _ in range(1000)] == [False] * 999 + [True]
    assert frames.shape == (3, 65, 65, 2) and frames.dtype == np.uint8 and batch.observation_space.contains(frames)


@pytest.mark.parametrize(
    ("options", "words"), [({"walls": "moving"}, "held-out"), ({"collision": "slide"}, "stay, stop")]
)
def test_unknown_options_are_refused_with_the_choices(options: dict[str, str], words: str) -> None:
    with pytest.raises(TinyJEPAError, match=words):
        make_world("two-room", **options)


def test_an_unknown_dataset_is_refused() -> None:
    with pytest.raises(TinyJEPAError, match="wall_other"):
        make_job("two-room", dataset="wall_othr")
    with pytest.raises(TinyJEPAError, match="no datasets"):
        make_job("car-racing", dataset="normal")


@pytest.mark.parametrize(("thickness", "width"), [(1.0, 5.0), (3.0, 9.0), (2.4, 7.8), (6.0, 15.0), (4.0, 12.0)])
def test_walls_and_doors_are_drawn_as_wide_as_they_stop(thickness: float, width: float) -> None:
    world = make_world("two-room", factors={"wall_thickness": thickness, "door_width": width})
    walls = world.reset(seed=2, options={"wall": 30, "door": 30})[0][:, :, 1] / 255
    inside = walls[8, 6:59]
    assert inside.sum() == pytest.approx(thickness, abs=0.01) and inside[24] == 1
    assert (1 - walls[5:60, 30]).sum() == pytest.approx(width, abs=0.01)
    half = geometry.Opening((thickness - 1) / 2, (width - 1) / 2)
    at, to = np.array([[27.0, 30.0]]), np.array([[33.0, 30.0]])
    for y in np.linspace(20.013, 39.987, 200):
        at[:, 1] = to[:, 1] = y
        stopped = bool(geometry.blocked(at, to, np.array([30.0]), np.array([30.0]), half)[0])
        assert stopped == (abs(y - 30) > half.door)


def test_one_step_and_many_agree_whatever_the_walls() -> None:
    world = TwoRoom(factors={"wall_thickness": 5.0, "door_width": 6.0})
    rng = np.random.default_rng(0)
    hit = 0
    for seed in range(150):
        world.reset(seed=seed, options={"wall": 32, "door": 32, "start": rng.uniform((26, 25), (38, 39))})
        for _ in range(6):
            action = rng.uniform(-2.4, 2.4, 2).astype(np.float32)
            before = np.array([world.x, world.y, world.wall, world.door])
            expected = world.next_states(before[None], action[None])[0]
            world.step(action)
            assert np.allclose([world.x, world.y], expected[:2])
            hit += (world.x, world.y) == (before[0], before[1])
    assert hit > 100
