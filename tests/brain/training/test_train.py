"""``brain train``: a finished run, what belongs to it, and what refuses it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from brain.runs import checkpoint
from brain.runs.folder import Compute, Run
from brain.training.train import MOST_SEED
from tests.support.once import once
from tests.support.training import (
    command,
    finish,
    here,
    make_undisturbed,
    weights_of,
)


@pytest.fixture(scope="module")
def undisturbed(dots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 120 steps a stage; read it, or copy it to change it."""
    return once(tmp_path_factory, "undisturbed", lambda folder: make_undisturbed(folder, dots)) / "undisturbed"


@pytest.fixture(scope="module")
def recipe(undisturbed: Path) -> Path:
    return undisturbed.parent / "small.toml"


def test_finished_stages_are_reused(dots: Path, recipe: Path, undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (Run(undisturbed).encoder, Run(undisturbed).predictor)}
    done = here(command(dots, recipe, undisturbed, "--steps", "120", "--stage", "predictor"))
    assert done.returncode == 0 and done.stdout.count("finished before") == 2
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_was_made_with_an_earlier_encoder_goes_with_it(
    dots: Path, recipe: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    Run(run).judgement.write_text("{}")
    Run(run).checkpoint("decoder").write_text("half a decoder")
    Run(run).encoder.unlink()
    done = here(command(dots, recipe, run, "--steps", "5", "--stage", "encoder"))
    assert done.returncode == 0, done.stderr
    gone = "predictor.safetensors, decoder.checkpoint.safetensors, judge.json"
    assert f"note: {gone} were made with an earlier encoder: removed" in done.stdout
    assert Run(run).encoder.exists() and not Run(run).predictor.exists() and not Run(run).judgement.exists()


def test_a_time_budget_ends_on_time(dots: Path, recipe: Path, tmp_path: Path) -> None:
    done = finish(command(dots, recipe, tmp_path / "run", "--budget", "2s", "--stage", "encoder"))
    assert done.returncode == 0, done.stderr
    facts = checkpoint.load(Run(tmp_path / "run").encoder)[1]
    assert facts["elapsed"] >= 2 and facts["step"] >= 1
    assert facts["cpu_seconds"] > 0
    entries = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert all(entry["seconds"] < 2 for entry in entries), "a step began after the end"
    assert {"loss", "prediction", "variance", "covariance", "embedding_std", "effective_rank", "lr"} <= entries[
        0
    ].keys()


def test_stage_one_learns_and_does_not_collapse(undisturbed: Path) -> None:
    entries = [json.loads(line) for line in (undisturbed / "metrics.jsonl").read_text().splitlines()]
    encoder = [entry for entry in entries if entry["stage"] == "encoder"]
    assert encoder[-1]["loss"] < encoder[0]["loss"]
    assert encoder[-1]["embedding_std"] > 0.5 and encoder[-1]["effective_rank"] > 4


def test_a_run_belongs_to_one_recipe_and_seed(dots: Path, recipe: Path, undisturbed: Path) -> None:
    for extra, words in (
        (["--set", "objective.covariance=0.7"], "objective.covariance is 0.1, not 0.7"),
        (["--seed", "3"], "trained with seed 0, not 3"),
    ):
        done = here(command(dots, recipe, undisturbed, *extra))
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_the_predictor_needs_an_encoder(dots: Path, recipe: Path, tmp_path: Path) -> None:
    done = here(command(dots, recipe, tmp_path / "run", "--stage", "predictor"))
    assert done.returncode == 2 and "encoder.safetensors" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("damage", ["truncated", "zeros", "pickle", "foreign", "other shape"])
def test_a_damaged_checkpoint_is_one_line_and_stays(
    damage: str, dots: Path, recipe: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    encoder = Run(run).encoder
    if damage == "truncated":
        encoder.write_bytes(encoder.read_bytes()[:-100])
    elif damage == "zeros":
        encoder.write_bytes(bytes(1000))
    elif damage == "pickle":
        torch.save({"weight": torch.zeros(3)}, encoder)
    elif damage == "foreign":
        from safetensors.torch import save_file

        save_file({"weight": torch.zeros(3)}, encoder)
    else:
        checkpoint.save(encoder, {"model.head.weight": torch.zeros(3)}, {"step": 1, "elapsed": 1.0})
    content = encoder.read_bytes()
    done = here(command(dots, recipe, run))
    assert done.returncode == 2 and "encoder.safetensors" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert encoder.read_bytes() == content


def test_the_precision_and_threads_belong_to_the_run(dots: Path, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    steps = ("--steps", "3", "--stage", "encoder")
    assert here(command(dots, recipe, run, *steps, "--precision", "bfloat16")).returncode == 0
    assert Run(run).compute() == Compute("bfloat16", 1)
    done = here(command(dots, recipe, run, *steps, "--precision", "float32"))
    assert done.returncode == 2 and "was trained in bfloat16, not float32" in done.stderr
    assert here(command(dots, recipe, run, *steps)).returncode == 0, "auto is the run's own"

    done = here(command(dots, recipe, tmp_path / "other", *steps))
    assert done.returncode == 0 and Run(tmp_path / "other").compute() == Compute("float32", 1), "on every CPU"
    changed = weights_of(Run(run).encoder), weights_of(Run(tmp_path / "other").encoder)
    assert any(not torch.equal(changed[0][name], tensor) for name, tensor in changed[1].items())


def test_threads_are_measured_for_a_budget(dots: Path, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = finish(command(dots, recipe, run, "--budget", "2s", "--stage", "encoder"))
    assert done.returncode == 0 and Run(run).compute() == Compute("float32", None)


def test_any_seed_that_is_allowed_trains(dots: Path, recipe: Path, tmp_path: Path) -> None:
    for seed in (10**14, MOST_SEED):
        run = tmp_path / str(seed)
        done = here(command(dots, recipe, run, "--steps", "3", "--stage", "encoder", "--seed", str(seed)))
        assert done.returncode == 0 and Run(run).encoder.exists(), done.stderr
