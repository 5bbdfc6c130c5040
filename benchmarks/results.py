"""What the tables of ``docs/results`` share: our commands with their CPU time, cached runs, the printed table."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from brain import recipes
from shared.store.reader import Store

FRESH = 1000
"""Run seed of the evaluation stores; training uses 0, 1, 2, ..."""

Figures = dict[str, float]


def run(*command: str) -> float:
    """CPU seconds of a command of ours, on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, "-m", *command, "--quiet"]
    process = subprocess.Popen(arguments, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_utime + usage.ru_stime


def collect(path: Path, world: str, seed: int, episodes: int, *more: str) -> Store:
    """A store of that many episodes; one that is there is extended or reused."""
    goal = ["--seed", str(seed), "--episodes", str(episodes), "--store", str(path)]
    run("factory.cli", "collect", "--world", world, "--local", *goal, *more)
    return Store(path)


def train(folder: Path, recipe: str, store: Path, seed: int, overrides: Sequence[str] = ()) -> float:
    """CPU seconds of training encoder and predictor into a run folder; ``overrides`` are ``key=value``.

    They are kept beside the folder, so that what was trained before counts as it did then.
    """
    where = ("--store", str(store), "--run", str(folder), "--recipe", recipe, "--seed", str(seed))
    where += tuple(word for override in overrides for word in ("--set", override))
    file = folder.parent / f"{folder.name}.cpu.json"
    spent: dict[str, float] = json.loads(file.read_text()) if file.exists() else {}
    for stage in ("encoder", "predictor"):
        if stage not in spent or not (folder / f"{stage}.safetensors").exists():
            spent[stage] = run("brain.cli", "train", *where, "--stage", stage)
            file.write_text(json.dumps(spent))
    return sum(spent.values())


def kept(folder: Path, recipe: str, measure: Callable[[], Figures], overrides: Sequence[str] = ()) -> Figures:
    """The figures of a run, measured once: ``figures.json``, valid while the recipe is the one it was trained with."""
    file, current = folder / "figures.json", recipes.load(recipe, overrides)
    if not file.exists() or recipes.load(str(folder / "recipe.toml")) != current:
        file.parent.mkdir(parents=True, exist_ok=True)
        found = measure()
        file.write_text(json.dumps(found, indent=1))
    print(f"{folder}: measured", file=sys.stderr, flush=True)
    return dict(json.loads(file.read_text()))


def over_seeds(
    names: Sequence[str], seeds: Sequence[int], figures: Callable[[tuple[str, int]], Figures]
) -> dict[str, list[Figures]]:
    """``figures((recipe, seed))`` of every run, as many at a time as there are cores."""
    jobs = [(recipe, seed) for seed in seeds for recipe in names]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(jobs, pool.map(figures, jobs)))
    return {recipe: [found[recipe, seed] for seed in seeds] for recipe in names}


def print_table(results: Mapping[str, Sequence[Figures]], beside: Mapping[str, Figures]) -> None:
    """Markdown: one row per metric; runs as mean [min-max] over the seeds, then baselines and upper bounds."""
    columns = [*results, *beside]
    print("| | " + " | ".join(columns) + " |\n|" + "---|" * (len(columns) + 1))
    for key in next(iter(results.values()))[0]:
        cells = []
        for rows in results.values():
            values = [row[key] for row in rows if key in row]
            low, high = (min(values), max(values)) if values else (0.0, 0.0)
            cells.append(f"{statistics.mean(values):.3g} [{low:.3g}–{high:.3g}]" if values else "")
        cells += [f"{baseline[key]:.3g}" if key in baseline else "" for baseline in beside.values()]
        print(f"| {key} | " + " | ".join(cells) + " |")
