"""CPU seconds per optimiser step inside a training loop, whoever wrote it, and our own loop so measured."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import nn

from benchmarks.training_steps import EncoderTraining
from brain.data.loader import Stream
from brain.recipes.schema import Recipe
from brain.training.options import Effort
from brain.training.train import train
from shared.store.reader import Store

WARM = 1
"""Steps before the first that is measured."""


class Enough(Exception):
    """Ends a training loop that would go on for days."""


class Meter:
    """Notes the CPU time of the process (all threads, user and system) whenever a watched encoder begins a step."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.stamps: list[float] = []

    def watch(self, encoder: nn.Module) -> nn.Module:
        """The encoder, from whose forward passes with gradient, one a step, time is taken."""
        encoder.register_forward_pre_hook(lambda *_: self._step() if torch.is_grad_enabled() else None)
        return encoder

    def _step(self) -> None:
        self.stamps.append(time.process_time())
        if len(self.stamps) > WARM + 1 and self.stamps[-1] - self.stamps[WARM] >= self.seconds:
            raise Enough

    def per_step(self, run: Callable[[], object], seconds: float) -> float:
        """CPU seconds of a step of ``run``, a training loop, the mean over at least ``seconds``; then the loop ends."""
        self.seconds, self.stamps = seconds, []
        torch.set_num_threads(1)
        with silence(), contextlib.suppress(Enough):
            run()
        measured = len(self.stamps) - WARM - 1
        if measured < 1:
            raise RuntimeError(f"the loop ended after {len(self.stamps)} steps, before {seconds:g} CPU seconds")
        return (self.stamps[-1] - self.stamps[WARM]) / measured


METER = Meter()


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Nothing is printed meanwhile."""
    nothing = io.StringIO()
    with contextlib.redirect_stdout(nothing), contextlib.redirect_stderr(nothing):
        yield


def our_loop(recipe: Recipe, store: Path) -> None:
    """Stage 1 as ``brain train --stage encoder`` runs it: stream, steps and log. ``Enough`` ends it.

    No checkpoint is written meanwhile, as none is by the others: they write theirs at the end of an epoch.
    """
    with tempfile.TemporaryDirectory() as folder:
        effort = Effort(stage="encoder", steps=recipe.objective.steps, precision="float32", threads=1)
        train(store, Path(folder) / "run", recipe, effort=effort, device="cpu", checkpoint_seconds=3600, quiet=True)


def our_steps(recipe: Recipe, store: Path) -> None:
    """The optimiser steps alone, on one batch that is there."""
    cpu, opened = torch.device("cpu"), Store(store)
    training = EncoderTraining(recipe, opened.spec, cpu)
    stream = Stream(
        opened, "train", stack=recipe.observation.stack, stride=recipe.observation.stride,
        steps=training.objective.steps, batch=recipe.objective.batch, seed=0, device=cpu,
    )  # fmt: skip
    batch = stream.batch(0)
    stream.close()
    for number in range(recipe.objective.steps):
        training.step(batch, number)
