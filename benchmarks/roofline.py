"""How much of a machine training uses: steps beside the measured peak of its matrix multiply and of its memory.

    python -m benchmarks.roofline [--threads 1] [--repeats 5] [--batch 64] [--only NAME ...]

First the peaks, of float32: the best of square matrix products of several sizes (FLOP/s), and of reading and writing
arrays that no cache holds (bytes/s). Then steps: stage 1 of the encoders ``cnn``, ``resnet18``, ``grid`` and
``grid-vector`` at 64x64, stage 2 of their predictors, and what the judge asks of both, each with the FLOP that torch
counts in it (matrix products and convolutions alone; a product of m, k and n counts 2mkn). Their share is FLOP per CPU
second over the peak, which is measured anew beside each repeat; for element-wise work, which is bound by memory, it has
no credit. CPU seconds are those of the process, so that other work on the machine hardly counts.

``--profile NAME`` prints where the time of one of the steps goes, by torch's profiler.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import torch
import typer
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training_steps import EncoderTraining, rows_of, spread
from brain import recipes
from brain.device import adamw
from brain.training.predictor import DynamicsCriterion
from shared.store.schema import StoreSpec

SPEC = StoreSpec(
    world="car-racing", frame_shape=(64, 64, 3), action_dim=3, state_names=("x",), control_rate=50.0
)  # fmt: skip
SIZES = (512, 1024, 2048)
MEMORY = 1 << 26
"""Floats of an array that no cache holds."""


@dataclass(frozen=True)
class Step:
    """One step to measure."""

    run: Callable[[], object]
    images: int
    """Observations that it sees."""


def cpu_seconds(run: Callable[[], object], least: float = 0.3) -> float:
    """CPU seconds of one call, the mean over ``least`` seconds of calls."""
    started, calls = time.process_time(), 0
    while calls == 0 or time.process_time() - started < least:
        run()
        calls += 1
    return (time.process_time() - started) / calls


def peak_flops(threads: int) -> float:
    """FLOP per CPU second of the best square matrix product."""
    found = []
    for size in SIZES:
        a, b = torch.randn(size, size), torch.randn(size, size)
        found.append(2 * size**3 / min(cpu_seconds(lambda a=a, b=b: a @ b, 0.0) for _ in range(4)))  # type: ignore[misc]
    return max(found)


def peak_bytes() -> float:
    """Bytes read and written per CPU second, copying an array that no cache holds."""
    source = torch.randn(MEMORY)
    target = torch.empty_like(source)
    return 2 * 4 * MEMORY / min(cpu_seconds(lambda: target.copy_(source), 0.0) for _ in range(4))


def steps(batch: int) -> dict[str, Callable[[], Step]]:
    """Makers of the steps, by name."""
    few = [f"objective.batch={batch}", f"prediction.batch={batch}"]
    encoders = {
        "cnn": recipes.load("car-racing", few),
        "resnet18": recipes.load("tiny-jepa", few),
        "grid": recipes.load("two-room-grid", [*few, "world=car-racing"]),
        "grid-vector": recipes.load("car-racing-grid-vector", few),
    }
    made: dict[str, Callable[[], Step]] = {}
    for name, recipe in encoders.items():
        made[f"encoder {name}, stage 1"] = lambda recipe=recipe: _stage_1(recipe)  # type: ignore[misc]
    for name, recipe in encoders.items():
        made[f"predictor of {name}, stage 2"] = lambda recipe=recipe: _stage_2(recipe)  # type: ignore[misc]
        made[f"judge: encoding, {name}"] = lambda recipe=recipe: _encoding(recipe, batch)  # type: ignore[misc]
        made[f"judge: predicting, {name}"] = lambda recipe=recipe: _predicting(recipe, batch)  # type: ignore[misc]
    return made


def _stage_1(recipe: recipes.Recipe) -> Step:
    training = EncoderTraining(recipe, SPEC, torch.device("cpu"))
    batch = training.random_batch(SPEC)
    return Step(lambda: training.step(batch, 0), training.images)


def _stage_2(recipe: recipes.Recipe) -> Step:
    section = recipe.prediction
    model = EncoderTraining(recipe, SPEC, torch.device("cpu")).model
    criterion = DynamicsCriterion(model.dynamics, section)
    optimizer = adamw(model.dynamics.parameters(), section.learning_rate, section.weight_decay)
    z = torch.randn(section.batch, section.span + 1, *model.latent_shape)
    actions = torch.randn(section.batch, section.span, model.action_dim)
    age = torch.randint(1, section.pushforward + 1, (section.batch // 2,)) if section.pushforward else torch.empty(0)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        prediction, likelihood = criterion(z, actions, age)
        (prediction + likelihood).backward()
        optimizer.step()

    return Step(run, section.batch * section.rollout)


def _encoding(recipe: recipes.Recipe, batch: int) -> Step:
    model = EncoderTraining(recipe, SPEC, torch.device("cpu")).model.eval()
    frames = torch.randint(0, 256, (batch, recipe.observation.stack, *SPEC.frame_shape)).to(torch.uint8)
    return Step(lambda: model.embed(frames), batch)


def _predicting(recipe: recipes.Recipe, batch: int) -> Step:
    model = EncoderTraining(recipe, SPEC, torch.device("cpu")).model.eval()
    z, action = torch.randn(batch, *model.latent_shape), torch.randn(batch, model.action_dim)
    return Step(lambda: model.predict(z, action), batch)


def flops_of(step: Step) -> int:
    with FlopCounterMode(display=False) as counter:
        step.run()
    return counter.get_total_flops()


def show_profile(step: Step) -> None:
    step.run()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
        for _ in range(3):
            step.run()
    averages = found.key_averages(group_by_input_shape=True)
    print(averages.table(sort_by="self_cpu_time_total", row_limit=20, max_shapes_column_width=60))


def main(
    threads: int = 1,
    repeats: int = 5,
    batch: int = 64,
    only: Annotated[list[str] | None, typer.Option(help="Steps whose name contains this; repeatable.")] = None,
    profile: Annotated[str | None, typer.Option(help="Show where the time of the step of this name goes.")] = None,
) -> None:
    torch.set_num_threads(threads)
    makers = steps(batch)
    if profile is not None:
        show_profile(makers[profile]())
        return
    makers = {name: make for name, make in makers.items() if not only or any(part in name for part in only)}
    print(f"cpu, {threads} threads, torch {torch.__version__}, batch {batch}, {repeats} repeats: per CPU second")
    peaks, table = [], [["step", "GFLOP", "GFLOP/s", "share of the peak", "images/s"]]
    for name, make in makers.items():
        step = make()
        flops = flops_of(step)
        rates, shares, images = [], [], []
        for _ in range(repeats):
            peak, seconds = peak_flops(threads), cpu_seconds(step.run)
            peaks.append(peak)
            rates.append(flops / seconds / 1e9)
            shares.append(flops / seconds / peak)
            images.append(step.images / seconds)
        table.append([name, f"{flops / 1e9:.2f}", spread(rates), spread(shares, 2), spread(images)])
    print(f"peak of a matrix product: {spread([peak / 1e9 for peak in peaks])} GFLOP/s")
    print(f"peak of memory: {median(peak_bytes() for _ in range(3)) / 1e9:.1f} GB/s\n")
    print("\n".join(rows_of(table)))


if __name__ == "__main__":
    typer.run(main)
