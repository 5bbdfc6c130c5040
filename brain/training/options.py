"""What ``train`` is told beside store, run and recipe: how to read, and how long to train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from brain import distributed
from brain.data.follow import IDLE_SECONDS, POLL_SECONDS
from brain.device import PrecisionChoice
from brain.training import taken
from brain.training.loop import Budget, Clock
from shared.store.reader import OnCorrupt

Curves = Literal["tensorboard", "wandb"]
Stage = Literal["encoder", "predictor", "energy"]


@dataclass(frozen=True)
class Data:
    """How ``train`` reads its store."""

    follow: bool = False
    """Train while the store grows; end when the collection has finished."""
    min_frames: int = 10_000
    """Training frames to wait for, when following."""
    idle: float = IDLE_SECONDS
    """Seconds without a commit after which a stream that was not closed counts as abandoned."""
    poll: float = POLL_SECONDS
    """Seconds between two polls of the store."""
    on_corrupt: OnCorrupt = "raise"
    """Whether a damaged shard or log stops the training, or is skipped and reported."""
    memory: int = 4 << 30
    """Bytes of frames held."""
    pool: str = "auto"
    """Where they are held: ``cpu``, a GPU, or ``auto``, the GPU that trains if half of its memory is enough."""


@dataclass(frozen=True)
class Effort:
    """Which stages ``train`` runs, and for how long."""

    stage: Stage | None = None
    """The only one to run; else all that are not finished."""
    encoder: Path | taken.Untrained | None = None
    """The run whose encoder is taken over, or ``untrained``, in place of training one."""
    steps: int | None = None
    """Optimiser steps of each training stage, in place of the recipe's."""
    seconds: float | None = None
    """Of both training stages together, in place of steps; the embedding between them is not counted."""
    clock: Clock = "wall"
    """What ``seconds`` count."""
    precision: PrecisionChoice = "auto"
    """Of the encoder's training step: see ``brain.device.pick_precision``."""
    threads: int | None = None
    """CPU threads of it, and with ``steps`` of the embedding before stage 2. None: one if ``steps`` are given, so that
    they are exactly repeatable, else measured."""
    compiled: bool = False
    """Whether it goes through ``torch.compile``."""
    graphs: bool = True
    """Whether steps of both training stages are replayed as CUDA graphs where that can be."""

    @property
    def open(self) -> bool:
        """Whether neither steps nor seconds are set."""
        return self.steps is None and self.seconds is None

    def budget(self, default: int, share: float) -> Budget:
        """Of a stage with ``default`` steps in its recipe and ``share`` of the seconds; the only stage has them all."""
        if self.seconds is not None:
            alone = self.stage is not None or self.encoder is not None
            return Budget(seconds=self.seconds * (1.0 if alone else share), clock=self.clock)
        return Budget(steps=self.steps or default)


def flags_of(data: Data, effort: Effort, device: str, curves: Sequence[Curves]) -> list[str]:
    """The flags of ``brain train`` that say this and how many processes share it, where it is not the default."""
    plain, words = Data(), list[str]()
    for flag, value, default in (
        (taken.FLAG, effort.encoder and taken.address(effort.encoder), None),
        ("--steps", effort.steps, None),
        ("--budget", effort.seconds and f"{effort.seconds:g}s", None),
        ("--clock", effort.clock, "wall"),
        ("--precision", effort.precision, "auto"),
        ("--threads", effort.threads, None),
        ("--device", device, "auto"),
        ("--gpus", distributed.world_size(), 1),
        ("--min-frames", data.min_frames, plain.min_frames),
        ("--follow-idle", f"{data.idle:g}s", f"{plain.idle:g}s"),
        ("--poll", f"{data.poll:g}s", f"{plain.poll:g}s"),
        ("--on-corrupt", data.on_corrupt, plain.on_corrupt),
        ("--pool-device", data.pool, plain.pool),
        ("--memory", f"{data.memory / (1 << 30):g}", f"{plain.memory / (1 << 30):g}"),
    ):
        if value != default:
            words += [flag, str(value)]
    words += ["--follow"] * data.follow + ["--compile"] * effort.compiled + ["--no-cuda-graphs"] * (not effort.graphs)
    return words + [f"--{name}" for name in curves]
