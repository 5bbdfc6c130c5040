"""The main job of the brain: a store and a recipe in, a judged world model out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from brain import checkpoint
from brain.device import pick
from brain.model import WorldModel
from brain.recipes.schema import Recipe
from brain.run import Run
from brain.stages.encoder import train_encoder
from brain.stages.loop import Budget
from brain.stages.predictor import train_predictor
from shared.errors import TinyJEPAError
from shared.store.reader import Store

Stage = Literal["encoder", "predictor", "energy"]
STAGES: tuple[Stage, ...] = ("encoder", "predictor", "energy")

ENCODER_SHARE = 0.8
"""Of a ``--budget`` for all stages, the encoder's share; the predictor gets the rest."""


def train(
    store_path: Path,
    run_path: Path,
    recipe: Recipe,
    *,
    stage: Stage | None = None,
    steps: int | None = None,
    seconds: float | None = None,
    seed: int = 0,
    device: str = "auto",
    memory: int = 4 << 30,
    checkpoint_seconds: float = 15.0,
    quiet: bool = False,
) -> list[str]:
    """Run the stages that are not finished (or only ``stage``) and return one line on each.

    ``steps`` or ``seconds`` override the recipe's own steps of the training stages; ``seconds`` bounds both together.
    Raises ``TinyJEPAError`` for a foreign store or run folder, a stage whose input is missing, or too little data.
    """
    target = pick(device)
    store = Store(store_path)
    episodes = store.split("train")
    if not episodes:
        raise TinyJEPAError(
            f"{store_path}: no training episodes yet ({len(store.episodes)} in all): collect more first"
        )
    run = Run(run_path)
    run.begin(recipe, store.spec, store_path, seed)
    torch.manual_seed(seed)
    model = WorldModel(recipe, store.spec).to(target)

    def budget(default: int, share: float) -> Budget:
        if seconds is not None:
            return Budget(seconds=seconds * (share if stage is None else 1.0))
        return Budget(steps=steps or default)

    lines = []
    if run.encoder.exists():
        lines.append(f"encoder: finished before ({_finished(run.encoder)}), reused")
    elif stage in (None, "encoder"):
        train_encoder(
            run, model, store, episodes, budget(recipe.objective.steps, ENCODER_SHARE),
            seed=seed, memory=memory, checkpoint_seconds=checkpoint_seconds, quiet=quiet,
        )  # fmt: skip
        lines.append(f"encoder: trained ({_finished(run.encoder)})")
    if stage == "encoder":
        return lines

    _restore(run.encoder, model.encoder)
    if run.predictor.exists():
        lines.append(f"predictor: finished before ({_finished(run.predictor)}), reused")
    elif stage in (None, "predictor"):
        train_predictor(
            run, model, store, episodes, budget(recipe.prediction.steps, 1 - ENCODER_SHARE),
            seed=seed, checkpoint_seconds=checkpoint_seconds, quiet=quiet,
        )  # fmt: skip
        lines.append(f"predictor: trained ({_finished(run.predictor)})")
    if stage == "predictor":
        return lines

    if run.judgement.exists() and run.report.exists() and stage is None:
        lines.append("energy: judged before, reused (brain judge repeats it)")
        return lines
    from brain.stages.energy import judge_energy  # scikit-learn and matplotlib: only when they are needed

    _restore(run.predictor, model.dynamics)
    judge_energy(run, model.eval(), store, quiet=quiet)
    lines.append("energy: calibrated on validation episodes, judged on test episodes")
    return lines


def _restore(path: Path, module: torch.nn.Module) -> None:
    tensors, _ = checkpoint.load(path)
    checkpoint.restore(path, module, tensors, "model")


def _finished(path: Path) -> str:
    _, facts = checkpoint.load(path)
    return f"{facts['step']} steps in {facts['elapsed']:.0f} s"
