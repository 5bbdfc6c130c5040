"""What a run folder holds, read back for the pages that show it: nothing is computed, torch models are not loaded."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brain.recipes.schema import Recipe
from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.errors import TinyJEPAError, cause

MEDIA_BYTES = 20 << 20
"""A larger film or picture is left out of a page, which holds all of them."""
MEDIA = {
    "forecast.mp4": "video/mp4", "reconstruction.png": "image/png", "latents.png": "image/png",
}  # fmt: skip

Metrics = Mapping[str, Sequence[Mapping[str, Any]]]
"""The lines of ``metrics.jsonl`` by stage, in the file's order; each has ``step``."""


@dataclass(frozen=True)
class Record:
    """One run, as its folder tells it."""

    name: str
    path: Path
    recipe: Recipe
    facts: dict[str, Any]
    """``run.json``"""
    judgement: dict[str, Any] | None
    """``judge.json``; None where it was not judged"""
    probe: dict[str, Any] | None
    """``probe.json``; None where it was not probed"""
    dream: dict[str, Any] | None
    """``dream.json``; None where nothing was dreamed"""
    stages: Metrics
    media: Mapping[str, str]
    """``MEDIA`` that there are, as data addresses, by file name"""

    @property
    def film(self) -> str | None:
        """``forecast.mp4`` as a data address."""
        return self.media.get("forecast.mp4")

    def finished(self, stage: str) -> bool:
        """Whether a training stage (``encoder`` or ``predictor``) has left its weights."""
        return self._weights(stage).exists()

    def steps(self, stage: str) -> int:
        """Optimiser steps of a finished stage. Raises ``TinyJEPAError`` for damaged weights."""
        return int(checkpoint.read_facts(self._weights(stage)).get("step", 0))

    def _weights(self, stage: str) -> Path:
        return self.path / f"{stage}.safetensors"


def read_run(path: Path, name: str) -> Record:
    """A run by its folder. Raises ``TinyJEPAError`` for a folder that is none, and for damaged figures in it."""
    run = Run(path)
    recipe, facts = run.recipe(), run.facts()
    judgement = _figures(run.judgement, "judge", path, _is_judgement)
    probe = _figures(path / "probe.json", "probe", path, _is_probe)
    dream = _figures(path / "dream.json", "dream", path, _is_dream)
    media = {file: address for file, kind in MEDIA.items() if (address := _address(path / file, kind))}
    return Record(name, path, recipe, facts, judgement, probe, dream, read_metrics(path / "metrics.jsonl"), media)


def read_metrics(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of a ``metrics.jsonl`` by stage, without what a kill cut short; none where there is no file."""
    stages: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(entry, dict) and isinstance(entry.get("stage"), str) and isinstance(entry.get("step"), int):
            stages.setdefault(entry["stage"], []).append(entry)
    return stages


def _is_judgement(found: Any) -> bool:
    kinds, headline = found["energy"]["kinds"], found["headline"]
    found["rollout"]["steps"]
    return all("model" in kind["auc"] for kind in kinds.values()) and all("value" in row for row in headline.values())


def _is_probe(found: Any) -> bool:
    return all(isinstance(score["r2"], float | int) for score in found["scores"]["linear"].values())


def _is_dream(found: Any) -> bool:
    return len(found["forecast_mse"]) == len(found["persistence_mse"]) and found["seconds_per_step"] > 0


def _figures(path: Path, command: str, run: Path, check: Any) -> dict[str, Any] | None:
    """A JSON file of figures that ``brain COMMAND`` wrote; None where there is none."""
    if not path.exists():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not check(found):
            raise ValueError("figures are missing")
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise TinyJEPAError(
            f"{path} is damaged ({cause(error)}): make it again with brain {command} --run {run}"
        ) from None


def _address(path: Path, kind: str) -> str | None:
    """A file as a data address; None where it is missing or too large."""
    if not path.is_file() or path.stat().st_size > MEDIA_BYTES:
        return None
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
