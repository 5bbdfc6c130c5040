"""Environments with one oddity each, through the command line: collected, replayed, verified, exported, or refused."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import pytest

from factory.cli import cli
from factory.collecting.collect import collect
from factory.collecting.job import make_job
from factory.commands.collect import log_file
from factory.export import export_store
from shared.cli.console import run
from shared.store.reader import Store
from shared.store.schema import FIRST, LAST, TERMINATED, TRUNCATED
from shared.store.verify import verify
from shared.worlds import WORLDS, make_world
from shared.worlds.bouncing_logo import BouncingLogo
from shared.worlds.episode import play, record
from shared.worlds.policy import Replay
from tests import ROOT
from tests.support.odd import STEPS, world_of

REFUSED = {
    "NoPicture": ["None"],
    "ListPicture": ["a list of 1"],
    "HotPicture": ["float32 of shape (24, 32, 3)", "[0, 1]"],
    "TwoPicture": ["uint8 of shape (24, 32, 2)"],
}
REPLAYED = [
    "Mutator", "Reuser", "FloatPicture", "Camera", "HalfBounded", "Huge", "Precise", "Whole", "Shifted", "Several",
    "Switches", "BothEnds", "OldLimit",
]  # fmt: skip


def collected(path: Path, kind: str, *arguments: str) -> Store:
    command = ["collect", "--world", world_of(kind), "--episodes", "3", "--frame-size", "16", "--local", "--quiet"]
    assert run(cli, "factory", [*command, "--store", str(path), *arguments]) == 0
    return Store(path)


@pytest.mark.parametrize("kind", REPLAYED)
def test_what_is_stored_can_be_replayed(kind: str, tmp_path: Path) -> None:
    store = collected(tmp_path / "store", kind)
    assert not verify(tmp_path / "store").faults
    world = make_world(store.spec.world, 16)
    for ref in store.episodes:
        stored = store.read_episode(ref)
        again = record(world, play(world, ref.seed, partial(Replay, world, stored["action"][:-1]), STEPS), STEPS)
        for name in ("frame", "action", "reward"):
            assert np.array_equal(getattr(again, name), stored[name]), name
        assert (again.terminated, again.truncated) == (ref.terminated, ref.truncated)
        assert ref.rows == STEPS + 1 and np.any(stored["frame"][0] != stored["frame"][-1])


@pytest.mark.parametrize(
    ("kind", "limit", "ends"),
    [
        ("Square", None, TERMINATED),
        ("BothEnds", None, TERMINATED | TRUNCATED),
        ("OldLimit", None, TRUNCATED),
        ("Square", STEPS - 2, TRUNCATED),
        ("Square", STEPS, TERMINATED),
    ],
)
def test_how_an_episode_ended_is_kept(kind: str, limit: int | None, ends: int, tmp_path: Path) -> None:
    store = collected(tmp_path / "store", kind, *(["--max-episode-steps", str(limit)] if limit else []))
    for ref in store.episodes:
        flags = store.read_episode(ref, "flags")["flags"]
        assert flags[0] == FIRST and flags[-1] == LAST | ends and not flags[1:-1].any()
        assert (ref.terminated, ref.truncated) == (bool(ends & TERMINATED), bool(ends & TRUNCATED))
    assert not verify(tmp_path / "store").faults
    export_store(tmp_path / "store", "minari", tmp_path / "minari", trust_world=True)
    for episode in minari.MinariDataset(tmp_path / "minari" / "data").iterate_episodes():
        assert bool(episode.terminations[-1]) == bool(ends & TERMINATED)
        assert bool(episode.truncations[-1]) == bool(ends & TRUNCATED)


@pytest.mark.parametrize("kind", REFUSED)
def test_pictures_that_are_none_are_refused_before_there_is_a_store(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["collect", "--world", world_of(kind), "--episodes", "1", "--local", "--store", str(tmp_path / "store")]
    assert run(cli, "factory", command) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and world_of(kind) in error and not (tmp_path / "store").exists()
    for words in REFUSED[kind]:
        assert words in error


def test_the_observation_is_chosen_and_remembered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = collected(tmp_path / "image", "Cameras", "--observation", "image")
    second = collected(tmp_path / "wrist", "Cameras", "--observation", "wrist")
    assert first.spec.world_options == {"observation": "image"} and second.spec.world_options["observation"] == "wrist"
    image, wrist = (store.read_episode(store.episodes[0], "frame")["frame"] for store in (first, second))
    assert not np.array_equal(image, wrist)
    command = ["collect", "--world", world_of("Cameras"), "--store", str(tmp_path / "none"), "--local"]
    assert run(cli, "factory", command) == 2
    assert "--observation image, or wrist" in capsys.readouterr().err


def test_an_environment_that_its_seed_does_not_decide_is_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collected(tmp_path / "square", "Square")
    assert capsys.readouterr().err == ""
    collected(tmp_path / "unseeded", "Unseeded", "--json")
    output, error = capsys.readouterr()
    assert error.count("\n") == 1 and "not deterministic" in error and "its frame differs in step 4" in error
    assert "frame differs in step 4" in json.loads(output.splitlines()[-1])["difference"]
    assert "not deterministic" in log_file(tmp_path / "unseeded").read_text()
    collected(tmp_path / "unseeded", "Unseeded", "--episodes", "5")
    assert capsys.readouterr().err == "", "the first episode is not made again"


class Counted(BouncingLogo):
    """A world of ours that counts its episodes."""

    episodes = 0

    def reset(self, **arguments: Any) -> tuple[np.ndarray, dict[str, Any]]:
        Counted.episodes += 1
        return super().reset(**arguments)


def test_our_own_worlds_are_not_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(WORLDS._paths, "counted", f"{__name__}:Counted")
    collect(tmp_path / "store", make_job("counted", max_episode_steps=5), episodes=3)
    assert Counted.episodes == 3


@pytest.mark.parametrize(
    ("world", "dtype"),
    [(world_of("Whole"), np.int64), (world_of("Shifted"), np.int64), (world_of("Precise"), np.float64),
     (world_of("Several"), np.int64), (world_of("Switches"), np.int8), ("CartPole-v1", np.int64),
     ("two-room", np.float32)],
)  # fmt: skip
def test_minari_actions_lie_in_their_space_and_the_world_comes_back(world: str, dtype: type, tmp_path: Path) -> None:
    collect(tmp_path / "store", make_job(world, frame_size=32, max_episode_steps=9), episodes=3)
    export_store(tmp_path / "store", "minari", tmp_path / "out", trust_world=True)
    dataset = minari.MinariDataset(tmp_path / "out" / "data")
    space = dataset.action_space
    assert space == make_world(world, 32).action_space
    env = dataset.recover_environment()
    assert env.action_space == space and env.observation_space == dataset.observation_space
    assert env.spec is not None and env.spec.id in (world.rpartition(":")[2], "tinyjepa/TwoRoom-v0")
    for episode in dataset.iterate_episodes():
        assert episode.actions.dtype == dtype and all(space.contains(action) for action in episode.actions)
        frame, _ = env.reset(seed=int(Store(tmp_path / "store").episodes[episode.id].seed))
        if world == "two-room":  # some of its policies choose where an episode starts
            continue
        assert np.array_equal(frame, episode.observations[0])
        for action, observation, reward in zip(episode.actions, episode.observations[1:], episode.rewards):
            frame, earned, *ends, _ = env.step(action)
            assert np.array_equal(frame, observation) and np.float32(earned) == np.float32(reward)
        assert ends == [bool(episode.terminations[-1]), bool(episode.truncations[-1])]
    env.close()


MODULE = """
import gymnasium as gym
from tests.support.odd import Square
gym.register("Mine/Square-v0", Square)
"""


@pytest.mark.parametrize("workers", [["--local"], ["--workers", "2"]])
def test_a_module_in_the_current_directory_is_found(tmp_path: Path, workers: list[str]) -> None:
    """Also by the workers of Ray; ``factory`` as the installed script, whose path does not have this directory."""
    (tmp_path / "worlds_of_mine.py").write_text(f"import sys\nsys.path.append({str(ROOT)!r})\n{MODULE}")
    code = f"import sys; sys.path = [{str(ROOT)!r}] + [p for p in sys.path if p]; from factory.cli import main; main()"
    world = ["--world", "worlds_of_mine:Mine/Square-v0", "--frame-size", "16", "--episodes", "40", "--quiet"]
    command = [sys.executable, "-c", code, "collect", *world, *workers, "--store", "store"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(Store(tmp_path / "store").episodes) == 40
    assert "Mine/Square-v0" not in gym.registry


def test_counts_can_be_written_with_an_exponent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["collect", "--world", world_of("Square"), "--frame-size", "8", "--local", "--quiet"]
    for number, (text, frames) in enumerate((("2.6e1", 26), ("26", 26), ("1e1", 13), ("0.013e3", 13))):
        assert run(cli, "factory", [*command, "--store", str(tmp_path / str(number)), "--frames", text]) == 0
        assert Store(tmp_path / str(number)).rows == frames
    capsys.readouterr()
    for text in ("1.5e0", "6e3x", "1e-3", "0e5", "1,00", "e3"):
        assert run(cli, "factory", [*command, "--store", str(tmp_path / "none"), "--frames", text]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "--frames" in error and not (tmp_path / "none").exists()


def test_an_unknown_policy_lists_those_that_the_world_can_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rooms = "wander, crossing, charge, bump, expert, mixed-rooms"
    for world, listed in (
        ("CartPole-v1", "uniform, uniform-held, mixed"),
        ("Pendulum-v1", "uniform, uniform-held, ornstein-uhlenbeck, mixed"),
        ("bouncing-logo", "none, mixed"),
        ("two-room", f"uniform, uniform-held, ornstein-uhlenbeck, {rooms}, mixed"),
    ):
        command = ["collect", "--world", world, "--policy", "nobody", "--store", str(tmp_path / "store"), "--local"]
        assert run(cli, "factory", command) == 2
        assert capsys.readouterr().err.endswith(f"Choices: {listed}\n")
