"""``brain probe``: what a latent knows, beside what knows nothing and what knows all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from brain.cli import cli
from brain.data.states import States
from brain.evaluation.probes import score_columns
from shared.cli.console import run
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.writer import StreamWriter
from tests.support.dots import RUN, dot_episode, dot_spec


def test_scores_are_in_the_states_own_unit() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(size=(500, 2)).astype(np.float32) * [3.0, 1.0]
    columns = np.stack([states[:, 0] + 0.5, np.sin(states[:, 1] + 0.1), np.cos(states[:, 1] + 0.1)], 1)
    scores = score_columns(States(("x", "angle"), angles=("angle",)), states, columns)
    assert scores["x"].rmse == pytest.approx(0.5, rel=1e-5) and scores["x"].r2 == pytest.approx(1 - 0.25 / 9, abs=0.01)
    assert scores["angle"].rmse == pytest.approx(0.1, rel=1e-4) and scores["angle"].r2 > 0.97
    turned = states + [0.0, 2 * np.pi]
    assert score_columns(States(("x", "angle"), ("angle",)), turned, columns)["angle"].rmse == pytest.approx(
        0.1, rel=1e-4
    )


def test_probe_of_a_run(dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    small = ["--set", "encoder.dim=16", "--set", "encoder.width=8", "--set", "objective.batch=32", "--steps", "60"]
    for stage in ("encoder", "predictor"):
        assert run(cli, "brain", ["train", "--store", str(dots), "--run", str(folder), *small, "--stage", stage]) == 0
    capsys.readouterr()
    assert run(cli, "brain", ["probe", "--run", str(folder), "--steps", "150", "--quiet"]) == 0
    table = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in table[1:-2]] == list(Store(dots).spec.state_names)
    scores = json.loads((folder / "probe.json").read_text())["scores"]
    assert list(scores) == ["linear", "mlp", "mean", "random-encoder", "pca", "pixels", "supervised"]
    assert scores["supervised"]["x"]["r2"] > 0.8 > 0.3 > scores["mean"]["x"]["r2"]
    assert scores["linear"]["x"]["r2"] > 0.3 and scores["pixels"]["vx"]["r2"] > scores["mean"]["vx"]["r2"]
    for name in ("probe.png", "latents.png"):
        picture = cv2.imread(str(folder / name))
        assert picture is not None and picture.std() > 5


def test_a_state_that_does_not_vary_has_no_score(tmp_path: Path) -> None:
    create_store(tmp_path / "store", dot_spec())
    with StreamWriter(tmp_path / "store", dot_spec(), RUN, 0) as writer:
        for index in range(30):
            episode = dot_episode(index)
            writer.append(replace(episode, state=episode.state * np.array([1, 1, 1, 0], np.float32)))
    store, folder = ["--store", str(tmp_path / "store")], tmp_path / "run"
    small = ["--set", "encoder.dim=8", "--set", "encoder.width=8", "--set", "objective.batch=8", "--steps", "2"]
    for stage in ("encoder", "predictor"):
        assert run(cli, "brain", ["train", *store, "--run", str(folder), *small, "--stage", stage, "--quiet"]) == 0
    assert run(cli, "brain", ["probe", "--run", str(folder), "--steps", "10", "--quiet"]) == 0

    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is not JSON")

    scores = json.loads((folder / "probe.json").read_text(), parse_constant=refuse)["scores"]
    assert scores["linear"]["vy"]["r2"] is None and isinstance(scores["linear"]["x"]["r2"], float)
    assert run(cli, "brain", ["report", "--run", str(folder)]) == 0, "it can be read"


def test_a_world_without_state_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from factory.cli import cli as factory

    store = ["--world", "CartPole-v1", "--frame-size", "16", "--frames", "900", "--local", "--quiet"]
    assert run(factory, "factory", ["collect", *store, "--store", str(tmp_path / "store")]) == 0
    train = ["--set", "encoder.dim=8", "--set", "objective.batch=8", "--set", "observation.stride=1", "--steps", "2"]
    for stage in ("encoder", "predictor"):
        command = [
            "train",
            "--store",
            str(tmp_path / "store"),
            "--run",
            str(tmp_path / "run"),
            *train,
            "--stage",
            stage,
        ]
        assert run(cli, "brain", command) == 0
    capsys.readouterr()
    assert run(cli, "brain", ["probe", "--run", str(tmp_path / "run"), "--quiet"]) == 2
    assert "has no state columns" in capsys.readouterr().err
