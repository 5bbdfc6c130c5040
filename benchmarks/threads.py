"""Training speed by number of CPU threads, on a box that is idle or busy.

    python -m benchmarks.threads [--seconds 12] [--repeats 3] [--recipe car-racing] [--only 1 --only 2]

Conditions: nothing else runs; a collection with one and with two workers beside it; two busy loops beside it. In each,
``brain train --stage encoder`` runs for ``--seconds`` with one thread, with as many as there are cores (what torch
takes by itself), and with the measured choice (``brain train``'s own), interleaved. Prints steps per second, the median
[min-max] over the repeats, the ratio of the measured choice to the better fixed one, repeat by repeat, and how many
frames a collection beside it made.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.store.reader import Store

FACTORY = [sys.executable, "-m", "factory.cli"]
BRAIN = [sys.executable, "-m", "brain.cli"]
ALL = [0, 1, 2, 3]
BUSY = [sys.executable, "-c", "while True: pass"]


@contextlib.contextmanager
def beside(commands: list[list[str]]) -> Iterator[None]:
    """These run meanwhile, and are ended."""
    running = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for command in commands]
    try:
        yield
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def steps_per_second(store: Path, run: Path, recipe: str, seconds: float, threads: int | None) -> float:
    """Of one training from scratch, of its own time."""
    choice = [] if threads is None else ["--threads", str(threads)]
    command = ["train", "--store", str(store), "--run", str(run), "--recipe", recipe, "--stage", "encoder", "--quiet"]
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    subprocess.run(
        [*BRAIN, *command, "--budget", f"{seconds:g}s", "--device", "cpu", *choice],
        check=True, env=environment, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    facts = checkpoint.read_facts(Run(run).encoder)
    return float(facts["step"] / facts["elapsed"])


def main(
    seconds: float = 12.0,
    repeats: int = 3,
    recipe: str = "car-racing",
    world: str = "car-racing",
    only: Annotated[list[int], typer.Option(help="Numbers of the conditions, from 0.")] = ALL,
) -> None:
    cores = os.cpu_count() or 1
    arms: dict[str, int | None] = {"1 thread": 1, f"{cores} threads": cores, "measured": None}
    print(f"recipe {recipe}, {cores} cores, {seconds:g} s a training, {repeats} repeats: encoder steps per second")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        collect = ["collect", "--world", world, "--quiet", "--store"]
        subprocess.run([*FACTORY, *collect, str(store), "--frames", "20000", "--local"], check=True)

        def collection(workers: int) -> list[list[str]]:
            where = Path(folder) / f"beside-{workers}"
            return [[*FACTORY, *collect, str(where), "--frames", "100000000", "--workers", str(workers)]]

        conditions = {
            "alone": [],
            "beside a collection, 1 worker": collection(1),
            "beside a collection, 2 workers": collection(2),
            "beside 2 busy loops": [BUSY, BUSY],
        }
        for condition, commands in (list(conditions.items())[number] for number in only):
            rates: dict[str, list[float]] = {name: [] for name in arms}
            started = time.monotonic()
            with beside(commands):
                for repeat in range(repeats):
                    for name, threads in arms.items():
                        run = Path(folder) / f"{condition}-{name}-{repeat}"
                        rates[name].append(steps_per_second(store, run, recipe, seconds, threads))
            elapsed = time.monotonic() - started
            *fixed, measured = rates.values()
            ratios = [ours / max(theirs) for ours, *theirs in zip(measured, *fixed)]
            shown = ", ".join(f"{n} {median(v):.1f} [{min(v):.1f}-{max(v):.1f}]" for n, v in rates.items())
            print(f"{condition}: {shown}; measured / better {median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]")
            if "--store" in (words := [word for command in commands for word in command]):
                frames = sum(ref.rows for ref in Store(Path(words[words.index("--store") + 1])).episodes)
                print(f"  the collection: {frames:,} frames in {elapsed:.0f} s")


if __name__ == "__main__":
    typer.run(main)
