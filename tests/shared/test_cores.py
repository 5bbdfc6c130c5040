"""How many cores there are to use."""

from __future__ import annotations

import os
import subprocess
import sys

from shared.cores import usable_cores
from tests import ROOT

ASK = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "


def test_cores_that_this_process_may_not_run_on_do_not_count() -> None:
    assert 1 <= usable_cores() <= (os.cpu_count() or 1)
    for words in (
        "from shared.cores import usable_cores; print(usable_cores())",
        "from brain.device import cores; print(cores())",
    ):
        done = subprocess.run([sys.executable, "-c", ASK + words], capture_output=True, text=True, cwd=ROOT)
        assert done.stdout == "1\n", done.stderr
