"""All that is worth knowing about training on a GPU, measured by one command in at most 8 minutes.

    python -m benchmarks.gpu [--device cuda] [--minutes 8] [--out gpu.md]
    python -m benchmarks.gpu --device cpu --quick      # tries the program out; its figures mean nothing

Prints Markdown tables for docs/benchmarks.md, and says which device gave them. Alternatives are interleaved; figures
are the median [min–max] over the repeats. Sections, each of which ``--only`` selects:

    stream     frames/s that the stream alone delivers to the device, from pools on the host and on the device
    recipes    stage 1 of each recipe from the stream, beside the same steps on batches that lie on the device already
               (the limit), and peak memory
    waiting    the same at batch 256 and 1,024: what the limit is above is lost to data
    vicreg     stage 1 of tiny-jepa beside a plain VICReg loop after the paper (``benchmarks.vicreg_loop``)
    graphs     stage 1 on device data: plain steps, beside the CUDA graphs that brain train replays
    compile    the same beside torch.compile (--compile), and how long that takes
    predictor  stage 2: latents/s embedded, steps/s with and without CUDA graphs
    judge      seconds
    planning   decisions/s
    tiny-jepa  stage 1 for a fixed number of images, by ``brain train``'s own code

A section that fails, or for which no time is left, says so, and the others go on.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.gpu_steps import BATCHES, Bench, Table, compiling, each_recipe, graphs, vicreg, waiting
from benchmarks.training_steps import interleaved, ratios, rows_of, spread, wait_for
from brain import pretrained, recipes
from brain.data.loader import Stream
from brain.data.place import spec_of
from brain.data.source import Feed
from brain.device import describe, pick
from brain.evaluation.judge import assess
from brain.models.latents import embed_episodes
from brain.models.world_model import WorldModel
from brain.planning.job import Choices, Job
from brain.recipes.schema import Recipe
from brain.runs.folder import Run
from brain.training.options import Effort
from brain.training.predictor import DynamicsStep, fit_scale
from brain.training.train import train
from shared.errors import TinyJEPAError


def stream(bench: Bench) -> Table:
    table = [["frames from", "batch", "frames/s"]]
    for batch in BATCHES if not bench.quick else (8,):
        table += [[name, str(batch), spread(values)] for name, values in _delivered(bench, batch).items()]
    return table


def _delivered(bench: Bench, batch: int) -> dict[str, list[float]]:
    """Frames/s by pool."""
    recipe, store = bench.recipe("car-racing"), bench.store("car-racing")
    streams = {
        f"pool on {pool}": Feed(store, pool=pool).stream(recipe.observation, 0, batch, 0, bench.device, None)
        for pool in bench.pools()
    }

    def frames_per_second(made: Stream) -> float:
        return batch * recipe.observation.stack * bench.measure(made.batch)

    found = interleaved({name: partial(frames_per_second, made) for name, made in streams.items()}, bench.repeats)
    for made in streams.values():
        made.close()
    return found


def predictor(bench: Bench) -> Table:
    table = [["recipe", "latents/s embedded", "stage 2, steps/s", "plain steps/s", "ratio", "batch"]]
    for name in [n for n in ("car-racing", "car-racing-grid-vector", "two-room-grid") if n in bench.names]:
        table.append(_stage_2(bench, name, bench.recipe(name, "prediction.start=fresh")))
    return table


def _stage_2(bench: Bench, name: str, recipe: Recipe) -> list[str]:
    store, section = bench.store(recipe.world or "car-racing"), recipe.prediction
    model = WorldModel(recipe, store.spec).to(bench.device).eval()
    started = time.perf_counter()
    latents = embed_episodes(model, store, store.split("train"), 300 if bench.quick else None)
    wait_for(bench.device)
    embedded = len(latents.z) / (time.perf_counter() - started)
    fit_scale(model.dynamics, latents)
    steps = {
        variant: DynamicsStep(model.dynamics, latents, section, 0, graphs=graphs)
        for variant, graphs in (("plain", False), ("graphs", True))
    }
    rates = interleaved({variant: partial(bench.measure, step) for variant, step in steps.items()}, bench.repeats)
    return [
        name, f"{embedded:,.0f}", spread(rates["graphs"], 1), spread(rates["plain"], 1),
        spread(ratios(rates["graphs"], rates["plain"]), 2), str(section.batch),
    ]  # fmt: skip


def judging(bench: Bench) -> Table:
    table = [["recipe", "judging, seconds"]]
    for name in [n for n in ("car-racing", "car-racing-grid-vector") if n in bench.names][: 1 if bench.quick else 2]:
        few = ["energy.anchors=50", "energy.violation_pairs=0", "prediction.steps=2"] if bench.quick else []
        recipe = bench.recipe(name, *few)
        store = bench.store("car-racing")
        torch.manual_seed(0)
        model = WorldModel(recipe, store.spec).to(bench.device).eval()
        started = time.perf_counter()
        assess(model, store, quiet=True)
        table.append([f"{name}, untrained", f"{time.perf_counter() - started:.1f}"])
    return table


def planning(bench: Bench) -> Table:
    table = [["pretrained run", "planner", "decisions/s"]]
    run = pretrained.folder("two-room")
    model = WorldModel.load(run, spec_of(Run(run), None), bench.device)
    options = ("samples=8", "elites=4", "iterations=1", "horizon=2") if bench.quick else ()
    job = Job(Choices(planner="cem", options=options), run, model, None)
    rates = []
    for case in job.task.cases(bench.repeats):
        played = next(job.evaluation.agent([case], job.dynamics, job.planner, job.cost))
        rates.append(len(played.decisions) / sum(decision.seconds for decision in played.decisions))
    table.append(["two-room", "cem", spread(rates, 1)])
    return table


def tiny_jepa(bench: Bench) -> Table:
    recipe, store = bench.recipe("tiny-jepa"), bench.store("car-racing")
    images = 16 if bench.quick else 200_000
    steps = -(-images // recipe.objective.batch)
    started = time.perf_counter()
    train(
        store.path, bench.folder / "tiny-jepa", recipe,
        effort=Effort(stage="encoder", steps=steps), device=str(bench.device), quiet=True,
    )  # fmt: skip
    seconds = time.perf_counter() - started
    return [
        ["tiny-jepa, stage 1 by brain train", "images", "seconds", "images/s"],
        ["all of it, start and end included", f"{steps * recipe.objective.batch:,}", f"{seconds:.1f}",
         f"{steps * recipe.objective.batch / seconds:,.0f}"],
    ]  # fmt: skip


SECTIONS: dict[str, Callable[[Bench], Table]] = {
    "stream": stream, "recipes": each_recipe, "waiting": waiting, "vicreg": vicreg, "graphs": graphs,
    "compile": compiling, "predictor": predictor, "judge": judging, "planning": planning, "tiny-jepa": tiny_jepa,
}  # fmt: skip
URGENT = (
    "vicreg", "waiting", "graphs", "stream", "predictor", "planning", "tiny-jepa", "judge", "recipes", "compile",
)  # fmt: skip
"""The order in which they are measured: what takes longest comes last."""


def report(bench: Bench, wanted: Sequence[str]) -> Iterator[str]:
    """Lines of Markdown, a section at a time."""
    yield f"Device: {describe(bench.device)}, torch {torch.__version__}, {os.cpu_count()} CPU cores"
    if bench.quick:
        yield "Only tried out (`--quick`): these figures mean nothing."
    for name in sorted(wanted, key=URGENT.index):
        yield f"\n**{name}**\n"
        if time.monotonic() > bench.deadline:
            yield "not measured: no time left"
            continue
        started = time.monotonic()
        try:
            yield from rows_of(SECTIONS[name](bench))
        except (RuntimeError, ValueError, OSError, TinyJEPAError) as error:
            yield f"failed: {type(error).__name__}: {str(error).splitlines()[0]}"
        yield f"\n({time.monotonic() - started:.0f} s)"


def main(
    device: str = "auto",
    minutes: float = 8.0,
    quick: bool = False,
    only: Annotated[list[str] | None, typer.Option(help=f"Sections: {', '.join(SECTIONS)}.")] = None,
    recipe: Annotated[list[str] | None, typer.Option(help="Recipes to measure; all without it.")] = None,
    seconds: Annotated[float, typer.Option(help="Of one measurement.")] = 2.0,
    out: Path | None = None,
) -> None:
    if unknown := set(only or ()) - set(SECTIONS):
        raise typer.BadParameter(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if not quick:
        minutes -= 0.5  # what is under way at the deadline is finished
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        deadline, names = time.monotonic() + 60 * minutes, recipe or recipes.names()
        bench = Bench(pick(device), quick, Path(folder), deadline, names, 0.05 if quick else seconds)
        for line in report(bench, only or list(SECTIONS)):
            print(line, flush=True)
            lines.append(line)
    if out:
        out.write_text("\n".join(lines) + "\n")
    if any(line.startswith("failed:") for line in lines):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
