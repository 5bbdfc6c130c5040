"""Training that is killed, interrupted, stopped and resumed in each stage ends with the same weights."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from brain.runs import checkpoint
from brain.runs.folder import LOCK, Run
from tests import ROOT
from tests.support.once import once
from tests.support.training import (
    ENVIRONMENT,
    command,
    finish,
    make_undisturbed,
    wait_for_step,
    weights,
)


@pytest.fixture(scope="module")
def undisturbed(dots: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 120 steps a stage; read it, or copy it to change it."""
    return once(tmp_path_factory, "undisturbed", lambda folder: make_undisturbed(folder, dots)) / "undisturbed"


@pytest.fixture(scope="module")
def recipe(undisturbed: Path) -> Path:
    return undisturbed.parent / "small.toml"


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


def test_a_second_training_is_refused_and_a_killed_one_is_in_nobody_s_way(
    dots: Path, recipe: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = command(dots, recipe, run, "--steps", "1000000", "--stage", "encoder", "--checkpoint-every", "0.01s")
    process = subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_for_step(process, run, "encoder", 2)
    second = finish(arguments)
    assert second.returncode == 2 and second.stderr.count("\n") == 1, second.stderr
    assert f"another process trains {run} (process {process.pid} on " in second.stderr
    assert "wait for it, or give another --run" in second.stderr
    status = finish([*arguments[:3], "status", "--run", str(run)])
    assert status.returncode == 0 and "encoder" in status.stdout, "who only reads is free"
    process.kill()
    process.wait()
    assert (run / LOCK).exists(), "left behind"
    before = checkpoint.load(Run(run).checkpoint("encoder"))[1]["step"]
    process = subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    wait_for_step(process, run, "encoder", before + 1)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130 and not (run / LOCK).exists()


def test_trainings_that_begin_at_the_same_moment_make_one_run(dots: Path, recipe: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    arguments = command(dots, recipe, run, "--steps", "60", "--stage", "encoder")
    several = [
        subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    errors = [process.communicate(timeout=200)[1] for process in several]
    good = [process.returncode == 0 for process in several]
    assert any(good) and all(fine or "another process trains" in said for fine, said in zip(good, errors)), errors
    lines = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert lines == sorted(set(lines)) and checkpoint.read_facts(Run(run).encoder)["step"] == 60


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
