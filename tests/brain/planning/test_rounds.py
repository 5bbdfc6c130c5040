"""``brain rounds``: every round records, trains and plays once, and what is there is not done again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from brain.cli import cli as brain
from factory.cli import cli as factory
from shared.cli.console import run
from shared.store.reader import Store

TINY = [
    "--set", "encoder.width=8", "--set", "encoder.dim=8", "--set", "objective.batch=8", "--set", "prediction.batch=16",
    "--set", "prediction.steps=2", "--set", "energy.anchors=50", "--set", "energy.violation_pairs=0",
]  # fmt: skip
PLANS = [
    "--task", "lewm", "--planner", "cem", "--set", "horizon=3", "--set", "samples=4", "--set", "iterations=1",
    "--set", "elites=2",
]  # fmt: skip


def test_rounds_record_train_and_play_and_are_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, first, out = tmp_path / "store", tmp_path / "first", tmp_path / "out"
    collect = ["collect", "--world", "two-room", "--policy", "expert", "--episodes", "24", "--max-episode-steps", "24"]
    assert run(factory, "factory", [*collect, "--local", "--quiet", "--store", str(store)]) == 0
    train = ["train", "--recipe", "two-room", "--store", str(store), "--run", str(first), "--quiet", "--steps", "2"]
    assert run(brain, "brain", [*train, *TINY]) == 0
    rounds = [
        "rounds",
        "--run",
        str(first),
        "--store",
        str(store),
        "--out",
        str(out),
        "--rounds",
        "1",
        "--episodes",
        "2",
    ]
    command = [*rounds, "--evaluated", "1", "--steps", "2", "--quiet", *PLANS]
    assert run(brain, "brain", command) == 0

    lines = json.loads((out / "rounds.json").read_text())
    assert [line["round"] for line in lines] == [0, 1] and all(
        0 <= line["success"]["at_end"]["rate"] <= 1 for line in lines
    )
    added = [ref for ref in Store(store).episodes if ref.policy == "plan-cem"]
    assert len(added) == 2 and {ref.run.seed for ref in added} == {1}
    made = {path: path.stat().st_mtime_ns for path in out.rglob("*.json") if path.name != "rounds.json"}
    capsys.readouterr()
    assert run(brain, "brain", command) == 0
    assert made == {path: path.stat().st_mtime_ns for path in out.rglob("*.json") if path.name != "rounds.json"}
    assert "round 1: at end" in capsys.readouterr().out

    for other in (["--set", "horizon=4"], ["--episodes", "3"], ["--task", "ours"]):
        capsys.readouterr()
        assert run(brain, "brain", [*command, *other]) == 2
        assert "give another --out, or the same" in capsys.readouterr().err
    (out / "round-1" / "plan.json").unlink()
    assert run(brain, "brain", command) == 0
    assert (out / "round-1" / "plan.json").exists() and len(Store(store).episodes) == 26


def test_a_step_that_fails_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(brain, "brain", ["rounds", "--run", str(tmp_path / "none"), "--store", str(tmp_path)]) == 2
    assert "none" in capsys.readouterr().err
