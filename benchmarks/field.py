"""Recipes of the field beside ours at equal CPU time: train each on one store, judge it, and write one table.

    python -m benchmarks.field --store data/car-racing --seeds 0 1 2
    python -m benchmarks.field --store data/car-racing --seeds 0 1 2 --table     # from what is judged so far

Each recipe gets ``--budget`` CPU seconds of one thread for encoder and predictor, shared as ``brain train --budget``
shares them. The recipes of the field name no world: they take the observation of the recipe that the store's world
declares, so that all see as many frames per observation and steps of the same length; ``tiny-jepa`` stays the literal
plan. Every recipe of a seed comes before the next seed. Rerun the command to resume: what is judged is kept.

Writes ``OUT/field.md``: mean [min-max] over the seeds that are judged; the best baseline of any recipe's judgement,
with its name; the true state's figure. An error in bold is larger than a baseline's, an AUC or R2 smaller.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.results import run
from brain import recipes
from brain.runs import checkpoint
from brain.runs.figures import read_judgement
from brain.runs.folder import Run, write_whole
from brain.runs.judgement import UPPER_BOUND, Judgement
from brain.training.sweep import refuse_another
from shared.cli.options import duration
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds import world_class

OURS = {"car-racing": ("car-racing", "car-racing-grid-vector"), "two-room": ("two-room", "two-room-grid")}
"""What is compared with the field, by world; elsewhere the world's default recipe."""
FIELD = ("lewm", "pldm", "dino-wm", "tiny-jepa")
FORECAST = (4, 16)
"""Model steps of the forecasts in the table."""
FORECASTERS = ("persistence", "constant-velocity")
LARGER = ("AUC", "R2")
"""How figures begin that are better when larger; the others have no baseline or are errors."""


@dataclass(frozen=True)
class Figure:
    """One figure of a run, its best baseline's, and the true state's."""

    value: float | None
    baseline: float | None = None
    name: str = ""
    bound: float | None = None


def overrides(recipe: str, default: str) -> list[str]:
    """What a recipe without a world takes from the default recipe of the store's: the observation."""
    if recipes.load(recipe).world:
        return []
    seen = recipes.load(default).observation
    return [f"observation.stack={seen.stack}", f"observation.stride={seen.stride}"]


def train(folder: Path, recipe: str, changes: Sequence[str], store: Path, seed: int, budget: str) -> None:
    """Train and judge what is not judged yet."""
    refuse_another(folder, recipes.load(recipe, changes))
    if (folder / "judge.json").exists():
        return
    words = [word for change in changes for word in ("--set", change)]
    where = ("--store", str(store), "--run", str(folder), "--recipe", recipe, "--seed", str(seed))
    run("brain.cli", "train", *where, "--budget", budget, "--clock", "cpu", "--threads", "1", *words)


def figures(folder: Path) -> dict[str, Figure]:
    """The rows of the table of a judged run."""
    judged = read_judgement(Run(folder))
    assert judged is not None
    found: dict[str, Figure] = {}
    kinds = {"hard_auc": "hard", "wrong_action_auc": "wrong-action-4"}
    for key, main in judged.headline.items():
        if key in ("teleport_auc", "rollout_4_nmse", "effective_rank"):
            continue
        kind = judged.energy.kinds.get(kinds.get(key, ""))
        bound = kind.auc.get(UPPER_BOUND) if kind else None
        found[main.label] = Figure(main.value, main.baseline, main.baseline_name, bound)
    found |= _forecasts(judged)
    latent, facts = judged.latent, checkpoint.read_facts(folder / "encoder.safetensors")
    if latent is not None:
        found["effective rank"] = Figure(latent.effective_rank)
    found["thousand images seen"] = Figure(facts["images"] / 1000)
    found["CPU s, encoder"] = Figure(facts["cpu_seconds"])
    found["CPU s, predictor"] = Figure(checkpoint.read_facts(folder / "predictor.safetensors")["cpu_seconds"])
    return found


