"""``factory import``: every format against what its own library or schema wrote, resuming, and broken sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.cli import cli
from factory.importing import READERS, open_source
from factory.importing.importer import Plan, import_source
from factory.importing.source import Choice
from shared.cli.console import run
from shared.store.reader import Store
from shared.store.verify import verify
from tests.support import sources
from tests.support.sources import EPISODES, MAKERS, RATE, STEPS, Made, Played

LOSS = 40
"""Levels of 255 by which noise may differ after H.264."""


def same_as(episode: Played, stored: dict[str, np.ndarray], made: Made) -> None:
    """The rule of every format: L + 1 rows, or L where the source lacks the last observation."""
    steps = len(episode.rewards) - (not made.complete)
    assert len(stored["frame"]) == steps + 1
    for name, truth in (("action", episode.actions), ("reward", episode.rewards)):
        assert np.array_equal(stored[name][:-1], truth[:steps]) and not stored[name][-1].any()
    if made.states:
        assert np.array_equal(stored["state"], episode.states[: steps + 1])
    off = np.abs(stored["frame"].astype(int) - episode.frames[: steps + 1])
    assert off.max() == 0 if made.exact else off.mean() < LOSS / 10 and off.max() < LOSS


def test_every_format_has_a_maker() -> None:
    assert set(MAKERS) == set(READERS)


@pytest.mark.parametrize("form", [*READERS])
def test_contract(form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = MAKERS[form](tmp_path)
    store = tmp_path / "store"
    for other in READERS:
        assert READERS.get(other).knows(made.path) == (other == form)
    assert run(cli, "factory", ["import", str(made.path), "--store", str(store), "--quiet"]) == 0
    assert f"{len(STEPS)} episodes" in capsys.readouterr().out
    opened = Store(store)
    assert not verify(store).faults
    assert opened.spec.world == f"imported/{open_source(made.path).name}"
    assert opened.spec.frame_shape == (16, 16, 3) and opened.spec.control_rate in (RATE, 50.0)
    assert [ref.index for ref in opened.episodes] == list(range(len(STEPS)))
    for ref, episode in zip(opened.episodes, EPISODES):
        same_as(episode, opened.read_episode(ref), made)
        assert (ref.terminated, ref.truncated) == (episode.terminated, not episode.terminated)
    before = opened.bytes_on_disk
    assert run(cli, "factory", ["import", str(made.path), "--store", str(store), "--quiet"]) == 0
    assert "(0 new)" in capsys.readouterr().out and Store(store).bytes_on_disk == before


@pytest.mark.parametrize("form", [*READERS])
def test_long_episodes_are_cut_without_losing_a_step(form: str, tmp_path: Path) -> None:
    made = MAKERS[form](tmp_path)
    import_source(open_source(made.path), tmp_path / "store", Plan(max_steps=5))
    store = Store(tmp_path / "store")
    steps = [len(episode.rewards) - (not made.complete) for episode in EPISODES]
    assert [ref.rows - 1 for ref in store.episodes] == [
        min(5, total - start) for total in steps for start in range(0, total, 5)
    ]
    parts = [store.read_episode(ref, "action") for ref in store.episodes]
    acted = np.concatenate([part["action"][:-1] for part in parts])
    assert np.array_equal(acted, np.concatenate([e.actions[:total] for e, total in zip(EPISODES, steps)]))
    assert store.episodes[1].terminated == (steps[0] > 5) and store.episodes[0].truncated


def lerobot_video(folder: Path) -> Made:
    return sources.lerobot(folder, video=True)


def robomimic_with_next(folder: Path) -> Made:
    return sources.robomimic(folder, next_obs=True)


@pytest.mark.parametrize("maker", [lerobot_video, robomimic_with_next])
def test_variants(maker: Callable[[Path], Made], tmp_path: Path) -> None:
    made = maker(tmp_path)
    states = ("robot0_eef_pos",) if maker is robomimic_with_next else None
    reader = open_source(made.path, choice=Choice(states=states))
    done = import_source(reader, tmp_path / "store")
    assert done.rate == RATE and done.episodes == len(STEPS)
    store = Store(tmp_path / "store")
    for ref, episode in zip(store.episodes, EPISODES):
        same_as(episode, store.read_episode(ref), made)


def test_names_of_states_and_choice_of_images(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert open_source(sources.lerobot(tmp_path / "a").path).state_names == tuple(
        f"observation.state.{name}" for name in "xyz"
    )
    path = sources.robomimic(tmp_path / "b").path
    reader = open_source(path, choice=Choice(image="robot0_eye_in_hand_image", states=("robot0_eef_pos", "states")))
    assert reader.state_names == (*(f"robot0_eef_pos.{i}" for i in range(3)), *(f"states.{i}" for i in range(3)))
    rows = reader.read(0, 0, 2)
    assert np.array_equal(255 - np.asarray(rows.frames), EPISODES[0].frames[:2]) and rows.state.shape == (2, 6)
