"""``brain train``: a finished run, what belongs to it, and what refuses it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Literal

import pytest
import torch

from brain import pretrained, recipes
from brain.reports.card import write_card
from brain.runs import checkpoint
from brain.runs.folder import Compute, Run
from brain.training.options import Effort
from brain.training.train import MOST_SEED, train
from shared.store.reader import Store
from tests.support.dots import dot_spec, make_dot_store
from tests.support.once import once
from tests.support.training import (
    command,
    finish,
    here,
    make_undisturbed,
    weights,
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


def test_a_new_predictor_takes_what_read_the_scale_of_the_earlier_one(tmp_path: Path) -> None:
    readers = {"decoder.safetensors", "reward.safetensors", "planning-value.safetensors"}
    shown = {"reconstruction.png", "onnx/predictor.onnx", "onnx/model.json", "judge.json"}
    of_encoder = {"predictor.safetensors", "probe.json", "latents.png"}
    for start, stays in (("fresh", set[str]()), ("joint", readers)):
        run = Run(tmp_path / start)
        run.begin(recipes.load("bouncing-logo", [f"prediction.start={start}"]), dot_spec(), "store", 0)
        (run.path / "onnx").mkdir()
        for name in readers | shown | of_encoder:
            (run.path / name).write_text("")
        assert {*run.forget("predictor")} == (readers | shown) - stays
        assert {*run.forget("encoder")} == of_encoder | stays
        assert {path.name for path in run.path.iterdir()} == {"recipe.toml", "run.json", "onnx"}


def test_a_card_goes_with_the_weights_that_it_is_of(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    shutil.copytree(pretrained.folder("bouncing-logo"), run.path)
    write_card(run.path)
    assert pretrained.CARD in run.forget("encoder") and not (run.path / pretrained.CARD).exists()
    (run.path / pretrained.CARD).write_text("What I tried.")
    assert pretrained.CARD not in run.forget("encoder") and (run.path / pretrained.CARD).exists(), "somebody's own"


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


def test_the_recipe_s_steps_count_where_none_are_given(dots: Path, recipe: Path, tmp_path: Path) -> None:
    run, short = tmp_path / "run", ("--set", "objective.steps=7", "--stage", "encoder")
    assert here(command(dots, recipe, run, *short, "--steps", "3")).returncode == 0
    done = here(command(dots, recipe, run, *short))
    assert "encoder: finished before (3 steps" in done.stdout, done.stderr
    assert "note: the encoder was not trained for 7 steps: give another --run to train it so" in done.stdout
    assert "note" not in here(command(dots, recipe, run, *short, "--budget", "9s")).stdout, "a budget is no number"
    assert here(command(dots, recipe, tmp_path / "whole", *short)).returncode == 0
    assert "note" not in here(command(dots, recipe, tmp_path / "whole", *short)).stdout


def test_resuming_with_other_memory_is_said(dots: Path, recipe: Path, undisturbed: Path, tmp_path: Path) -> None:
    run, steps = tmp_path / "run", ("--steps", "3", "--stage", "encoder")
    assert here(command(dots, recipe, run, *steps, "--memory", "2")).returncode == 0
    assert Run(run).compute() == Compute("float32", 1, memory=2 << 30)
    assert "note" not in here(command(dots, recipe, run, *steps)).stdout, "it is finished"
    Run(run).encoder.unlink()
    checkpoint.save(Run(run).checkpoint("encoder"), checkpoint.load(Run(undisturbed).encoder)[0], {"step": 9})
    done = here(command(dots, recipe, run, *steps, "--memory", "1"))
    assert "--memory 1 from here on, 2 before" in (run / "train.log").read_text(), done.stderr
    assert Run(run).compute().memory == 1 << 30


def test_a_store_that_cannot_be_judged_is_refused_before_it_is_trained_on(recipe: Path, tmp_path: Path) -> None:
    store, run = make_dot_store(tmp_path / "store", episodes=3), tmp_path / "run"
    assert not Store(store).split("validation"), "or the test proves nothing"
    done = here(command(store, recipe, run, "--steps", "2"))
    assert done.returncode == 2 and "has no validation episode" in done.stderr and done.stderr.count("\n") == 1
    assert not run.exists()
    assert here(command(store, recipe, run, "--steps", "2", "--stage", "encoder")).returncode == 0


@pytest.mark.parametrize(("encoder", "kind"), [(None, ["encoder.kind=mlp"]), ("untrained", [])])
def test_the_same_steps_give_the_same_weights_whatever_the_number_of_cores(
    encoder: Literal["untrained"] | None, kind: list[str], dots: Path, recipe: Path, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            settings = recipes.load(str(recipe), ["prediction.start=fresh", *kind])
            train(
                dots, tmp_path / str(threads), settings,
                effort=Effort(encoder=encoder, steps=2), device="cpu", quiet=True,
            )  # fmt: skip
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    one, *others = (weights(tmp_path / str(threads)) for threads in (1, 2, 4))
    for other in others:
        assert not [name for name, tensor in one.items() if not torch.equal(other[name], tensor)]


def test_any_seed_that_is_allowed_trains(dots: Path, recipe: Path, tmp_path: Path) -> None:
    for seed in (10**14, MOST_SEED):
        run = tmp_path / str(seed)
        done = here(command(dots, recipe, run, "--steps", "3", "--stage", "encoder", "--seed", str(seed)))
        assert done.returncode == 0 and Run(run).encoder.exists(), done.stderr
