"""Training a small recipe, in real processes or in this one."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

from brain.cli import cli
from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.cli.console import run as run_command
from shared.errors import TinyJEPAError
from tests import ROOT

RECIPE = """
name = "small"
observation = { stack = 2, stride = 2 }
encoder = { kind = "cnn", dim = 16, width = 8 }
objective = { rollout = 2, batch = 32, inverse_dynamics = 0.5 }
prediction = { batch = 64, rollout = 2, predictor = { width = 64 } }
"""
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def command(dots: Path, recipe: Path, run: Path, *extra: str) -> list[str]:
    return [
        sys.executable, "-m", "brain.cli", "train", "--store", str(dots), "--recipe", str(recipe), "--run", str(run),
        "--device", "cpu", "--quiet", *extra,
    ]  # fmt: skip


def finish(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=200)


def here(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """The same in this process, where the process is not what is tested; a traceback is the test's."""
    words = arguments[arguments.index("brain.cli") + 1 :]
    with contextlib.redirect_stdout(io.StringIO()) as output, contextlib.redirect_stderr(io.StringIO()) as errors:
        code = run_command(cli, "brain", words)
    return subprocess.CompletedProcess(arguments, code, output.getvalue(), errors.getvalue())


def weights_of(path: Path) -> dict[str, torch.Tensor]:
    return {f"{path.stem}.{name}": tensor for name, tensor in checkpoint.load(path)[0].items()}


def weights(run: Path) -> dict[str, torch.Tensor]:
    return weights_of(Run(run).encoder) | weights_of(Run(run).predictor)


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


def make_undisturbed(folder: Path, dots: Path) -> None:
    """``folder/small.toml`` and ``folder/undisturbed``: both stages trained for 120 steps without an interruption."""
    (folder / "small.toml").write_text(RECIPE)
    for stage in ("encoder", "predictor"):
        arguments = command(dots, folder / "small.toml", folder / "undisturbed", "--steps", "120", "--stage", stage)
        done = finish(arguments)
        assert done.returncode == 0, done.stderr
