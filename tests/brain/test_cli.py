"""Bad input to the brain: one line that names cause and fix, exit code 2, no traceback, nothing touched."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from brain import recipes
from brain.cli import cli
from brain.parts import ENCODERS, OBJECTIVES, PREDICTORS
from shared.cli.console import run
from shared.errors import TinyJEPAError
from tests.support.dots import dot_spec


def refused(capsys: pytest.CaptureFixture[str], arguments: Sequence[str | Path]) -> str:
    code = run(cli, "brain", [str(argument) for argument in arguments])
    errors = capsys.readouterr().err
    assert code == 2, errors
    assert errors.startswith("brain: error: ") and errors.count("\n") == 1 and "Traceback" not in errors
    return errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "--recipe", "car-racer"], "Did you mean 'car-racing'? Choices: car-racing, "),
        (["train", "--recipe", "missing.toml"], "no recipe file missing.toml"),
        (["train", "--set", "objective.covarance=1"], "Did you mean 'objective.covariance'?"),
        (["train", "--set", "objective.covariance"], "write it as key=value"),
        (["train", "--set", "objective.covariance=-1"], "greater than or equal to 0 (got -1)"),
        (["train", "--set", "encoder.kind=resnet"], "unknown encoder 'resnet'. Did you mean 'resnet18'?"),
        (["train", "--set", "objective.views=augmented"], "unknown views 'augmented'. Did you mean 'augment'?"),
        (["train", "--set", 'objective.augmentations=["crop"]'], "It is an option of augment and temporal"),
        (["train", "--memory", "inf"], "--memory"),
        (["train", "--steps", "0"], "'0' is not a whole number of at least 1"),
        (["train", "--budget", "soon"], "'soon' is not a positive duration"),
        (["train", "--steps", "5", "--budget", "5s"], "--steps and --budget exclude each other"),
        (["train", "--stage", "encode"], "is not one of 'encoder', 'predictor', 'energy'"),
        (["train", "--stor", "x"], "No such option: --stor. Did you mean '--store'?"),
        (["recipes", "tiny"], "Did you mean 'tiny-jepa'?"),
    ],
)
def test_bad_words(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refused(capsys, arguments)


@pytest.mark.parametrize(
    ("device", "words"),
    [("cuda:7", "is not there"), ("tpu", "unknown device 'tpu'"), ("mps", "not supported")],
)
def test_a_device_that_is_not_there(
    device: str, words: str, dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_path = tmp_path / "run"
    assert words in refused(capsys, ["train", "--store", dots, "--run", run_path, "--device", device])
    assert not run_path.exists()


def test_stores_that_will_not_do(dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from shared.store.dataset import create_store

    run_path = tmp_path / "run"
    train = ["train", "--run", run_path, "--store"]
    assert "missing" in refused(capsys, [*train, tmp_path / "missing"])
    create_store(tmp_path / "empty", dot_spec())
    assert "no training episodes yet" in refused(capsys, [*train, tmp_path / "empty"])
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "dataset.json").write_text("{}")
    refused(capsys, [*train, foreign])
    newer = tmp_path / "newer"
    shutil.copytree(dots, newer)
    description = json.loads((newer / "dataset.json").read_text())
    (newer / "dataset.json").write_text(json.dumps(description | {"schema_version": 99}))
    refused(capsys, [*train, newer])
    assert not run_path.exists()


def test_run_folders_that_will_not_do(dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "--store", dots, "--set", "objective.batch=16", "--run"]
    file = tmp_path / "file"
    file.write_text("mine")
    assert "is a file" in refused(capsys, [*train, file])
    holiday = tmp_path / "holiday"
    holiday.mkdir()
    (holiday / "photo.txt").write_text("mine")
    assert "holds other files" in refused(capsys, [*train, holiday])
    assert (holiday / "photo.txt").read_text() == "mine" and file.read_text() == "mine"
    assert "is no run folder" in refused(capsys, ["judge", "--run", tmp_path / "nothing"])
    unwritable = tmp_path / "file" / "run"
    refused(capsys, [*train, unwritable])


def test_a_corrupt_shard_stops_training_and_says_where(
    dots: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(dots, damaged)
    shard = next(path for path in sorted((damaged / "data.zarr").rglob("c.0*")) if path.parent.name == "frame")
    content = bytearray(shard.read_bytes())
    content[7] ^= 4
    shard.write_bytes(content)
    arguments = ["train", "--store", damaged, "--run", tmp_path / "run", "--set", "objective.batch=16", "--quiet"]
    errors = refused(capsys, [*arguments, "--steps", "3"])
    assert shard.parent.parent.name in errors and "rows" in errors
    assert shard.read_bytes() == content


def test_recipes_list_and_explain_every_key(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(cli, "brain", ["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == recipes.names()
    for name in recipes.names():
        assert run(cli, "brain", ["recipes", name]) == 0
        mine = tmp_path / "mine.toml"
        mine.write_text(capsys.readouterr().out)
        assert recipes.load(str(mine)) == recipes.load(name), "what is printed is a recipe"
        explained = list(recipes.explain(recipes.load(name)))
        text = mine.read_text()
        assert any(key == "encoder.dim" for key, _, _ in explained)
        for key, _, why in explained:
            assert why and f"  # {why}\n" in text and f"\n{key.split('.')[-1]} = " in f"\n{text}"


@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_survives_its_file(name: str, tmp_path: Path) -> None:
    recipe = recipes.load(name, ["objective.learning_rate=0.003"])
    path = tmp_path / "copy.toml"
    path.write_text(recipes.dump(recipe))
    assert recipes.load(str(path)) == recipe and recipe.objective.learning_rate == 0.003


def test_every_registered_part_has_a_line() -> None:
    for registry in (ENCODERS, PREDICTORS, OBJECTIVES):
        for name in registry:
            assert registry.summary(name) and registry.get(name).__doc__
        with pytest.raises(TinyJEPAError, match="Choices: "):
            registry.get("nothing of the kind")
