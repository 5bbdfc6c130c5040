"""An encoder that another run has trained, in place of stage 1."""

from __future__ import annotations

import shutil
from pathlib import Path

from brain import pretrained, recipes
from brain.recipes.schema import Recipe
from brain.runs.folder import Run, write_whole
from brain.runs.metrics import entries
from shared.errors import TinyJEPAError
from shared.store.files import remove, sync_directory

_LATER = ("name", "summary", "world", "prediction.", "energy.")
"""Beginnings of the recipe's keys that do not change what stage 1 trains."""


def check_encoder(source: Run, recipe: Recipe) -> None:
    """Raises ``TinyJEPAError`` where ``source`` has no finished encoder, or one that the recipe trains otherwise."""
    if not source.encoder.exists():
        raise TinyJEPAError(f"--encoder {source.path}: its encoder is not finished: train it with brain train first")
    for key, theirs, ours in recipes.differences(source.recipe(), recipe):
        if not key.startswith(_LATER):
            raise TinyJEPAError(
                f"--encoder {source.path}: it was trained with {key} {theirs}, not {ours}: only prediction and energy "
                "may differ"
            )


def take_encoder(run: Run, source: Run) -> None:
    """Copy the encoder of ``source`` into ``run``, with its curves and, in mode state, the scale of its coordinates.

    What was taken before is kept. Raises ``TinyJEPAError`` for a run that has another encoder, finished or begun.
    """
    if run.encoder.exists():
        if run.encoder.read_bytes() != source.encoder.read_bytes():
            raise TinyJEPAError(f"{run.path} has another encoder than {source.path}: give another --run")
        return
    if run.checkpoint("encoder").exists():
        raise TinyJEPAError(f"{run.path} has begun to train an encoder of its own: give another --run")
    metrics = source.path / "metrics.jsonl"
    if metrics.exists():
        lines = entries(metrics.read_text(encoding="utf-8", errors="replace"))
        kept = [line + "\n" for line, entry in lines if entry["stage"] == "encoder"]
        write_whole(run.path / metrics.name, "".join(kept))
    for file in (source.coordinates, source.encoder):  # the encoder last: with it, all is there
        if file.exists():
            _copy(file, run.path / file.name)


def address(source: Path) -> str:
    """``source`` as ``--encoder`` finds it from any folder."""
    return pretrained.PREFIX + source.name if pretrained.comes_with_the_package(source) else str(source.resolve())


def _copy(file: Path, to: Path) -> None:
    """Whole or not at all."""
    temporary = to.with_name(to.name + ".partial")
    try:
        shutil.copyfile(file, temporary)
        temporary.replace(to)
    except OSError as error:
        remove(temporary)
        raise TinyJEPAError(f"cannot write {to} ({error.strerror}): make room, then rerun the command") from error
    sync_directory(to.parent)
