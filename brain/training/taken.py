"""An encoder in place of stage 1: one that another run has trained, or the recipe's own without training."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from brain import pretrained, recipes
from brain.data.blocks import Known
from brain.data.sampling import dense, evenly
from brain.data.source import Feed
from brain.data.windows import Timing
from brain.device import at_most
from brain.models.latents import LatentTable, encode, encoder_of, sample_observations
from brain.models.untrained import OBSERVATIONS, estimate_norms
from brain.models.world_model import WorldModel
from brain.objectives.collapse import effective_rank, embedding_std
from brain.recipes.schema import Recipe
from brain.runs import checkpoint
from brain.runs.folder import Run, write_whole
from brain.runs.metrics import entries
from shared.errors import TinyJEPAError
from shared.store.files import write_file

FLAG = "--encoder"
Untrained = Literal["untrained"]
UNTRAINED: Untrained = "untrained"
"""In place of a run: the recipe's encoder as it is before training."""
_LATER = ("name", "summary", "world", "prediction.", "energy.")
"""Beginnings of the recipe's keys that do not change what stage 1 trains."""


def check_encoder(source: Run, recipe: Recipe) -> None:
    """Raises ``TinyJEPAError`` where ``source`` has no whole encoder, or none that runs of ``recipe`` can take over."""
    if not source.encoder.exists():
        raise TinyJEPAError(f"{FLAG} {source.path}: its encoder is not finished: train it with brain train first")
    for key, theirs, ours in recipes.differences(source.recipe(), recipe):
        if not key.startswith(_LATER):
            raise TinyJEPAError(
                f"{FLAG} {source.path}: it was trained with {key} {theirs}, not {ours}: only prediction and energy may "
                "differ"
            )
    tensors, _ = checkpoint.load(source.encoder)
    if recipe.prediction.start == "joint" and not any(name.startswith("predictor.") for name in tensors):
        raise TinyJEPAError(
            f"{FLAG} {source.path}: the predictor of its stage 1 was not kept: add --set prediction.start=fresh"
        )


def take_encoder(run: Run, source: Run) -> list[str]:
    """Copy the encoder of ``source`` into ``run``, with its curves and, in mode state, the scale of its coordinates.

    Returns the files made with an earlier encoder, which are removed. What was taken before is kept. Raises
    ``TinyJEPAError`` for a run that has another encoder, finished or begun.
    """
    if run.encoder.exists():
        refuse_another_encoder(run, source)
        return []
    if run.checkpoint("encoder").exists():
        raise TinyJEPAError(f"{run.path} has begun to train an encoder of its own: give another --run")
    gone = run.forget("encoder")
    metrics = source.path / "metrics.jsonl"
    if metrics.exists():
        lines = entries(metrics.read_text(encoding="utf-8", errors="replace"))
        kept = [line + "\n" for line, entry in lines if entry["stage"] == "encoder"]
        write_whole(run.path / metrics.name, "".join(kept))
    for file in (source.coordinates, source.encoder):  # the encoder last: with it, all is there
        if file.exists():
            write_file(run.path / file.name, [file.read_bytes()])
    return gone


def refuse_another_encoder(run: Run, source: Run) -> None:
    """Raises ``TinyJEPAError`` where ``run`` has an encoder that is not that of ``source``."""
    if run.encoder.exists() and run.encoder.read_bytes() != source.encoder.read_bytes():
        raise TinyJEPAError(f"{run.path} has another encoder than {source.path}: move it away, or write elsewhere")


def check_untrained(run: Run, recipe: Recipe) -> None:
    """Raises ``TinyJEPAError`` where ``run`` has trained an encoder, or where stage 2 would go on from stage 1."""
    if run.checkpoint("encoder").exists() or (run.encoder.exists() and not is_untrained(run)):
        raise TinyJEPAError(f"{run.path} has a trained encoder: move it away, or write elsewhere")
    if recipe.prediction.start == "joint":
        both = recipe.objective.steps + recipe.prediction.steps
        raise TinyJEPAError(
            f"{FLAG} {UNTRAINED} has no predictor of stage 1: add --set prediction.start=fresh, and for as many steps "
            f"as both stages have --set prediction.steps={both}"
        )


def is_untrained(run: Run) -> bool:
    """Whether the run's encoder is there, and as it was before training."""
    return run.encoder.exists() and bool(checkpoint.read_facts(run.encoder).get(UNTRAINED))


def leave_untrained(
    run: Run, model: WorldModel, feed: Feed, known: Known, seed: int, threads: int | None = None
) -> None:
    """Write ``model.encoder`` as the run's, as it was initialised but for BatchNorm statistics of training episodes.

    These are among ``known``. ``threads`` are the most that a CPU estimates them with, None: torch's own number. Raises
    ``TinyJEPAError`` where no training episode holds a model step.
    """
    timing, rng = Timing.of(model.recipe.observation), np.random.default_rng([seed, *b"untrained"])
    refs = evenly([ref for ref in feed.episodes(known) if ref.rows >= timing.shortest], 24)
    if not refs:
        raise TinyJEPAError(f"{feed.store.path}: no training episode holds a model step: collect longer ones")
    table = LatentTable(feed.store.spec, refs, timing, [dense(ref, timing) for ref in refs])
    sample = sample_observations(feed.store, table, OBSERVATIONS, rng)
    with contextlib.nullcontext() if threads is None else at_most(threads):
        estimate_norms(model.encoder, sample)
    rows = np.arange(len(sample))[:, None] * timing.stack + np.arange(timing.stack)
    latents = torch.from_numpy(model.space.gist(encode(encoder_of(model), sample.reshape(-1, *sample.shape[2:]), rows)))
    health = {"embedding_std": embedding_std(latents), "effective_rank": effective_rank(latents)}
    facts = {"step": 0, "elapsed": 0.0, "cpu_seconds": 0.0, "images": 0, "skipped": feed.losses(), "health": health}
    checkpoint.save(run.encoder, checkpoint.state(model=model.encoder), facts | {UNTRAINED: True})


def address(source: Path | Untrained) -> str:
    """``source`` as ``--encoder`` finds it from any folder."""
    if not isinstance(source, Path):
        return source
    return pretrained.PREFIX + source.name if pretrained.comes_with_the_package(source) else str(source.resolve())
