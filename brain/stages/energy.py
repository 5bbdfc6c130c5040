"""Stage 3: calibrate the energy on validation episodes, judge it on test episodes, write the report."""

from __future__ import annotations

from typing import Any

from brain.judge import judge
from brain.model import WorldModel
from brain.run import Run
from shared.store.reader import Store


def judge_energy(run: Run, model: WorldModel, store: Store, *, quiet: bool) -> dict[str, Any]:
    """Write ``judge.json`` and ``report.html``; returns the figures."""
    return judge(model, store, run.path, quiet=quiet)
