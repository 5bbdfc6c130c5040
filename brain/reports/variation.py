"""``brain judge --vary``: how a model holds under factors of variation, into the run's files."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from brain.evaluation.judge import keep
from brain.evaluation.variation import Condition, Examiner, Reading, Sizes, chosen_factors, conditions
from brain.models.world_model import WorldModel
from brain.planning.variation import Planning
from brain.reports.report import judged_pictures, write_report
from brain.reports.variation_table import strip, table
from brain.runs.figures import judged, read_judgement
from brain.runs.folder import Run, write_whole
from shared.store.reader import Store
from shared.worlds.factors import Factor

EPISODES = 24
"""Fresh episodes in each condition."""


def judged_whole(run: Run) -> bool:
    """Whether the run has a judgement with its pictures. Raises ``TinyJEPAError`` for damaged files."""
    return read_judgement(run) is not None and judged_pictures(run.path) is not None


def judge_variation(
    model: WorldModel,
    store: Store,
    run: Run,
    names: Sequence[str],
    episodes: int,
    *,
    quiet: bool = False,
    seed: int = 0,
) -> list[str]:
    """Judge a judged run under factors of variation (all for no name); returns the table as lines.

    It is added to ``judge.json`` as ``variation``, to the pictures and the report; factors judged earlier with the same
    numbers of episodes stay. Nothing is written before all is done. Raises ``TinyJEPAError`` for a world without
    factors, an unknown name and what ``Examiner`` refuses.
    """
    started = time.monotonic()
    factors = chosen_factors(store.spec, names)
    _say(quiet, "fitting the probe on train episodes")
    examiner = Examiner(model, store, judged(run.path), Sizes(episodes, episodes // 3), seed)
    planning = Planning(model, run.path, store, episodes // 6, seed)
    found: dict[tuple[str, str], Reading] = {}
    todo = conditions(store.spec, factors)
    for number, condition in enumerate(todo, 1):
        _say(quiet, f"condition {number} of {len(todo)}: {condition}")
        found[condition.factor, condition.where] = _read(examiner, planning, condition)
    setup = {"episodes": episodes, "steps": examiner.steps, "seed": seed, "seconds": round(time.monotonic() - started)}
    _add(run, {factor.name: _figures(factor, store, found) for factor in factors}, setup, _strips(factors, found))
    varied = judged(run.path).variation
    return table({factor.name: varied[factor.name] for factor in factors})


def _read(examiner: Examiner, planning: Planning, condition: Condition) -> Reading:
    reading = examiner.read(condition)
    plans = planning.read(condition.options) if planning.possible else {}
    return Reading(reading.figures | plans, reading.frames)


def _figures(factor: Factor, store: Store, found: Mapping[tuple[str, str], Reading]) -> dict[str, Any]:
    options = store.spec.world_options
    own = {where: one for (name, where), one in found.items() if name == factor.name}
    readings = {"default": found["", "default"]} | own
    return {
        "unit": factor.unit,
        "training": factor.training,
        "allowed": factor.allowed,
        "physical": factor.physical,
        "trained": factor.name in {*options.get("vary", ()), *(options.get("factors") or {})},
        **{where: one.figures for where, one in readings.items()},
    }


def _strips(factors: Sequence[Factor], found: Mapping[tuple[str, str], Reading]) -> dict[str, str]:
    """An SVG by factor: the same moments of the same episodes, a row for each condition."""
    drawn = {}
    for factor in factors:
        rows = {"default": found["", "default"].frames}
        rows |= {where: one.frames for (name, where), one in found.items() if name == factor.name}
        drawn[factor.name] = strip(rows)
    return drawn


def _add(run: Run, figures: Mapping[str, Any], setup: dict[str, Any], strips: Mapping[str, str]) -> None:
    """Into the run's files; what was there of other factors stays where it was made in the same way."""
    whole = json.loads(run.judgement.read_text(encoding="utf-8"))
    pictures = judged_pictures(run.path)
    assert pictures is not None
    before = whole.get("variation_setup", {})
    same = all(before.get(key) == setup[key] for key in ("episodes", "steps", "seed"))
    kept, drawn = (whole.get("variation", {}), pictures.get("variation", {})) if same else ({}, {})
    write_whole(run.pictures, json.dumps(pictures | {"variation": {**drawn, **strips}}) + "\n")
    keep(run, whole | {"variation": {**kept, **figures}, "variation_setup": setup})
    write_report(run.path, run.report)


def _say(quiet: bool, line: str) -> None:
    if not quiet:
        print(f"judge: {line}", file=sys.stderr, flush=True)
