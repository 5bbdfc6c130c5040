"""``brain judge --vary``: how a model holds under factors of variation, into the run's files."""

from __future__ import annotations

import json
import sys
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
    plans: int | None = None,
    *,
    quiet: bool = False,
    seed: int = 0,
) -> list[str]:
    """Judge a judged run under factors of variation (all for no name); returns the table as lines.

    ``episodes`` in each condition, of which ``plans`` are planned, by default a sixth as many.
    Each factor is added to ``judge.json`` (``variation``) and the pictures when it is done, the report at the end;
    factors judged earlier with the same store and numbers of episodes stay, and are not judged again. Raises
    ``TinyJEPAError`` for a world without factors, an unknown name and what ``Examiner`` refuses.
    """
    factors = chosen_factors(store.spec, names)
    _say(quiet, "fitting the probe on train episodes")
    examiner = Examiner(model, store, judged(run.path), Sizes(episodes, episodes // 3), seed)
    planning = Planning(model, run.path, store, episodes // 6 if plans is None else plans, seed)
    setup = {
        "store": str(store.path),
        "world_options": store.spec.world_options,
        "episodes": episodes,
        "plans": planning.episodes,
        "steps": examiner.steps,
        "seed": seed,
    }
    done = _done(run, setup)
    missing = [factor for factor in factors if factor.name not in done]
    if len(missing) < len(factors):
        _say(quiet, f"{len(factors) - len(missing)} of {len(factors)} factors are judged already")
    if missing:
        _judge(missing, examiner, planning, run, store, setup, quiet=quiet)
    write_report(run.path, run.report)
    varied = judged(run.path).variation
    return table({factor.name: varied[factor.name] for factor in factors})


def _done(run: Run, setup: dict[str, Any]) -> dict[str, Any]:
    """The factors in ``judge.json`` that were judged in the same way and have pictures."""
    whole, drawn = json.loads(run.judgement.read_text(encoding="utf-8")), _drawn(run)
    if whole.get("variation_setup") != json.loads(json.dumps(setup)):
        return {}
    return {name: factor for name, factor in whole.get("variation", {}).items() if name in drawn}


def _drawn(run: Run) -> dict[str, str]:
    """The strips of the factors."""
    strips: dict[str, str] = (judged_pictures(run.path) or {}).get("variation", {})
    return strips


def _judge(
    factors: Sequence[Factor],
    examiner: Examiner,
    planning: Planning,
    run: Run,
    store: Store,
    setup: dict[str, Any],
    *,
    quiet: bool,
) -> None:
    default, *todo = conditions(store.spec, factors)
    count = 1 + len(todo)
    _say(quiet, f"condition 1 of {count}: {default}")
    usual = _read(examiner, planning, default)
    for factor in factors:
        readings: dict[str, Reading] = {"default": usual}
        for number, condition in enumerate(todo, 2):
            if condition.factor == factor.name:
                _say(quiet, f"condition {number} of {count}: {condition}")
                readings[condition.where] = _read(examiner, planning, condition)
        _add(run, factor, store, readings, setup)


def _read(examiner: Examiner, planning: Planning, condition: Condition) -> Reading:
    reading = examiner.read(condition)
    plans = planning.read(condition.options) if planning.possible else {}
    return Reading(reading.figures | plans, reading.frames)


def _add(run: Run, factor: Factor, store: Store, readings: Mapping[str, Reading], setup: dict[str, Any]) -> None:
    """A factor into the run's files; what was there of others stays where it was made in the same way."""
    options = store.spec.world_options
    figures = {
        "unit": factor.unit,
        "training": factor.training,
        "allowed": factor.allowed,
        "physical": factor.physical,
        "trained": factor.name in {*options.get("vary", ()), *(options.get("factors") or {})},
        **{where: one.figures for where, one in readings.items()},
    }
    whole = json.loads(run.judgement.read_text(encoding="utf-8"))
    pictures = judged_pictures(run.path)
    assert pictures is not None
    kept = _done(run, setup)
    drawn = {name: strip for name, strip in _drawn(run).items() if name in kept}
    picture = strip({where: one.frames for where, one in readings.items()})
    write_whole(run.pictures, json.dumps(pictures | {"variation": {**drawn, factor.name: picture}}) + "\n")
    keep(run, whole | {"variation": {**kept, factor.name: figures}, "variation_setup": setup})


def _say(quiet: bool, line: str) -> None:
    if not quiet:
        print(f"judge: {line}", file=sys.stderr, flush=True)