def _forecasts(judged: Judgement) -> dict[str, Figure]:
    """Errors of the main states after ``FORECAST`` model steps."""
    found = {}
    for key in judged.headline:
        state = key.removesuffix("_r2")
        errors = judged.forecasts.states.get(state, {})
        for steps in FORECAST:
            if state == key or steps not in judged.forecasts.steps or not errors:
                continue
            at = judged.forecasts.steps.index(steps)
            known = [(value, name) for name in FORECASTERS if (value := errors[name][at]) is not None]
            best, name = min(known, default=(None, ""))
            bound = errors[UPPER_BOUND][at] if UPPER_BOUND in errors else None
            label = f"error of {state.replace('_', ' ')}, {steps} steps"
            found[label] = Figure(errors["model"][at], best, name, bound)
    return found


def table(runs: dict[str, list[dict[str, Figure]]]) -> str:
    """Markdown: a row per figure, a column per recipe, then the best baseline and the true state."""
    names = [name for name, rows in runs.items() if rows]
    labels = list(dict.fromkeys(label for name in names for row in runs[name] for label in row))
    lines = [["", *names, "best baseline", "true state"], ["---"] * (len(names) + 3)]
    for label in labels:
        rows = {name: [row[label] for row in runs[name] if label in row] for name in names}
        best = _best(label, rows)
        bound = _mean([figure.bound for figure in rows[names[0]]])
        cells = [_cell(label, [figure.value for figure in rows[name]], best) for name in names]
        named = f"{best[0]:.3g} {best[1]}" if best else ""
        lines.append([label, *cells, named, "" if bound is None else f"{bound:.3g}"])
    lines.append(["seeds", *(str(len(runs[name])) for name in names), "", ""])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _best(label: str, rows: dict[str, list[Figure]]) -> tuple[float, str] | None:
    """The best mean of a baseline over the seeds of a recipe, and whose it is."""
    found = [
        (mean, next(figure.name for figure in figures))
        for figures in rows.values()
        if (mean := _mean([figure.baseline for figure in figures])) is not None
    ]
    return (max(found) if label.startswith(LARGER) else min(found)) if found else None


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _cell(label: str, values: Sequence[float | None], best: tuple[float, str] | None) -> str:
    known = [value for value in values if value is not None]
    mean = _mean(known)
    if mean is None:
        return "–"
    text = f"{mean:.3g}" + (f" [{min(known):.3g}–{max(known):.3g}]" if len(known) > 1 else "")
    worse = best is not None and (mean < best[0] if label.startswith(LARGER) else mean > best[0])
    return f"**{text}**" if worse else text


def begin(out: Path, store: Path, budget: str, changes: Sequence[str]) -> None:
    """Refuse to mix the runs of another store, budget or change into ``out``."""
    file = out / "field.json"
    facts = {"store": str(store.resolve()), "budget": duration(budget), "set": list(changes)}
    if file.exists() and (before := json.loads(file.read_text())) != facts:
        raise TinyJEPAError(f"{out} holds runs of {before}: give the same again, or another --out")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(facts) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/field"), help="folder of the runs and the table")
    parser.add_argument("--budget", default="150s", help="CPU time of encoder and predictor together")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--recipes", nargs="+", help="default: the field's and those of the store's world")
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes of every recipe"
    )
    parser.add_argument("--table", action="store_true", help="only write the table of what is judged")
    given = parser.parse_args()

    world = Store(given.store).spec.world
    default = world_class(world).default_recipe or recipes.DEFAULT
    names = given.recipes or [*OURS.get(world, (default,)), *FIELD]
    changes = {name: [*overrides(name, default), *given.set] for name in names}
    begin(given.out, given.store, given.budget, given.set)
    folders = {(name, seed): given.out / name / f"seed-{seed}" for seed in given.seeds for name in names}
    for (name, seed), folder in folders.items():
        if not given.table:
            train(folder, name, changes[name], given.store, seed, given.budget)
            print(f"{name}, seed {seed}: judged", file=sys.stderr, flush=True)
        done: dict[str, list[dict[str, Figure]]] = {name: [] for name in names}
        for (each, _), place in folders.items():
            if (place / "judge.json").exists():
                done[each].append(figures(place))
        write_whole(given.out / "field.md", table(done))
    print((given.out / "field.md").read_text())


if __name__ == "__main__":
    try:
        main()
    except TinyJEPAError as error:
        sys.exit(str(error))
