"""Imported stores through the commands of the brain: they have no simulator, and need none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from brain.cli import cli as brain
from factory.cli import cli as factory
from shared.cli.console import run
from shared.store.reader import Store
from tests.support.sources import write_video

SIDE = 48


def bounces(number: int, frames: int) -> np.ndarray:
    """A square that bounces in a box: uint8 (frames, 48, 64, 3), wider than high."""
    rng = np.random.default_rng(number)
    place, speed = rng.uniform(8, 30, 2), rng.uniform(1, 2, 2) * rng.choice([-1, 1], 2)
    shown = np.full((frames, SIDE, 64, 3), 30, np.uint8)
    for frame in shown:
        y, x = place.astype(int)
        frame[y : y + 8, x : x + 8] = (250, 180, 60)
        place += speed
        speed[(place < 1) | (place > [SIDE - 10, 54])] *= -1
        place = np.clip(place, 0, [SIDE - 9, 55])
    return shown


def small(recipe: str) -> list[str]:
    keys = {"encoder.dim": 8, "encoder.width": 16, "objective.batch": 4, "prediction.batch": 8, "energy.anchors": 60}
    if recipe == "video":
        keys |= {"encoder.depth": 2, "objective.predictor.width": 16}
    return [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]


def test_videos_without_actions_train_the_video_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(20):
        write_video(tmp_path / "clips" / f"{number}.mp4", list(bounces(number, 120)), rate=60)
    store, folder = tmp_path / "store", tmp_path / "run"
    command = ["import", str(tmp_path / "clips"), "--rate", "30", "--crop", "--frame-size", "32", "--quiet"]
    assert run(factory, "factory", [*command, "--store", str(store)]) == 0
    opened = Store(store)
    assert opened.spec.frame_shape == (32, 32, 3) and (opened.spec.action_dim, opened.spec.control_rate) == (0, 30.0)
    assert {ref.rows for ref in opened.episodes} == {60}, "every other frame of 120"
    assert run(factory, "factory", ["status", str(store)]) == 0
    assert run(factory, "factory", ["preview", str(store), "--out", str(tmp_path / "preview")]) == 0
    train = ["train", "--store", str(store), "--run", str(folder), "--recipe", "video", *small("video")]
    train += ["--set", "objective.clip=[4]", "--set", "observation.stride=1", "--set", "observation.stack=2"]
    assert run(brain, "brain", [*train, "--steps", "6", "--quiet"]) == 0
    judged = json.loads((folder / "judge.json").read_text())
    assert judged["violations"], "made of the stored frames"
    assert run(brain, "brain", ["judge", "--run", str(folder), "--quiet"]) == 0
    capsys.readouterr()
    assert run(brain, "brain", ["report", "--run", str(folder)]) == 0
    assert (folder / "report.html").stat().st_size > 10_000
    capsys.readouterr()


def test_states_without_images_train_in_state_mode(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "walks").mkdir()
    for number in range(20):
        rng = np.random.default_rng(number)
        actions = rng.normal(size=(80, 2)).astype(np.float32)
        states = np.concatenate([np.zeros((1, 2)), np.cumsum(actions, 0)])
        np.savez(tmp_path / "walks" / f"{number:02d}.npz", states=states, actions=actions)
    store, folder = tmp_path / "store", tmp_path / "run"
    assert run(factory, "factory", ["import", str(tmp_path / "walks"), "--store", str(store), "--rate", "10"]) == 0
    assert "observation.mode=state" in capsys.readouterr().err
    train = ["train", "--store", str(store), "--run", str(folder), "--set", "observation.mode=state"]
    keys = {"encoder.kind": "mlp", "encoder.dim": 4, "objective.batch": 4, "prediction.batch": 8, "energy.anchors": 60}
    train += [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    assert run(brain, "brain", [*train, "--steps", "6", "--quiet"]) == 0
    assert json.loads((folder / "judge.json").read_text())["energy"]["kinds"]
    capsys.readouterr()
