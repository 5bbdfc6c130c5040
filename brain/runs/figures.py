"""Typed metrics of a run folder: the one reader of ``judge.json``, ``probe.json`` and ``dream.json``.

Nothing is computed and no model is loaded. Files of earlier versions stay readable: what they lack has a default, and
keys that were renamed are known by both names.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from brain.recipes.schema import Recipe
from brain.runs import checkpoint
from brain.runs.folder import Run
from brain.runs.judgement import Figures, Judgement
from brain.runs.metrics import read_metrics
from shared.errors import TinyJEPAError, cause

MEDIA_BYTES = 20 << 20
"""A larger video or picture is left out of a page, which holds all of them."""
MEDIA = {
    "forecast.mp4": "video/mp4", "reconstruction.png": "image/png", "latents.png": "image/png",
}  # fmt: skip

Metrics = Mapping[str, Sequence[Mapping[str, Any]]]
"""The lines of ``metrics.jsonl`` by stage, in the file's order; each has ``step``."""


class StateScore(Figures):
    r2: float | None
    rmse: float | None = None


class ProbeFigures(Figures):
    """``probe.json``: scores by representation, then by state."""

    scores: dict[str, dict[str, StateScore]]
    reward: dict[str, StateScore] | None = None
    steps: int = 0

    @field_validator("scores")
    @classmethod
    def _has_the_linear_probe(cls, scores: dict[str, dict[str, StateScore]]) -> dict[str, dict[str, StateScore]]:
        if "linear" not in scores:
            raise ValueError("the linear probe is missing")
        return scores


class DreamFigures(Figures):
    """``dream.json``: mean squared pixel error, a value for each model step ahead."""

    forecast_mse: list[float]
    persistence_mse: list[float]
    reconstruction_mse: list[float] = Field(default_factory=list)
    seconds_per_step: float = Field(gt=0)
    episodes: int = 0
    reconstruction_psnr_db: float | None = None

    @model_validator(mode="after")
    def _same_length(self) -> DreamFigures:
        if len(self.forecast_mse) != len(self.persistence_mse):
            raise ValueError("the errors are of different lengths")
        return self


class Rate(Figures):
    """A share of episodes, with its interval of 95 %."""

    rate: float = Field(ge=0, le=1)
    low: float
    high: float
    episodes: int


class Score(Figures):
    """Rewards summed over episodes."""

    mean: float
    std: float
    solved: Rate | None = None


class PlanResult(Figures):
    """How an agent did: ``success`` (``at_end``, ``ever``, ``held``) or ``score``."""

    success: dict[str, Rate] | None = None
    score: Score | None = None

    @model_validator(mode="after")
    def _either(self) -> PlanResult:
        if (self.success is None) == (self.score is None) or not {"at_end"} <= {*(self.success or ("at_end",))}:
            raise ValueError("it has neither a success at the end nor a score")
        return self

    @property
    def main(self) -> float:
        """The rate of success at the end, or the mean score."""
        return self.score.mean if self.score else (self.success or {})["at_end"].rate


class PlanFigures(PlanResult):
    """``plan.json``: the agent and the baselines beside it."""

    task: str
    episodes: int
    planner: dict[str, Any]
    dynamics: str
    list: str = "fixed"
    radius: float | None = None
    unit: str = ""
    baselines: dict[str, PlanResult] = Field(default_factory=dict)

    @property
    def agent(self) -> str:
        """Who planned, for people."""
        return f"{self.planner.get('kind', 'planner')} on the {self.dynamics}"


Kind = TypeVar("Kind", bound=Figures)


def read_judgement(run: Run) -> Judgement | None:
    """``judge.json``; None where the run is not judged. Raises ``TinyJEPAError`` for a damaged file."""
    return _read(run.judgement, Judgement, "judge", run.path)


def read_probe(run: Run) -> ProbeFigures | None:
    """``probe.json``; None where the run is not probed. Raises ``TinyJEPAError`` for a damaged file."""
    return _read(run.path / "probe.json", ProbeFigures, "probe", run.path)


def read_dream(run: Run) -> DreamFigures | None:
    """``dream.json``; None where nothing was dreamed. Raises ``TinyJEPAError`` for a damaged file."""
    return _read(run.path / "dream.json", DreamFigures, "dream", run.path)


def read_plan(run: Run) -> PlanFigures | None:
    """``plan.json``; None where nobody planned. Raises ``TinyJEPAError`` for a damaged file."""
    return _read(run.path / "plan.json", PlanFigures, "plan", run.path)


def _read(path: Path, kind: type[Kind], command: str, run: Path) -> Kind | None:
    if not path.exists():
        return None
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, f"make it again with brain {command} --run {run}") from None


def damaged(path: Path, error: Exception, cure: str) -> TinyJEPAError:
    """One line that names a file of figures that cannot be read, and why."""
    why = cause(error)
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:60]
        why = f"{where}: {first['msg'][:60]}" if where else str(first["msg"])[:80]
    return TinyJEPAError(f"{path} is damaged ({why}): {cure}")


@dataclass(frozen=True)
class Record:
    """One run, as read from its folder."""

    name: str
    path: Path
    recipe: Recipe
    facts: dict[str, Any]
    """``run.json``"""
    judgement: Judgement | None
    probe: ProbeFigures | None
    dream: DreamFigures | None
    plan: PlanFigures | None
    stages: Metrics
    media: Mapping[str, str]
    """``MEDIA`` that there are, as data addresses, by file name"""

    @property
    def video(self) -> str | None:
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
    found = read_judgement(run), read_probe(run), read_dream(run), read_plan(run)
    media = {file: address for file, kind in MEDIA.items() if (address := _address(path / file, kind))}
    return Record(name, path, recipe, facts, *found, read_metrics(path / "metrics.jsonl"), media)


def judged(run: Path) -> Judgement:
    """``judge.json`` of a judged run. Raises ``TinyJEPAError`` where the run is not judged, or the file is damaged."""
    judgement = read_judgement(Run(run))
    if judgement is None:
        raise TinyJEPAError(f"{run} is not judged yet: run brain judge --run {run}")
    return judgement


def headline(run: Path) -> list[str]:
    """The main figures of a judged run, a line each, with the best baseline beside.

    Raises ``TinyJEPAError`` where the run is not judged.
    """
    return [
        f"{item.label}: missing, {item.missing}"
        if item.missing
        else f"{item.label}: {figure_text(item.value)} ({item.baseline_name}: {figure_text(item.baseline)})"
        for item in judged(run).headline.values()
    ]


def figure_text(value: float | None) -> str:
    """A figure as people read it: three decimals, one more close to 1 (cut, never rounded up), a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if 0.995 <= value < 1:
        return f"{math.floor(value * 1e4) / 1e4:.4f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _address(path: Path, kind: str) -> str | None:
    """A file as a data address; None where it is missing or too large."""
    if not path.is_file() or path.stat().st_size > MEDIA_BYTES:
        return None
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"
