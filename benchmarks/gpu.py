"""All that is worth knowing about training on a GPU, measured by one command in at most 8 minutes.

    python -m benchmarks.gpu [--device cuda] [--minutes 8] [--out gpu.md]
    python -m benchmarks.gpu --device cpu --quick      # tries the program out; its figures mean nothing

Prints Markdown tables for docs/benchmarks.md, and says which device gave them. Alternatives are interleaved; figures
are the median [min–max] over the repeats. Sections, each of which ``--only`` selects:

    stream     frames/s that the stream alone delivers to the device, from pools on the host and on the device
    recipes    stage 1 of each recipe from the stream, beside the same steps on batches that lie on the device already
               (the limit), and peak memory
    waiting    the same at batch 256 and 1,024: what is lost to data
    vicreg     stage 1 of tiny-jepa beside a plain VICReg loop after the paper (``benchmarks.vicreg_loop``)
    predictor  stage 2: latents/s embedded, steps/s
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
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated

import torch
import typer

from benchmarks.training_steps import EncoderTraining, interleaved, make_store, rate, ratios, rows_of, spread, wait_for
from benchmarks.vicreg_loop import training_step
from brain import pretrained, recipes
from brain.data.loader import Stream
from brain.data.place import spec_of
from brain.data.source import Feed
from brain.device import describe, pick
from brain.evaluation.judge import assess
from brain.models.latents import embed_episodes
from brain.models.world_model import WorldModel
from brain.objectives.views import AugmentOptions
from brain.planning.job import Choices, Job
from brain.recipes.schema import Recipe
from brain.runs.folder import Run
from brain.training.options import Effort
from brain.training.predictor import DynamicsCriterion, dynamics_step, fit_scale, make_optimizer
from brain.training.train import train
from shared.errors import TinyJEPAError
from shared.store.reader import Store

BATCHES = (256, 1024)


@dataclass
class Bench:
    """The device, the stores, and the time that is left."""

    device: torch.device
    quick: bool
    folder: Path
    deadline: float
    names: list[str] = field(default_factory=recipes.names)
    """recipes of the section ``recipes``"""

    @cached_property
    def seconds(self) -> float:
        """Of one measurement."""
        return 0.05 if self.quick else 2.0

    @cached_property
    def repeats(self) -> int:
        return 1 if self.quick else 3

    def store(self, world: str) -> Store:
        path = self.folder / world
        if not path.exists():
            make_store(path, world, 1_500 if self.quick else 20_000)
        return Store(path)

    def recipe(self, name: str, *overrides: str) -> Recipe:
        """A stock recipe; with tiny batches where this is only tried out."""
        tiny = ["objective.batch=8", "objective.accumulate=1", "prediction.batch=8"] if self.quick else []
        if self.quick and name == "tiny-jepa":
            tiny += ["encoder.width=8", "objective.expander=16"]
        return recipes.load(name, [*tiny, *overrides])

    def measure(self, step: Callable[[int], None]) -> float:
        return rate(step, self.device, self.seconds, warm=1 if self.quick else 5)

    def pools(self) -> Sequence[torch.device]:
        host = torch.device("cpu")
        return (host,) if self.device.type == "cpu" else (host, self.device)


Table = list[list[str]]


def against_the_limit(bench: Bench, recipe: Recipe) -> tuple[dict[str, list[float]], float, str]:
    """Images/s by variant (``ours``, ``limit``), the share of the time for which the loop waited in ``stream.batch``,
    and peak memory."""
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.device)
    store = bench.store(recipe.world or "car-racing")
    training = EncoderTraining(recipe, store.spec, bench.device)
    feed = Feed(store)
    stream = feed.stream(recipe.observation, training.objective.steps, recipe.objective.batch, 0, bench.device, None)
    ready = [stream.batch(number) for number in range(2)]
    waited, total, next_batch = 0.0, 0.0, 2

    def from_the_stream(number: int) -> None:
        nonlocal waited, total, next_batch
        started = time.perf_counter()
        batch = stream.batch(next_batch)
        got = time.perf_counter()
        training.step(batch, number)
        next_batch += 1
        waited, total = waited + got - started, total + time.perf_counter() - started

    rates = interleaved(
        {
            "ours": lambda: training.images * bench.measure(from_the_stream),
            "limit": lambda: (
                training.images * bench.measure(lambda number: training.step(ready[number % len(ready)], number))
            ),
        },
        bench.repeats,
    )
    stream.close()
    peak = "–"
    if bench.device.type == "cuda":
        peak = f"{torch.cuda.max_memory_allocated(bench.device) / 2**20:,.0f} MiB"
    return rates, waited / total, peak


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


def _row(name: str, recipe: Recipe, rates: dict[str, list[float]], waited: float, peak: str) -> list[str]:
    shares = ratios(rates["ours"], rates["limit"])
    return [
        name, str(recipe.objective.batch), spread(rates["ours"]), spread(rates["limit"]), spread(shares, 2),
        f"{100 * waited:.1f} %", peak,
    ]  # fmt: skip


HEAD = ["recipe", "batch", "images/s", "on device data", "ours / limit", "host waits for data", "peak memory"]


def each_recipe(bench: Bench) -> Table:
    table = [HEAD]
    for name in bench.names:
        recipe = bench.recipe(name)
        if recipe.observation.mode == "state":
            continue  # no pictures to load
        if time.monotonic() > bench.deadline:
            table.append([name, *["no time left"] * (len(HEAD) - 1)])
            continue
        table.append(_row(name, recipe, *against_the_limit(bench, recipe)))
    return table


def waiting(bench: Bench) -> Table:
    table = [HEAD]
    for name in ("car-racing",) if bench.quick else ("car-racing", "tiny-jepa"):
        for batch in (8,) if bench.quick else BATCHES:
            recipe = bench.recipe(name, f"objective.batch={batch}")
            table.append(_row(name, recipe, *against_the_limit(bench, recipe)))
    return table


def vicreg(bench: Bench) -> Table:
    """Both loops on the same frames; ours from the store, the plain one's from memory."""
    recipe, store = bench.recipe("tiny-jepa"), bench.store("car-racing")
    training, options = EncoderTraining(recipe, store.spec, bench.device), recipe.objective
    assert isinstance(options, AugmentOptions)
    ours = Feed(store).stream(recipe.observation, 0, options.batch, 0, bench.device, None)
    frames = store.read_episode(store.split("train")[0], "frame")["frame"]
    encoder = WorldModel(recipe, store.spec).encoder
    workers = 0 if bench.quick else max(1, (os.cpu_count() or 2) - 2)
    plain = training_step(
        encoder, recipe.encoder.dim, torch.from_numpy(frames), list(options.augmentations),
        options.batch, options.expander, bench.device, training.precision, workers,
    )  # fmt: skip
    found = interleaved(
        {
            "ours": lambda: options.batch * bench.measure(lambda number: training.step(ours.batch(number), number)),
            f"plain VICReg loop, {workers} workers": lambda: options.batch * bench.measure(plain),
        },
        bench.repeats,
    )
    ours.close()
    first = found["ours"]
    return [
        ["tiny-jepa, two views of each image", "images/s", "ours / this"],
        *([name, spread(values), spread(ratios(first, values), 2)] for name, values in found.items()),
    ]


