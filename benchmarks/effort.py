"""How cost grows: a world's figures against the time of training, the images seen and the frames collected.

    python -m benchmarks.effort --world two-room                                # hours: rerun to resume
    python -m benchmarks.effort --world car-racing --policy mixed-driving --recipes car-racing tiny-jepa
    python -m benchmarks.effort --world two-room --table                        # from what is judged so far

One store of the most ``--frames`` is collected, and one for every smaller number, which holds its first episodes. Each
recipe is trained on the largest for each of ``--budgets`` (CPU seconds of one thread, four fifths for the encoder),
and for the one but longest, ``--base``, on each smaller store. All are judged on the same 40,000 frames of a run seed
that no training uses. Every run of a seed comes before the next seed.

Writes ``OUT/effort.md``, a row per recipe, budget and store, mean [min-max] over the seeds that are judged, and
``OUT/effort.png``: the same figures against images seen, and against frames collected.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from benchmarks.field import OURS, overrides
from benchmarks.results import FRESH, run
from brain import recipes
from brain.runs import checkpoint
from brain.runs.figures import judged
from brain.runs.folder import Run, write_whole
from brain.training.sweep import refuse_another
from shared.cli.options import duration
from shared.errors import TinyJEPAError
from shared.worlds import world_class

ENCODER_SHARE = 0.8
LATENTS = 40_000
"""Embedded for stage 2 at most: the budget does not count them, and ResNet-18 makes some hundred a second."""
JUDGED_FRAMES = 40_000
FIGURES = ("violations_auc", "hard_auc", "wrong_action_auc")
"""Keys of ``judge.json``'s headline in table and picture, beside the error of the main states after ``AHEAD`` steps."""
AHEAD = 4


@dataclass(frozen=True)
class Point:
    """A training."""

    recipe: str
    budget: str
    frames: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.recipe}/{self.budget}-{self.frames}-{self.seed}"


def points(given: argparse.Namespace, names: Sequence[str]) -> list[Point]:
    """Every training, in the order in which they run."""
    most = max(given.frames)
    found = []
    for seed in given.seeds:
        for budget in sorted(given.budgets, key=duration):
            found += [Point(recipe, budget, most, seed) for recipe in names]
        found += [Point(recipe, given.base, frames, seed) for frames in sorted(given.frames)[:-1] for recipe in names]
    return found


def collect(path: Path, world: str, policy: str | None, seed: int, frames: int) -> Path:
    goal = ["--seed", str(seed), "--frames", str(frames), "--store", str(path)]
    driver = ["--policy", policy] if policy else []
    run("factory.cli", "collect", "--world", world, "--local", *goal, *driver)
    return path


def train(folder: Path, point: Point, store: Path, against: Path, given: argparse.Namespace) -> None:
    """Train and judge what is not judged yet."""
    seconds = duration(point.budget)
    world_default = world_class(given.world).default_recipe or recipes.DEFAULT
    changes = [*overrides(point.recipe, world_default), *given.set]
    if recipes.load(point.recipe).prediction.max_latents > LATENTS:
        changes.insert(0, f"prediction.max_latents={LATENTS}")
    refuse_another(folder, recipes.load(point.recipe, changes))
    if (folder / "run.json").exists() and Run(folder).facts()["compute"]["precision"] != given.precision:
        raise TinyJEPAError(f"{folder} was trained in another precision: remove it, or give another --out")
    if (folder / "judge.json").exists():
        return
    where = ("--store", str(store), "--run", str(folder), "--recipe", point.recipe, "--seed", str(point.seed))
    words = [word for change in changes for word in ("--set", change)]
    for stage, share in (("encoder", ENCODER_SHARE), ("predictor", 1 - ENCODER_SHARE)):
        effort = ("--stage", stage, "--budget", f"{seconds * share:g}s", "--clock", "cpu", "--threads", "1")
        run("brain.cli", "train", *where, *effort, "--precision", given.precision, *words)
    run("brain.cli", "judge", "--run", str(folder), "--store", str(against))


def figures(folder: Path) -> dict[str, float]:
    """What is shown of a judged run, by label."""
    judgement = judged(folder)
    facts = checkpoint.read_facts(folder / "encoder.safetensors")
    found = {"images": facts["images"], "steps": facts["step"]}
    for key in FIGURES:
        if (main := judgement.headline.get(key)) is not None and main.value is not None:
            found[main.label] = main.value
    forecasts = judgement.forecasts
    for key in judgement.headline:
        state = key.removesuffix("_r2")
        if state != key and AHEAD in forecasts.steps and state in forecasts.states:
            error = forecasts.states[state]["model"][forecasts.steps.index(AHEAD)]
            if error is not None:
                found[f"error of {state.replace('_', ' ')}, {AHEAD} steps"] = error
    return found


