"""Stage 1 on a CPU in float32, in bfloat16 and compiled: images per CPU second of one thread, recipe by recipe.

    python -m benchmarks.cpu_steps [--repeats 3] [--seconds 3] [--only car-racing ...]

bfloat16 (``brain train --precision bfloat16``) pays on processors that multiply it natively (``grep -o -m1
'avx512_bf16\\|amx_bf16' /proc/cpuinfo``); others emulate it. Compiled steps go through ``torch.compile`` (``brain train
--compile``). All take the same steps on the same noise, interleaved; ratios to float32 are repeat by repeat. The last
column is the wall time until the first compiled step is done. First the speed of a product of two matrices of 1,024.
"""

from __future__ import annotations

import time
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

ARMS: dict[str, tuple[Precision, bool]] = {
    "float32": ("float32", False),
    "bfloat16": ("bfloat16", False),
    "float32, compiled": ("float32", True),
    "bfloat16, compiled": ("bfloat16", True),
}
RECIPES = ["car-racing", "car-racing-grid-vector", "two-room-grid", "lewm", "tiny-jepa"]
SIZE = 1024


def product(precision: Precision) -> float:
    """GFLOP/s of a product of square matrices."""
    left, right = (torch.randn(SIZE, SIZE).to(getattr(torch, precision)) for _ in range(2))
    return 2 * SIZE**3 / cpu_seconds(lambda: left @ right) / 1e9


class Steps:
    """Training steps of a recipe, one after the other on one batch of noise."""

    def __init__(self, recipe: str, precision: Precision, compiled: bool) -> None:
        device = torch.device("cpu")
        self.training = EncoderTraining(recipes.load(recipe), SPEC, device)
        model, compute = self.training.model, Compute(precision, compiled=compiled)
        self.training.step_of = EncoderStep(model.encoder, self.training.objective, compute, device)
        self.batch, self.number = self.training.random_batch(SPEC), 0
        started = time.perf_counter()
        self.step()
        self.first = time.perf_counter() - started

    def step(self) -> None:
        self.training.step(self.batch, self.number)
        self.number += 1

    def images_per_second(self, seconds: float) -> float:
        return self.training.images / cpu_seconds(self.step, seconds)


def main(
    repeats: int = 3,
    seconds: float = 3.0,
    only: Annotated[list[str], typer.Option(help="Recipes; by default five.")] = RECIPES,
) -> None:
    torch.set_num_threads(1)
    found = interleaved({name: partial(product, ARMS[name][0]) for name in ("float32", "bfloat16")}, repeats)
    print("product of matrices, GFLOP/s: " + ", ".join(f"{name} {spread(rates)}" for name, rates in found.items()))
    rows = [["recipe", "images/s, float32", *(f"{name}, ratio" for name in list(ARMS)[1:]), "first compiled step, s"]]
    for recipe in only:
        arms = {name: Steps(recipe, *choice) for name, choice in ARMS.items()}
        found = interleaved({name: partial(arm.images_per_second, seconds) for name, arm in arms.items()}, repeats)
        plain, *others = found.values()
        cells = [spread(ratios(rates, plain), 2) for rates in others]
        rows.append([f"`{recipe}`", spread(plain), *cells, f"{arms['float32, compiled'].first:.0f}"])
    print("\n".join(rows_of(rows)))


if __name__ == "__main__":
    typer.run(main)
