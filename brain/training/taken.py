"""An encoder that another run has trained, in place of stage 1."""

from __future__ import annotations

from pathlib import Path

from brain import pretrained, recipes
from brain.recipes.schema import Recipe
from brain.runs import checkpoint
from brain.runs.folder import Run, write_whole
from brain.runs.metrics import entries
from shared.errors import TinyJEPAError
from shared.store.files import write_file

FLAG = "--encoder"
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


def address(source: Path) -> str:
    """``source`` as ``--encoder`` finds it from any folder."""
    return pretrained.PREFIX + source.name if pretrained.comes_with_the_package(source) else str(source.resolve())
