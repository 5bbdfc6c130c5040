"""Training in real processes: killed in each stage and started again, it ends with the same weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from brain.runs import checkpoint
from brain.runs.folder import Compute, Run
from shared.errors import TinyJEPAError
from tests import ROOT

RECIPE = """
name = "small"
observation = { stack = 2, stride = 2 }
encoder = { kind = "cnn", dim = 16, width = 8 }
objective = { rollout = 2, batch = 32, inverse_dynamics = 0.5 }
prediction = { batch = 64, rollout = 2, predictor = { width = 64 } }
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "small.toml"
    path.write_text(RECIPE)
    return path


def command(dots: Path, recipe: Path, run: Path, *extra: str) -> list[str]:
    return [
        sys.executable, "-m", "brain.cli", "train", "--store", str(dots), "--recipe", str(recipe), "--run", str(run),
        "--device", "cpu", "--quiet", *extra,
    ]  # fmt: skip


ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def finish(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return {f"{path.stem}.{name}": tensor for name, tensor in checkpoint.load(path)[0].items()}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return weights_of(Run(run).encoder) | weights_of(Run(run).predictor)


@pytest.fixture(scope="module")
def undisturbed(dots: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    for stage in ("encoder", "predictor"):
        done = finish(command(dots, recipe, run, "--steps", "120", "--stage", stage))
        assert done.returncode == 0, done.stderr
    return run


def wait_for_step(process: subprocess.Popen[bytes], run: Path, stage: str, step: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, f"{stage} ended before step {step}"
        try:
            if checkpoint.load(Run(run).checkpoint(stage))[1]["step"] >= step:
                return
        except TinyJEPAError:
            pass  # no checkpoint yet
        time.sleep(0.005)
    raise AssertionError(f"{stage} did not reach step {step}")


@pytest.mark.parametrize(("how", "at"), [(signal.SIGKILL, (20, 70)), (signal.SIGINT, (40,))])
def test_interrupted_training_ends_with_the_same_weights(
    how: signal.Signals, at: tuple[int, ...], dots: Path, recipe: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    for stage in ("encoder", "predictor"):
        arguments = command(dots, recipe, run, "--steps", "120", "--stage", stage, "--checkpoint-every", "0.01s")
        for step in at:
            process = subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE)
            wait_for_step(process, run, stage, step)
            process.send_signal(how)
            _, errors = process.communicate(timeout=60)
            assert process.returncode == (-9 if how == signal.SIGKILL else 130), errors
            assert b"Traceback" not in errors
        done = finish(arguments)
        assert done.returncode == 0, done.stderr
        assert "120 steps" in done.stdout
    expected, got = weights(undisturbed), weights(run)
    assert expected.keys() == got.keys()
    different = [name for name in expected if not torch.equal(expected[name], got[name])]
    assert not different
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len({(line["stage"], line["step"]) for line in steps}) == len(steps), "a step is logged twice"


def test_finished_stages_are_reused(dots: Path, recipe: Path, undisturbed: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (Run(undisturbed).encoder, Run(undisturbed).predictor)}
    done = finish(command(dots, recipe, undisturbed, "--steps", "120", "--stage", "predictor"))
    assert done.returncode == 0 and done.stdout.count("finished before") == 2
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_what_was_made_with_an_earlier_encoder_goes_with_it(
    dots: Path, recipe: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    Run(run).judgement.write_text("{}")
    Run(run).encoder.unlink()
    done = finish(command(dots, recipe, run, "--steps", "5", "--stage", "encoder"))
    assert done.returncode == 0, done.stderr
    assert "note: predictor.safetensors, judge.json were made with an earlier encoder: removed" in done.stdout
    assert Run(run).encoder.exists() and not Run(run).predictor.exists() and not Run(run).judgement.exists()


def test_other_steps_than_were_trained_are_said_or_refused(
    dots: Path, recipe: Path, undisturbed: Path, tmp_path: Path
) -> None:
    done = finish(command(dots, recipe, undisturbed, "--steps", "60", "--stage", "encoder"))
    assert done.returncode == 0 and "note: the encoder was not trained for 60 steps" in done.stdout
    run = tmp_path / "run"
    arguments = command(dots, recipe, run, "--steps", "120", "--stage", "encoder", "--checkpoint-every", "0.01s")
    process = subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_for_step(process, run, "encoder", 20)
    process.kill()
    process.wait()
    done = finish(command(dots, recipe, run, "--steps", "10"))
    assert done.returncode == 2 and "steps already, more than 10" in done.stderr and done.stderr.count("\n") == 1
    assert Run(run).checkpoint("encoder").exists()


def test_a_time_budget_ends_on_time(dots: Path, recipe: Path, tmp_path: Path) -> None:
    done = finish(command(dots, recipe, tmp_path / "run", "--budget", "2s", "--stage", "encoder"))
    assert done.returncode == 0, done.stderr
    facts = checkpoint.load(Run(tmp_path / "run").encoder)[1]
    assert 2 <= facts["elapsed"] < 4 and facts["step"] > 1
    assert facts["cpu_seconds"] > 0
    entries = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert {"loss", "prediction", "variance", "covariance", "embedding_std", "effective_rank", "lr"} <= entries[
        0
    ].keys()


def test_a_budget_of_cpu_seconds_counts_those(dots: Path, recipe: Path, tmp_path: Path) -> None:
    where = ["--budget", "2s", "--clock", "cpu", "--stage", "encoder"]
    process = subprocess.Popen(command(dots, recipe, tmp_path / "run", *where), stdout=subprocess.DEVNULL)
    while not Run(tmp_path / "run").path.joinpath("metrics.jsonl").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)
    time.sleep(3)
    process.send_signal(signal.SIGCONT)
    assert process.wait() == 0
    facts = checkpoint.load(Run(tmp_path / "run").encoder)[1]
    assert 2 <= facts["cpu_seconds"] < 4 and facts["elapsed"] > 3


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
        done = finish(command(dots, recipe, undisturbed, *extra))
        assert done.returncode == 2 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_the_predictor_needs_an_encoder(dots: Path, recipe: Path, tmp_path: Path) -> None:
    done = finish(command(dots, recipe, tmp_path / "run", "--stage", "predictor"))
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
    done = finish(command(dots, recipe, run))
    assert done.returncode == 2 and "encoder.safetensors" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert encoder.read_bytes() == content


def test_the_precision_and_threads_belong_to_the_run(dots: Path, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    steps = ("--steps", "3", "--stage", "encoder")
    assert finish(command(dots, recipe, run, *steps, "--precision", "bfloat16")).returncode == 0
    assert Run(run).compute() == Compute("bfloat16", 1)
    done = finish(command(dots, recipe, run, *steps, "--precision", "float32"))
    assert done.returncode == 2 and "was trained in bfloat16, not float32" in done.stderr
    assert finish(command(dots, recipe, run, *steps)).returncode == 0, "auto is the run's own"

    done = finish(command(dots, recipe, tmp_path / "other", *steps))
    assert done.returncode == 0 and Run(tmp_path / "other").compute() == Compute("float32", 1), "on every CPU"
    changed = weights_of(Run(run).encoder), weights_of(Run(tmp_path / "other").encoder)
    assert any(not torch.equal(changed[0][name], tensor) for name, tensor in changed[1].items())


def test_resuming_with_other_threads_is_said(dots: Path, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(command(dots, recipe, run, "--steps", "4000", "--checkpoint-every", "0.1s"), cwd=ROOT)
    wait_for_step(process, run, "encoder", 2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    arguments = command(dots, recipe, run, "--steps", "4000", "--checkpoint-every", "0.1s", "--threads", "2")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    process = subprocess.Popen(arguments, cwd=ROOT, env=environment)
    before = checkpoint.load(Run(run).checkpoint("encoder"))[1]["step"]
    wait_for_step(process, run, "encoder", before + 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert "2 threads from here on, 1 before" in (run / "train.log").read_text()
    assert Run(run).compute().threads == 2


def test_threads_are_measured_for_a_budget(dots: Path, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = finish(command(dots, recipe, run, "--budget", "2s", "--stage", "encoder"))
    assert done.returncode == 0 and Run(run).compute() == Compute("float32", None)
