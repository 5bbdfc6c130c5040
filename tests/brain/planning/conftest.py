"""A run to plan with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from brain.cli import cli as brain
from factory.cli import cli as factory
from shared.cli.console import run

TINY = [
    "--steps", "2", "--set", "encoder.width=8", "--set", "encoder.dim=8", "--set", "objective.batch=8",
    "--set", "prediction.batch=16", "--set", "prediction.steps=2", "--set", "energy.anchors=50",
    "--set", "energy.violation_pairs=0",
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a few steps on 24 short walks through the door; its store is beside it."""
    folder = tmp_path_factory.mktemp("planned")
    collect = ["collect", "--world", "two-room", "--policy", "expert", "--episodes", "24", "--max-episode-steps", "24"]
    assert run(factory, "factory", [*collect, "--local", "--quiet", "--store", str(folder / "store")]) == 0
    train = ["train", "--recipe", "two-room", "--store", str(folder / "store"), "--run", str(folder / "run"), "--quiet"]
    assert run(brain, "brain", [*train, *TINY]) == 0
    return folder


def plan(trained: Path, out: Path, *options: str) -> dict[str, Any]:
    command = ["plan", "--run", str(trained / "run"), "--out", str(out), "--quiet", "--device", "cpu", *options]
    assert run(brain, "brain", command) == 0
    figures: dict[str, Any] = json.loads((out / "plan.json").read_text())
    return figures
