"""How many cores there are to use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from shared.cores import usable_cores
from tests import ROOT

HERE = os.environ | {"PYTHONPATH": str(ROOT)}
ONE = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "


def test_cores_that_this_process_may_not_run_on_do_not_count() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    for words in (
        "from shared.cores import usable_cores; print(usable_cores())",
        "from brain.device import cores; print(cores())",
    ):
        done = subprocess.run([sys.executable, "-c", ONE + words], capture_output=True, text=True, cwd=ROOT)
        assert done.stdout == "1\n", done.stderr


def test_a_collection_counts_the_cores_that_it_may_use(tmp_path: Path) -> None:
    words = ["collect", "--world", "bouncing-logo", "--episodes", "4", "--dry-run", "--workers", "2"]
    run = f"from factory.cli import cli; from shared.cli.console import run; run(cli, 'factory', {words!r})"
    done = subprocess.run([sys.executable, "-c", ONE + run], capture_output=True, text=True, cwd=tmp_path, env=HERE)
    assert "2 workers share 1 cores" in done.stderr, done
