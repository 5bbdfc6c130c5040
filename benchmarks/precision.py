"""Stage 1 in float32 and in bfloat16 on a CPU: images per CPU second of one thread, recipe by recipe.

    python -m benchmarks.precision [--repeats 3] [--seconds 3] [--only car-racing ...]

bfloat16 pays on processors that multiply it natively (``grep -o -m1 'avx512_bf16\\|amx_bf16' /proc/cpuinfo``); others
emulate it. Both precisions take the same steps of ``brain train`` on the same noise, interleaved; the ratio is repeat
by repeat. First the speed of a product of two matrices of 1,024 in both.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import torch
import typer

from benchmarks.roofline import SPEC, cpu_seconds
from benchmarks.training_steps import EncoderTraining, interleaved, ratios, rows_of, spread
from brain import recipes
from brain.device import Precision
from brain.runs.folder import Compute
from brain.training.encoder import EncoderStep

PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
RECIPES = ["car-racing", "car-racing-grid-vector", "two-room-grid", "lewm", "tiny-jepa"]
SIZE = 1024


def product(precision: Precision) -> float:
    """GFLOP/s of a product of square matrices."""
    left, right = (torch.randn(SIZE, SIZE).to(getattr(torch, precision)) for _ in range(2))
    return 2 * SIZE**3 / cpu_seconds(lambda: left @ right) / 1e9


def images_per_second(recipe: str, precision: Precision, seconds: float) -> float:
    device = torch.device("cpu")
    training = EncoderTraining(recipes.load(recipe), SPEC, device)
    training.step_of = EncoderStep(training.model.encoder, training.objective, Compute(precision), device)
    batch, number = training.random_batch(SPEC), 0

    def step() -> None:
        nonlocal number
        training.step(batch, number)
        number += 1

    step()
    return training.images / cpu_seconds(step, seconds)


def main(
    repeats: int = 3,
    seconds: float = 3.0,
    only: Annotated[list[str], typer.Option(help="Recipes; by default five.")] = RECIPES,
) -> None:
    torch.set_num_threads(1)
    head = ["", "float32", "bfloat16", "ratio"]
    rows = [head]
    found = interleaved({str(name): partial(product, name) for name in PRECISIONS}, repeats)
    rows.append(["product of matrices, GFLOP/s", *_cells(found)])
    for recipe in only:
        arms = {name: partial(images_per_second, recipe, name, seconds) for name in PRECISIONS}
        found = interleaved({str(name): arm for name, arm in arms.items()}, repeats)
        rows.append([f"`{recipe}`, images/s", *_cells(found)])
    print("\n".join(rows_of(rows)))


def _cells(found: dict[str, list[float]]) -> list[str]:
    single, half = (found[name] for name in PRECISIONS)
    return [spread(single), spread(half), spread(ratios(half, single), 2)]


if __name__ == "__main__":
    typer.run(main)
