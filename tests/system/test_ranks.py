"""One training by several processes over gloo on the CPU: the same mathematics as one process with the whole batch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.writer import StreamWriter
from tests import ROOT
from tests.support.dots import RUN, dot_episode, dot_spec

RECIPE = """
name = "shared"
observation = { stack = 2, stride = 2 }
encoder = { kind = "cnn", dim = 16, width = 8 }
objective = { rollout = 2, batch = 24, inverse_dynamics = 0.5 }
prediction = { batch = 48, rollout = 2, predictor = { width = 64 } }
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
STEPS = 60


def command(store: Path, run: Path, ranks: int, *extra: str) -> list[str]:
    recipe = run.parent / "shared.toml"
    recipe.write_text(RECIPE)
    return [
        sys.executable, "-m", "brain", "train", "--store", str(store), "--recipe", str(recipe), "--run", str(run),
        "--device", "cpu", "--quiet", "--gpus", str(ranks), *extra,
    ]  # fmt: skip


def finish(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def weights(run: Path) -> dict[str, Tensor]:
    return {
        f"{path.stem} {name}": tensor
        for path in (Run(run).encoder, Run(run).predictor)
        for name, tensor in checkpoint.load(path)[0].items()
    }


def begin(arguments: list[str], run: Path, step: int) -> subprocess.Popen[str]:
    """Start a training of the encoder and wait for a checkpoint of at least ``step``."""
    process = subprocess.Popen(
        [*arguments, "--checkpoint-every", "0.01s"], cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        try:
            if checkpoint.load(Run(run).checkpoint("encoder"))[1]["step"] >= step:
                return process
        except TinyJEPAError:
            pass  # no checkpoint yet
        time.sleep(0.01)
    raise AssertionError(f"no step {step}")


def children(process: subprocess.Popen[str]) -> list[int]:
    """The ranks, by number."""
    return [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    """Ended, or about to be: a zombie waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Tensor]]]:
    """What one process makes of one step of each part."""
    return step_of(1, tmp_path_factory.mktemp("alone"))


def step_of(ranks: int, folder: Path, *words: str) -> tuple[Path, dict[str, dict[str, Tensor]]]:
    done = finish([sys.executable, "-m", "tests.support.ranks", str(ranks), str(folder), *words])
    assert done.returncode == 0, done.stderr
    return folder, torch.load(next(folder.glob("*.pt")))


def difference(one: Tensor, other: Tensor) -> float:
    """The largest, where 1 is what rounding may make of it."""
    return float((one - other).abs().max() / (1e-4 * one.abs().max() + 5e-6)) if one.numel() else 0.0


@pytest.mark.parametrize("ranks", [2, 3])
def test_losses_and_gradients_are_those_of_one_process_with_the_whole_batch(
    ranks: int, alone: tuple[Path, dict[str, dict[str, Tensor]]], tmp_path: Path
) -> None:
    """Of both stages, for every registered part, every target and regulariser, augmentations, masks, BatchNorms."""
    (_, expected), (_, got) = alone, step_of(ranks, tmp_path)
    assert got.keys() == expected.keys() and len(got) > 20
    different = []
    for case, values in expected.items():
        assert got[case].keys() == values.keys() and any(name.startswith("gradient") for name in values)
        different += [(case, name) for name, value in values.items() if difference(value, got[case][name]) > 1]
    assert not different


def test_a_batchnorm_of_each_rank_alone_would_be_seen(
    alone: tuple[Path, dict[str, dict[str, Tensor]]], tmp_path: Path
) -> None:
    case = "encoder cnn"
    expected, got = alone[1][case], step_of(2, tmp_path, "plain")[1][case]
    assert max(difference(value, got[name]) for name, value in expected.items()) > 30


def test_training_with_ranks_is_that_of_one_process_and_can_be_judged(dots: Path, tmp_path: Path) -> None:
    runs = {ranks: tmp_path / str(ranks) for ranks in (1, 2)}
    for ranks, run in runs.items():
        done = finish(command(dots, run, ranks, "--steps", "8"))
        assert done.returncode == 0, done.stderr
        assert done.stderr == "" and done.stdout.count("trained (8 steps") == 2
    one, two = (weights(run) for run in runs.values())
    assert one.keys() == two.keys() and Run(runs[2]).compute().ranks == 2
    assert Run(runs[2]).facts()["flags"] == ["--steps", "8", "--device", "cpu", "--gpus", "2"]
    apart = {name: float((two[name] - one[name]).abs().max()) for name in one if one[name].is_floating_point()}
    assert max(apart.values()) < 0.01, apart  # AdamW makes a step of every rounding error where a gradient is near 0
    assert Run(runs[2]).judgement.exists() and (runs[2] / "train.log").read_text().count("started:") == 1
    done = finish([sys.executable, "-m", "brain", "judge", "--run", str(runs[2]), "--quiet"])
    assert done.returncode == 0, done.stderr


def test_three_ranks_killed_and_resumed_end_with_the_same_weights(dots: Path, tmp_path: Path) -> None:
    arguments = {}
    for name in ("undisturbed", "killed"):
        arguments[name] = command(dots, tmp_path / name, 3, "--steps", str(STEPS))
    for stage in ("encoder", "predictor"):
        done = finish([*arguments["undisturbed"], "--stage", stage])
        assert done.returncode == 0, done.stderr
    process = begin([*arguments["killed"], "--stage", "encoder"], tmp_path / "killed", 15)
    ranks = children(process)
    assert len(ranks) == 3
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while not all(map(gone, ranks)):
        assert time.monotonic() < deadline, "a rank outlives the command"
        time.sleep(0.02)
    for stage in ("encoder", "predictor"):
        done = finish([*arguments["killed"], "--stage", stage])
        assert done.returncode == 0, done.stderr
    expected, got = (weights(tmp_path / name) for name in arguments)
    assert not [name for name in expected if not torch.equal(expected[name], got[name])]


@pytest.mark.parametrize(("ranks", "torn_down"), [("1", True), ("2", False)])
@pytest.mark.parametrize(("words", "code"), [(["recipes"], 0), (["recipes", "tiny"], 2)])
def test_a_rank_ends_without_tearing_down_what_threads_still_use(
    words: list[str], code: int, ranks: str, torn_down: bool
) -> None:
    script = "import atexit; from brain.cli import main; atexit.register(print, 'torn down'); main()"
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=ROOT, env=ENVIRONMENT | {"WORLD_SIZE": ranks}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == code and ("torn down" in done.stdout) == torn_down, done
    assert "tiny-jepa" in done.stdout + done.stderr


def test_ctrl_c_ends_all_ranks_after_one_step(dots: Path, tmp_path: Path) -> None:
    process = begin(command(dots, tmp_path / "run", 2, "--steps", "100000"), tmp_path / "run", 3)
    ranks = children(process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.count("\n") == 1 and "interrupted" in errors, errors
    assert all(map(gone, ranks)) and Run(tmp_path / "run").checkpoint("encoder").exists()


def test_a_rank_that_is_killed_ends_the_others_with_one_line(dots: Path, tmp_path: Path) -> None:
    process = begin(command(dots, tmp_path / "run", 2, "--steps", "100000"), tmp_path / "run", 3)
    ranks = children(process)
    os.kill(ranks[1], signal.SIGKILL)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2 and errors.count("\n") == 1, errors
    assert "process 1 of 2 was killed (SIGKILL): rerun the command to resume" in errors
    assert all(map(gone, ranks))


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (["--set", "objective.batch=25"], "objective.batch 25 does not divide among 2 processes"),
        (["--set", "objective.accumulate=8"], "in 8 parts (objective.accumulate): set it to a multiple of 16"),
        (["--device", "cuda:0"], "--device cuda:0 is one device for several processes"),
        (["--store", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_with_ranks_is_one_line(extra: list[str], words: str, dots: Path, tmp_path: Path) -> None:
    done = finish(command(dots, tmp_path / "run", 2, "--steps", "4", *extra))
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr


def test_ranks_that_cannot_meet_say_why(dots: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENVIRONMENT, "GLOO_SOCKET_IFNAME", "nowhere0")
    done = finish(command(dots, tmp_path / "run", 2, "--steps", "4"))
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert "cannot meet" in done.stderr and "GLOO_SOCKET_IFNAME" in done.stderr and "nowhere0" in done.stderr


def test_ranks_leave_the_same_encoder_untrained(dots: Path, tmp_path: Path) -> None:
    for name, ranks in (("two", 2), ("one", 1)):
        arguments = command(dots, tmp_path / name, ranks, "--steps", "4", "--encoder", "untrained")
        assert finish([*arguments, "--stage", "predictor"]).returncode == 0
    one, two = (Run(tmp_path / name).encoder.read_bytes() for name in ("one", "two"))
    assert one == two


def test_torchrun_starts_the_same_training(dots: Path, tmp_path: Path) -> None:
    arguments = command(dots, tmp_path / "run", 2, "--steps", "6", "--stage", "encoder")
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "--"]
    done = finish([*run, *arguments[2:]])
    assert done.returncode == 0 and done.stdout.count("encoder: trained (6 steps") == 1, done.stderr
    assert finish(command(dots, tmp_path / "own", 2, "--steps", "6", "--stage", "encoder")).returncode == 0
    one, other = (checkpoint.load(Run(tmp_path / name).encoder)[0] for name in ("run", "own"))
    assert not [name for name in one if not torch.equal(one[name], other[name])]


def test_ranks_follow_a_store_that_grows(tmp_path: Path) -> None:
    """All see what rank 0 sees: they end after the same batch, which draws from everything."""
    store = tmp_path / "store"
    spec = create_store(store, dot_spec())
    writer = StreamWriter(store, spec, RUN, 0)
    for index in range(12):
        writer.append(dot_episode(index))
    follow = ["--follow", "--min-frames", "200", "--poll", "0.1s", "--stage", "encoder", "--set", "objective.steps=40"]
    arguments = command(store, tmp_path / "run", 2, *follow, "--checkpoint-every", "0.1s")
    with subprocess.Popen(arguments, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        while not Run(tmp_path / "run").checkpoint("encoder").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.05)
        for index in range(12, 24):
            writer.append(dot_episode(index))
            time.sleep(0.02)
        writer.close()
        _, errors = process.communicate(timeout=200)
    assert process.returncode == 0 and errors == "", errors
    facts = checkpoint.read_facts(Run(tmp_path / "run").encoder)
    assert sum(facts["stream"]["known"].values()) + sum(sum(k.values()) for _, k in facts["stream"]["added"]) >= 24
    assert facts["step"] >= 40
