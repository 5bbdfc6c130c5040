"""A run finds its store, remembers where it has moved, and says where it was looked for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from brain import recipes
from brain.cli import cli
from brain.data.blocks import known_episodes
from brain.data.place import open_store
from brain.reports.report import commands
from brain.runs import checkpoint
from brain.runs.figures import read_run
from brain.runs.folder import Run
from shared.cli.console import run as run_command
from shared.errors import MissingStoreError, TinyJEPAError
from shared.store.reader import Store
from tests.support.dots import make_dot_store


@pytest.fixture
def trained(dots: Path, tmp_path: Path) -> tuple[Run, Path]:
    """A run, and its store, which may be moved."""
    store = tmp_path / "store"
    shutil.copytree(dots, store)
    run = Run(tmp_path / "run")
    run.begin(recipes.load("car-racing"), Store(store).spec, Store(store).address, 0)
    return run, store


def test_a_moved_store_is_remembered_when_it_was_given_once(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, store = trained
    moved = store.rename(tmp_path / "elsewhere")
    with pytest.raises(MissingStoreError) as caught:
        open_store(run, None)
    assert str(store) in str(caught.value) and "--store" in str(caught.value) and "\n" not in str(caught.value)
    opened, line = open_store(run, moved)
    assert opened.address == str(moved) and str(store) in line and str(moved) in line
    again, line = open_store(run, None)
    assert again.address == str(moved) and line == ""
    assert run.facts()["earlier_stores"] == [str(store)]
    twice = moved.rename(tmp_path / "farther")
    open_store(run, str(twice))
    assert open_store(run, None)[0].address == str(twice)
    assert run.facts()["earlier_stores"] == [str(store), str(moved)]


def test_another_store_is_not_remembered_while_the_own_one_is_there(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, store = trained
    fresh = make_dot_store(tmp_path / "fresh", episodes=4)
    before = (run.path / "run.json").read_bytes()
    opened, line = open_store(run, fresh)
    assert opened.address == str(fresh) and line == ""
    assert open_store(run, None)[0].address == str(store)
    assert (run.path / "run.json").read_bytes() == before
    (store / "dataset.json").write_text("damaged")
    open_store(run, fresh)
    assert (run.path / "run.json").read_bytes() == before, "a damaged store has not moved"


def test_a_store_that_the_run_was_not_trained_on_is_not_remembered(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, store = trained
    checkpoint.save(run.predictor, {"model.x": torch.zeros(1)}, {"step": 1, "known": known_episodes(Store(store))})
    moved, fresh = store.rename(tmp_path / "elsewhere"), make_dot_store(tmp_path / "fresh", episodes=4)
    before = (run.path / "run.json").read_bytes()
    assert open_store(run, fresh)[1] == "" and (run.path / "run.json").read_bytes() == before
    opened, line = open_store(run, moved)
    assert f"from now on it is {moved}" in line and open_store(run, None)[0].address == opened.address


def test_judging_on_another_store_says_so_and_leaves_the_run_its_own(
    dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, folder, fresh = tmp_path / "store", tmp_path / "run", make_dot_store(tmp_path / "fresh")
    shutil.copytree(dots, store)
    train = ["train", "--store", str(store), "--run", str(folder), "--quiet", "--steps", "2"]
    for small in ("encoder.dim=8", "encoder.width=8", "objective.batch=8", "prediction.batch=16", "energy.anchors=50"):
        train += ["--set", small]
    assert run_command(cli, "brain", [*train, "--set", "energy.violation_pairs=0"]) == 0
    moved, judge = store.rename(tmp_path / "elsewhere"), ["judge", "--run", str(folder), "--quiet"]
    for place, said, kept in (
        (fresh, f"judge.json is of {store}: it will be replaced by one of {fresh}", store),
        (moved, f"judge.json is of {fresh}: it will be replaced by one of {moved}", moved),
    ):
        capsys.readouterr()
        assert run_command(cli, "brain", [*judge, "--store", str(place)]) == 0
        assert said in capsys.readouterr().err
        assert json.loads((folder / "run.json").read_text())["store"] == str(kept)


def test_a_store_of_another_world_is_refused_and_not_remembered(trained: tuple[Run, Path], tmp_path: Path) -> None:
    run, store = trained
    shutil.rmtree(store)
    other = make_dot_store(tmp_path / "other", episodes=2, size=24)
    before = (run.path / "run.json").read_bytes()
    with pytest.raises(TinyJEPAError, match="frame_shape"):
        open_store(run, other)
    assert (run.path / "run.json").read_bytes() == before


def test_training_goes_on_with_a_moved_store_and_the_report_repeats_the_first_flags(
    dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, folder, recipe = tmp_path / "store", tmp_path / "run", tmp_path / "mine.toml"
    shutil.copytree(dots, store)
    assert run_command(cli, "brain", ["recipes", "car-racing", "--set", "objective.batch=16"]) == 0
    recipe.write_text(capsys.readouterr().out)
    train = ["train", "--recipe", str(recipe), "--run", str(folder), "--quiet", "--stage", "encoder"]
    first = [*train, "--store", str(store), "--steps", "2", "--memory", "1.5", "--on-corrupt", "skip"]
    assert run_command(cli, "brain", first) == 0
    moved = store.rename(tmp_path / "elsewhere")
    capsys.readouterr()
    assert run_command(cli, "brain", [*train, "--store", str(moved), "--steps", "2"]) == 0
    assert f"from now on it is {moved}" in capsys.readouterr().out
    facts = json.loads((folder / "run.json").read_text())
    assert facts["store"] == str(moved) and facts["flags"] == [
        "--steps",
        "2",
        "--on-corrupt",
        "skip",
        "--memory",
        "1.5",
    ]
    suggested = commands(read_run(folder, "run"))["train"]
    assert suggested.startswith(f"brain train --store {moved} --run {folder} --recipe ")
    assert suggested.endswith("--seed 0 --steps 2 --on-corrupt skip --memory 1.5")
    words = suggested.split()
    assert run_command(cli, "brain", [*words[1:], "--stage", "encoder", "--quiet"]) == 0, "it can be run as it stands"
    assert "reused" in capsys.readouterr().out