def predictor(bench: Bench) -> Table:
    table = [["recipe", "latents/s embedded", "stage 2, steps/s", "batch"]]
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
    optimizer, starts = make_optimizer(model.dynamics, section), latents.starts(section.rollout)
    criterion = DynamicsCriterion(model.dynamics, section.cells)

    def step(number: int) -> None:
        dynamics_step(criterion, latents, starts, optimizer, section, 0, number)

    rates = [bench.measure(step) for _ in range(bench.repeats)]
    return [name, f"{embedded:,.0f}", spread(rates, 1), str(section.batch)]


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
    "stream": stream, "recipes": each_recipe, "waiting": waiting, "vicreg": vicreg, "predictor": predictor,
    "judge": judging, "planning": planning, "tiny-jepa": tiny_jepa,
}  # fmt: skip
URGENT = ("vicreg", "waiting", "stream", "predictor", "planning", "tiny-jepa", "judge", "recipes")
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
    recipe: Annotated[list[str] | None, typer.Option(help="Recipes of the section recipes; all without it.")] = None,
    out: Path | None = None,
) -> None:
    if unknown := set(only or ()) - set(SECTIONS):
        raise typer.BadParameter(f"no section {', '.join(sorted(unknown))}; there are {', '.join(SECTIONS)}")
    if not quick:
        minutes -= 0.5  # what is under way at the deadline is finished
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(pick(device), quick, Path(folder), time.monotonic() + 60 * minutes, recipe or recipes.names())
        for line in report(bench, only or list(SECTIONS)):
            print(line, flush=True)
            lines.append(line)
    if out:
        out.write_text("\n".join(lines) + "\n")
    if any(line.startswith("failed:") for line in lines):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
