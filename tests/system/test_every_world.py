"""Every world of ours through every command, in small: collect, preview, train, judge, probe, dream."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest

from brain import recipes
from brain.cli import cli as brain
from factory.cli import cli as factory
from shared.cli.console import run
from shared.store.reader import Store
from shared.worlds import WORLDS

SMALL = {
    "car-racing": ["--episodes", "24", "--max-episode-steps", "60", "--frame-size", "32"],
    "bouncing-logo": ["--episodes", "30"],
    "double-pendulum": ["--episodes", "24", "--max-episode-steps", "60", "--frame-size", "32"],
    "two-room": ["--dataset", "normal", "--episodes", "60", "--frame-size", "32"],
}
"""What is collected of a world; of others 30 episodes."""


@pytest.mark.parametrize("world", WORLDS.names())
def test_a_world_goes_through_every_command(world: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A new world that is to be learned well needs a recipe of its name."""
    store, folder = tmp_path / "store", tmp_path / "run"
    recipe = world if world in recipes.names() else recipes.DEFAULT
    amount = SMALL.get(world, ["--episodes", "30"])
    collect = ["collect", "--world", world, "--local", "--seed", "5", "--store", str(store), "--quiet", *amount]
    assert run(factory, "factory", collect) == 0
    assert run(factory, "factory", ["status", str(store)]) == 0
    assert run(factory, "factory", ["preview", str(store), "--out", str(tmp_path / "preview")]) == 0
    keys = {"encoder.dim": 16, "encoder.width": 8, "objective.batch": 8, "prediction.batch": 16, "energy.anchors": 60}
    small = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    train = [
        "train",
        "--store",
        str(store),
        "--run",
        str(folder),
        "--recipe",
        recipe,
        *small,
        "--steps",
        "6",
        "--quiet",
    ]
    assert run(brain, "brain", train) == 0
    judged = json.loads((folder / "judge.json").read_text())
    assert judged["energy"]["kinds"]
    assert (folder / "report.html").stat().st_size > 10_000
    assert run(brain, "brain", ["judge", "--run", str(folder), "--quiet"]) == 0
    assert run(brain, "brain", ["probe", "--run", str(folder), "--steps", "10", "--quiet"]) == 0
    scores = json.loads((folder / "probe.json").read_text())["scores"]
    assert list(scores["linear"]) == list(Store(store).spec.state_names)
    dream = ["dream", "--run", str(folder), "--steps", "4", "--episodes", "2", "--decoder-steps", "4", "--quiet"]
    assert run(brain, "brain", dream) == 0
    capsys.readouterr()
    assert run(brain, "brain", ["report", "--run", str(folder)]) == 0
    lacking = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "missing: " in line]
    assert set(lacking) <= {"plan"}, "no agent has acted"
    assert (folder / "report.html").stat().st_size > 100_000
    with av.open(str(folder / "forecast.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 5
    capsys.readouterr()
