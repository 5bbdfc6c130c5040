"""brain train --compile: the same training, through a real compiler; and one clear line where there is none."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from brain.runs.folder import Run
from tests import ROOT
from tests.support.dots import make_dot_store
from tests.support.training import ENVIRONMENT, RECIPE, command

pytestmark = pytest.mark.system


def losses(run: Path) -> list[float]:
    """Of the first and the last step, which are logged however fast steps are."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found = [line["loss"] for line in lines if line["stage"] == "encoder"]
    return [found[0], found[-1]]


@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="there is no C++ compiler")
def test_compiled_steps_train_as_others_do(tmp_path: Path) -> None:
    store, recipe = make_dot_store(tmp_path / "dots"), tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    for name, flags in (("plain", []), ("compiled", ["--compile"])):
        arguments = command(store, recipe, tmp_path / name, "--steps", "3", "--stage", "encoder", *flags)
        done = subprocess.run(arguments, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=800)
        assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "plain"), rel=1e-3)
    assert Run(tmp_path / "compiled").compute().compiled and not Run(tmp_path / "plain").compute().compiled


def test_no_compiler_is_one_line(tmp_path: Path) -> None:
    store, recipe = make_dot_store(tmp_path / "dots"), tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    empty = {**ENVIRONMENT, "PATH": str(tmp_path)}
    empty.pop("CXX", None)
    arguments = command(store, recipe, tmp_path / "run", "--steps", "3", "--compile")
    done = subprocess.run(arguments, cwd=ROOT, env=empty, capture_output=True, text=True, timeout=200)
    assert done.returncode == 2
    assert "--compile needs a compiler" in done.stderr and "Traceback" not in done.stderr