def table(done: dict[Point, dict[str, float]]) -> str:
    """Markdown: a row per recipe, budget and store, with mean [min-max] over the seeds."""
    labels = list(dict.fromkeys(label for row in done.values() for label in row))
    lines = [["recipe", "CPU time", "frames", *labels, "seeds"], ["---"] * (len(labels) + 4)]
    for recipe, budget, frames in dict.fromkeys((point.recipe, point.budget, point.frames) for point in done):
        rows = [row for p, row in done.items() if (p.recipe, p.budget, p.frames) == (recipe, budget, frames)]
        cells = [_cell([row[label] for row in rows if label in row]) for label in labels]
        lines.append([f"`{recipe}`", budget, f"{frames:,}", *cells, str(len(rows))])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "–"
    low, middle, high = (f"{value:,.0f}" if value >= 100 else f"{value:.3g}" for value in _range(values))
    return middle if low == high else f"{middle} [{low}–{high}]"


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    return min(values), mean(values), max(values)


def picture(done: dict[Point, dict[str, float]], base: str, path: Path) -> None:
    """A row of plots against images seen, on the largest store, and one against frames collected, at ``base``."""
    most = max(point.frames for point in done)
    labels = list(dict.fromkeys(label for row in done.values() for label in row if label not in ("images", "steps")))
    figure = Figure(figsize=(3.1 * len(labels), 5.2), layout="constrained")
    grid = figure.subplots(2, len(labels), squeeze=False)
    for column, label in enumerate(labels):
        by_images = {p: row for p, row in done.items() if p.frames == most and label in row}
        by_frames = {p: row for p, row in done.items() if duration(p.budget) == duration(base) and label in row}
        _lines(grid[0][column], {p: (row["images"], row[label]) for p, row in by_images.items()})
        _lines(grid[1][column], {p: (p.frames, row[label]) for p, row in by_frames.items()})
        grid[0][column].set_title(label, fontsize=9)
        grid[0][column].set_xlabel(f"images seen, of {most:,} frames", fontsize=8)
        grid[1][column].set_xlabel(f"frames collected, {base} of training", fontsize=8)
    grid[0][0].legend(fontsize=8, frameon=False)
    figure.savefig(path, dpi=130)


def _lines(axes: Axes, at: dict[Point, tuple[float, float]]) -> None:
    """One line per recipe through the means over its seeds, with their range."""
    for number, recipe in enumerate(dict.fromkeys(point.recipe for point in at)):
        groups: dict[tuple[float, int], list[tuple[float, float]]] = {}
        for point, xy in at.items():
            if point.recipe == recipe:
                groups.setdefault((duration(point.budget), point.frames), []).append(xy)
        x = [mean(x for x, _ in groups[key]) for key in sorted(groups)]
        low, middle, high = zip(*(_range([y for _, y in groups[key]]) for key in sorted(groups)))
        axes.plot(x, middle, "o-", color=f"C{number}", label=recipe, markersize=4)
        axes.fill_between(x, low, high, color=f"C{number}", alpha=0.2, linewidth=0)
    axes.set_xscale("log")
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.grid(alpha=0.3)
    axes.tick_params(labelsize=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--world", default="two-room")
    parser.add_argument("--out", type=Path, help="folder of stores, runs and table (default: runs/effort-WORLD)")
    parser.add_argument("--recipes", nargs="+", help="default: the world's vector and grid")
    parser.add_argument("--budgets", nargs="+", default=["60s", "240s", "960s"], help="CPU time of both stages")
    parser.add_argument("--base", default="240s", help="the budget at which the frames differ")
    parser.add_argument("--frames", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--policy", help="of the collected episodes (default: the world's)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument(
        "--set", nargs="+", action="extend", default=[], metavar="KEY=VALUE", help="changes of every recipe"
    )
    parser.add_argument("--table", action="store_true", help="only write table and picture of what is judged")
    given = parser.parse_args()
    if duration(given.base) not in map(duration, given.budgets):
        parser.error(f"--base {given.base} is none of the --budgets: name one of them")

    out = given.out or Path("runs") / f"effort-{given.world}"
    default = world_class(given.world).default_recipe or recipes.DEFAULT
    planned = points(given, given.recipes or OURS.get(given.world, (default,)))
    (out / "stores").mkdir(parents=True, exist_ok=True)
    if not given.table:
        against = collect(out / "stores" / "judged", given.world, given.policy, FRESH, JUDGED_FRAMES)
        for point in planned:
            store = out / "stores" / str(point.frames)
            if not (out / point.name / "judge.json").exists():
                collect(store, given.world, given.policy, 0, point.frames)
            train(out / point.name, point, store, against, given)
            print(f"{point.name}: judged", file=sys.stderr, flush=True)
            _write(out, planned, given)
    _write(out, planned, given)
    print((out / "effort.md").read_text())


def _write(out: Path, planned: Sequence[Point], given: argparse.Namespace) -> None:
    done = {point: figures(out / point.name) for point in planned if (out / point.name / "judge.json").exists()}
    if not done:
        raise TinyJEPAError(f"nothing in {out} is judged yet: leave out --table")
    write_whole(out / "effort.md", table(done))
    write_whole(out / "effort.json", json.dumps({point.name: row for point, row in done.items()}, indent=1) + "\n")
    picture(done, given.base, out / "effort.png")


if __name__ == "__main__":
    try:
        main()
    except TinyJEPAError as error:
        sys.exit(str(error))
