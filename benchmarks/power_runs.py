"""The part of ``benchmarks.power_cuts`` that trains: run folders started one after another, and their checkpoints."""

from __future__ import annotations

import collections
import time
from collections.abc import Callable
from pathlib import Path

import torch

from brain import recipes
from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.errors import TinyJEPAError
from tests.support.stores import small_spec

RECIPE = recipes.load("car-racing")
LEAST_RUNS = 6
"""Runs that are started however slow the machine is."""


def train(point: Path, tell: Callable[[str, int], None], end: float) -> None:
    """Start runs, log and write checkpoints as the stages do, and acknowledge each once it must be durable."""
    number = 0
    while number < LEAST_RUNS or time.monotonic() < end:
        run = Run(point / f"run-{number}")
        run.begin(RECIPE, small_spec(), "store", seed=number)
        tell(run.path.name, 0)
        for step in range(1, 9):
            run.log("encoder", step, loss=1 / step)
            tensors = {"weights": torch.full((20_000,), float(step))}
            checkpoint.save(run.checkpoint("encoder"), tensors, {"step": step})
            tell(run.path.name, step)
            time.sleep(0.02)  # a checkpoint is rarer than a commit
        number += 1


def check_runs(point: Path, promised: dict[str, int], counts: collections.Counter[str]) -> None:
    """Every started run opens, every checkpoint is complete and no older than acknowledged, and each run resumes."""
    for path in sorted(point.glob("run-*")):
        run, told = Run(path), promised.get(path.name)
        step = 0
        try:
            if told is not None:
                run.recipe(), run.facts()
        except TinyJEPAError:
            counts["LOST runs"] += 1
        try:
            if run.checkpoint("encoder").exists():
                tensors, facts = checkpoint.load(run.checkpoint("encoder"))
                step = facts["step"]
                counts["LOST checkpoints"] += bool((tensors["weights"] != step).any())
        except TinyJEPAError:
            counts["LOST checkpoints"] += 1
        counts["LOST checkpoints"] += step < (told or 0)
        try:
            run.begin(RECIPE, small_spec(), "store", seed=int(path.name.removeprefix("run-")))
            run.rewind_log("encoder", step)
            run.log("encoder", step + 1, loss=1.0)
        except (TinyJEPAError, OSError):
            counts["LOST unable to go on"] += 1
    counts["runs promised"] += sum(name.startswith("run-") for name in promised)
    counts["LOST runs"] += sum(name.startswith("run-") and not (point / name).exists() for name in promised)
