"""The short rehearsal: hosts with network stacks of their own, a cut link, a kill, and the proof after it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.rehearsal.hosts import lacking
from tests import ROOT


@pytest.mark.skipif(bool(lacking()), reason=f"no rehearsal on this box: {lacking()}")
def test_a_cut_link_and_a_killed_trainer_cost_only_time(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.rehearsal", "--short", "--keep", str(tmp_path / "r")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    for claim in (
        "no committed row lost",
        "every committed row verified",
        "data set that",
        "training run complete",
    ):
        line = next(line for line in done.stdout.splitlines() if claim in line)
        assert " yes " in line, done.stdout


def test_without_root_it_says_so_in_one_line(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("is root needed to stop being root")
    command = ["setpriv", "--reuid", "65534", "--clear-groups", sys.executable, "-m", "deploy.rehearsal"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "HOME": str(tmp_path)})
    if "No such file" in done.stderr or "Permission denied" in done.stderr:
        pytest.skip("another user cannot read this checkout")
    assert done.returncode == 2 and done.stderr == "rehearsal: not on this box: it needs root\n"
