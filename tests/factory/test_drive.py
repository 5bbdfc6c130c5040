"""Driving by keyboard, through a real pygame window on SDL's dummy display."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from factory.collecting.drive import HUMAN, Window, drive, drive_episode
from factory.collecting.job import Job, make_job
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.worlds import make_world

pygame = pytest.importorskip("pygame")


def job(world: str = "car-racing") -> Job:
    spec, run = make_job(world, frame_size=16, max_episode_steps=60)
    return Job(spec, replace(run, policy=HUMAN))


class Watched(Window):
    """A window that remembers what it last said: the keys below wait for the drive, not for the clock."""

    caption = ""

    def show(self, picture: np.ndarray, caption: str) -> None:
        super().show(picture, caption)
        self.caption = caption

    def until(self, words: str, *moment: float) -> None:
        """Until the caption holds ``words``, and ``moment`` (an episode and a time in it, seconds) has come."""
        for _ in range(6000):
            found = re.match(r"episode (\d+), ([\d.]+) s", self.caption)
            if found and words in self.caption and (float(found[1]), float(found[2])) >= moment:
                return
            time.sleep(0.01)
        raise AssertionError(f"still {self.caption!r}")


def test_a_store_may_leave_out_options_that_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    create_store(tmp_path / "store", make_job("two-room", policy="wander").spec)
    asked = make_job("two-room")
    assert asked.spec.world_options
    window = Window("test")
    pygame.event.post(pygame.event.Event(pygame.QUIT))
    assert drive(tmp_path / "store", Job(asked.spec, replace(asked.run, policy=HUMAN)), window) == (0, 0)


def test_what_the_keys_do_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Watched("test")

    def key(kind: int, code: int) -> None:
        pygame.event.post(pygame.event.Event(kind, key=code))

    def play() -> None:
        key(pygame.KEYDOWN, pygame.K_UP)
        window.until("", 0, 0.6)
        key(pygame.KEYDOWN, pygame.K_LEFT)
        window.until("", 0, 0.9)
        key(pygame.KEYDOWN, pygame.K_r)
        key(pygame.KEYUP, pygame.K_LEFT)
        window.until("", 1, 0.4)
        key(pygame.KEYDOWN, pygame.K_SPACE)
        window.until("paused", 1, 0.4)
        key(pygame.KEYDOWN, pygame.K_ESCAPE)

    player = threading.Thread(target=play)
    player.start()
    episodes, frames = drive(tmp_path / "store", job(), window)
    player.join()
    store = Store(tmp_path / "store")
    assert episodes == len(store.episodes) >= 2 and frames == store.rows
    assert {ref.policy for ref in store.episodes} == {HUMAN} == {ref.run.policy for ref in store.episodes}
    actions = np.concatenate([store.read_episode(ref, "action")["action"][:-1] for ref in store.episodes])
    assert (actions[:, 1] == 1).mean() > 0.5, "the gas was held"
    assert (actions[:, 0] == -1).any() and set(np.unique(actions[:, 0])) <= {-1.0, 0.0}, "left was held for a while"
    speed = store.read_episode(store.episodes[0], "state")["state"][:, store.spec.state_names.index("forward_speed")]
    assert speed[-1] > speed[0] + 1


def test_an_episode_without_an_action_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    window = Window("test")
    world = make_world("car-racing", 32)
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_r))
    episode = drive_episode(world, 0, 0, 60, window)
    assert episode.rows == 1 and episode.action.shape == (1, 3)
    pygame.event.post(pygame.event.Event(pygame.KEYDOWN, key=pygame.K_ESCAPE))
    assert drive(tmp_path / "store", job(), window) == (0, 0)


@pytest.mark.parametrize("display", [None, ":987"])
def test_without_a_display_there_is_one_line(
    tmp_path: Path, display: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
        monkeypatch.setenv("SDL_VIDEODRIVER", "x11")
    command = [sys.executable, "-m", "factory.cli", "drive", "--store", str(tmp_path / "store")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "DISPLAY" in done.stderr and not (tmp_path / "store").exists()


def test_a_world_without_keys_cannot_be_driven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    command = [sys.executable, "-m", "factory.cli", "drive", "--world", "CartPole-v1", "--store", str(tmp_path / "s")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "has no keys" in done.stderr and not (tmp_path / "s").exists()
