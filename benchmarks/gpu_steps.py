"""Stage 1 on a GPU: the sections of ``benchmarks.gpu`` that time steps of the encoder's training."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import torch

from benchmarks.training_steps import EncoderTraining, interleaved, make_store, rate, ratios, spread, wait_for
from benchmarks.vicreg_loop import training_step
from brain import recipes
from brain.data.source import Feed
from brain.device import pick_pool
from brain.models.world_model import WorldModel
from brain.objectives.views import AugmentOptions
from brain.recipes.schema import Recipe
from shared.store.reader import Store

BATCHES = (256, 1024)
GRAPHED = ("car-racing", "car-racing-grid-vector", "two-room", "tiny-jepa", "lewm", "dino-wm")
COMPILED = ("car-racing", "tiny-jepa")


@dataclass
class Bench:
    """The device, the stores, and the time that is left."""

    device: torch.device
    quick: bool
    folder: Path
    deadline: float
    names: list[str] = field(default_factory=recipes.names)
    """recipes measured"""
    seconds: float = 2.0
    """of one measurement"""

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

    def measure(self, step: Callable[[int], object]) -> float:
        return rate(step, self.device, self.seconds, warm=1 if self.quick else 5)

    def pool(self) -> torch.device:
        """Where ``brain train`` holds frames."""
        return pick_pool("auto", self.device, 4 << 30)

    def pools(self) -> Sequence[torch.device]:
        host = torch.device("cpu")
        return (host,) if self.device.type == "cpu" else (host, self.device)


Table = list[list[str]]


def against_the_limit(bench: Bench, recipe: Recipe) -> tuple[dict[str, list[float]], str]:
    """Images/s by variant (``ours``, from the stream; ``limit``, on batches on the device), and peak memory."""
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(bench.device)
    store = bench.store(recipe.world or "car-racing")
    training = EncoderTraining(recipe, store.spec, bench.device)
    feed = Feed(store, pool=bench.pool())
    stream = feed.stream(recipe.observation, training.objective.steps, recipe.objective.batch, 0, bench.device, None)
    ready = [stream.batch(number) for number in range(2)]
    numbers = itertools.count(2)

    def from_the_stream(number: int) -> None:
        training.step(stream.batch(next(numbers)), number)

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
    return rates, peak


def _row(name: str, recipe: Recipe, rates: dict[str, list[float]], peak: str) -> list[str]:
    shares = ratios(rates["ours"], rates["limit"])
    return [
        name, str(recipe.objective.batch), spread(rates["ours"]), spread(rates["limit"]), spread(shares, 3), peak,
    ]  # fmt: skip


HEAD = ["recipe", "batch", "images/s", "on device data", "ours / limit", "peak memory"]


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
    ours = Feed(store, pool=bench.pool()).stream(recipe.observation, 0, options.batch, 0, bench.device, None)
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


def _variant(
    bench: Bench, recipe: Recipe, *, graphs: bool, compiled: bool = False
) -> tuple[float, Callable[[], float]]:
    """Seconds that the first steps take, and what measures images/s on a batch that lies on the device."""
    store = bench.store(recipe.world or "car-racing")
    training = EncoderTraining(recipe, store.spec, bench.device, graphs=graphs, compiled=compiled)
    batch = training.random_batch(store.spec)
    started = time.perf_counter()
    for number in range(5):
        training.step(batch, number)
    wait_for(bench.device)
    return time.perf_counter() - started, lambda: training.images * bench.measure(partial(training.step, batch))


def graphs(bench: Bench) -> Table:
    table = [["recipe", "batch", "images/s, CUDA graphs", "plain steps", "ratio"]]
    for name in [n for n in GRAPHED if n in bench.names]:
        if time.monotonic() > bench.deadline:
            break
        recipe = bench.recipe(name)
        made = {variant: _variant(bench, recipe, graphs=variant == "graphs")[1] for variant in ("graphs", "plain")}
        rates = interleaved(made, bench.repeats)
        ratio = spread(ratios(rates["graphs"], rates["plain"]), 2)
        table.append([name, str(recipe.objective.batch), spread(rates["graphs"]), spread(rates["plain"]), ratio])
    return table


def compiling(bench: Bench) -> Table:
    table = [["recipe", "compiling, s", "images/s, compiled and graphs", "graphs alone", "ratio"]]
    for name in [n for n in COMPILED if n in bench.names]:
        if time.monotonic() > bench.deadline:
            break
        recipe = bench.recipe(name)
        seconds, both = _variant(bench, recipe, graphs=True, compiled=True)
        rates = interleaved({"both": both, "graphs": _variant(bench, recipe, graphs=True)[1]}, bench.repeats)
        ratio = spread(ratios(rates["both"], rates["graphs"]), 2)
        table.append([name, f"{seconds:.0f}", spread(rates["both"]), spread(rates["graphs"]), ratio])
    return table
