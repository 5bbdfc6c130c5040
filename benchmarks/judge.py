"""Seconds of judging, beside an earlier version of the code, and whether both measure the same.

    git worktree add /tmp/before COMMIT
    python -m benchmarks.judge RUN [RUN ...] [--before /tmp/before] [--repeats 3]

Each run folder is copied and judged by a process of its own, with the threads that ``brain judge`` takes, the versions
in turn. Prints the seconds by the clock and the CPU seconds, with those of the judge's own processes, of ``brain
judge`` without starting Python, median [min–max], the ratios repeat by repeat, and, by part of ``judge.json``, how many
figures there are and the largest difference between the versions; then the same without what the judge itself trains,
whose roundings add up.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.training_steps import ratios, rows_of, spread

UNITS = ("s", "CPU s")
TRAINED = ("random-encoder", "upper_bound", "oracle")
HERE = Path(__file__).parents[1]
JUDGE = """
import os, sys, time
from pathlib import Path
import torch
from brain.data.place import open_store
from brain.models.world_model import WorldModel
from brain.reports.evidence import judge
from brain.runs.folder import Run
run = Run(Path(sys.argv[1]))
store = open_store(run, None)[0]
model = WorldModel.load(run.path, store.spec, torch.device("cpu"))
before = os.times()
judge(model, store, run, quiet=True)
after = os.times()
print(after.elapsed - before.elapsed, sum(after[:4]) - sum(before[:4]))
"""


def judged(run: Path, code: Path) -> tuple[float, float, dict[str, Any]]:
    """Seconds and CPU seconds of judging a copy of the run by the code of a checkout, and its ``judge.json``."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / run.name
        shutil.copytree(run, copy)
        environment = os.environ | {"PYTHONPATH": str(code)}
        done = subprocess.run(
            [sys.executable, "-c", JUDGE, str(copy)], cwd=code, env=environment, check=True, text=True,
            stdout=subprocess.PIPE,
        )  # fmt: skip
        clock, cpu = (float(word) for word in done.stdout.split()[-2:])
        return clock, cpu, json.loads((copy / "judge.json").read_text())


def numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every number of a document, by its path."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from numbers(part, f"{path}/{key}")
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from numbers(part, f"{path}/{place}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield path, float(value)


def differences(before: dict[str, Any], after: dict[str, Any]) -> Iterator[list[str]]:
    """A row for each part of ``judge.json``: figures, the largest difference, and where."""
    for part in before | after:
        if part == "seconds":
            continue
        old, new = dict(numbers(before.get(part), part)), dict(numbers(after.get(part), part))
        if old.keys() != new.keys():
            yield [part, str(len(new)), "other figures", ", ".join(sorted(old.keys() ^ new.keys())[:3])]
        elif new:
            worst = max(new, key=lambda path: abs(new[path] - old[path]))
            own = [path for path in new if not any(name in path for name in TRAINED)]
            mine = max((abs(new[path] - old[path]) for path in own), default=0.0)
            yield [part, str(len(new)), f"{abs(new[worst] - old[worst]):.1e}", worst, f"{mine:.1e}"]


def main(
    runs: Annotated[list[Path], typer.Argument(exists=True)],
    before: Annotated[Path | None, typer.Option(exists=True, help="Checkout of an earlier version.")] = None,
    repeats: int = 3,
) -> None:
    versions = {"before": before.resolve(), "now": HERE} if before else {"now": HERE}
    columns = [*versions, *(["now / before"] if before else [])]
    table = [["run", *(f"{name}, {unit}" for unit in UNITS for name in columns)]]
    changes: list[list[str]] = []
    for run in runs:
        spent: dict[str, dict[str, list[float]]] = {unit: {name: [] for name in versions} for unit in UNITS}
        figures: dict[str, dict[str, Any]] = {}
        for _ in range(repeats):
            for name, code in versions.items():
                *taken, figures[name] = judged(run.resolve(), code)
                for unit, value in zip(UNITS, taken, strict=True):
                    spent[unit][name].append(value)
        row = [figures["now"]["recipe"]["name"]]
        for seconds in spent.values():
            row += [spread(values, 1) for values in seconds.values()]
            if before:
                row.append(spread(ratios(seconds["now"], seconds["before"]), 2))
        if before:
            changes += [[row[0], *change] for change in differences(figures["before"], figures["now"])]
        table.append(row)
    print("\n".join(rows_of(table)))
    if changes:
        head = ["run", "part of judge.json", "figures", "largest difference", "where", "without fitted baselines"]
        print("\n" + "\n".join(rows_of([head, *changes])))


if __name__ == "__main__":
    typer.run(main)
