"""``compare.html``: runs side by side, from the figures, curves and videos that their folders hold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from brain import recipes
from brain.evaluation.negatives import HARD, KINDS
from brain.reports import compare_figures as draw
from brain.reports.curves import NO_TERM
from brain.reports.page import render
from brain.runs.figures import Record, read_run
from brain.runs.folder import write_whole
from brain.runs.judgement import KindFigures


def write_comparison(paths: Sequence[Path], out: Path) -> None:
    """Write the page of the runs to ``out``, whole or not at all. Raises what ``read_run`` raises."""
    short = [path.resolve().name for path in paths]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    runs = [read_run(path, name) for path, name in zip(paths, names)]
    judged = [run for run in runs if run.judgement]
    page = render(
        Path(__file__).parent / "compare.html",
        runs=runs,
        judged=judged,
        shades=dict(zip(names, draw.palette(len(names)))),
        worlds=sorted({run.facts["world"] for run in runs}),
        headline=headline(runs),
        differences=differences(runs),
        kinds=_kinds(judged),
        pictures=_pictures(runs, judged),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page)


def headline(runs: Sequence[Record]) -> list[dict[str, Any]]:
    """The rows of the first table: label, and per run its value, its best baseline and whether it is the best run.

    Nothing is best among runs of different worlds.
    """
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        for key, item in (run.judgement.headline if run.judgement else {}).items():
            row = rows.setdefault(key, {"label": item.label, "cells": {}})
            row["cells"][run.name] = {"value": item.value, "baseline": item.baseline, "best": False}
        if (plan := run.plan) is not None:
            what = "success at the end" if plan.success else "mean score"
            how = "" if plan.dynamics.startswith("model") else f", imagined by the {plan.dynamics}"
            label = f"planning, {plan.task}: {what}, {plan.episodes} episodes ({plan.list}){how}"
            row = rows.setdefault(label, {"label": label, "cells": {}})
            beside = plan.baselines.get("random")
            row["cells"][run.name] = {"value": plan.main, "baseline": beside.main if beside else None, "best": False}
    one_world = len({run.facts["world"] for run in runs}) == 1
    for key, row in rows.items() if one_world else ():
        known = [c for c in row["cells"].values() if c["value"] is not None and math.isfinite(c["value"])]
        if len(known) > 1 and key != "effective_rank":
            best = (min if key.endswith("nmse") else max)(cell["value"] for cell in known)
            for cell in known:
                cell["best"] = cell["value"] == best
    return list(rows.values())


def differences(runs: Sequence[Record]) -> list[tuple[str, list[str]]]:
    """Keys of the recipes, and the seed, whose values differ, with the value of each run."""
    values = [{key: str(value) for key, value, _ in recipes.explain(run.recipe)} for run in runs]
    for run, found in zip(runs, values):
        found["seed"] = str(run.facts["seed"])
        found["world"] = str(run.facts["world"])
    keys = [key for key in dict.fromkeys(key for found in values for key in found) if key not in ("name", "summary")]
    rows = [(key, [found.get(key, "–") for found in values]) for key in keys]
    return [(key, row) for key, row in rows if len(set(row)) > 1]


def _kinds(judged: Sequence[Record]) -> list[str]:
    """Negatives on which some run was judged, in the report's order."""
    order = [*(kind for kind in KINDS if kind not in HARD), "hard"]
    return [kind for kind in order if any(kind in _energies(run) for run in judged)]


def _energies(run: Record) -> Mapping[str, KindFigures]:
    assert run.judgement is not None
    return run.judgement.energy.kinds


def _pictures(runs: Sequence[Record], judged: Sequence[Record]) -> dict[str, Any]:
    """Every SVG of the page, by name."""
    names = [run.name for run in runs]
    aucs = {run.name: {kind: found.auc["model"] for kind, found in _energies(run).items()} for run in judged}
    rollouts = {run.name: run.judgement.rollout for run in judged if run.judgement and run.judgement.rollout.steps}
    curves: dict[str, str] = {}
    for stage in dict.fromkeys(stage for run in runs for stage in run.stages):
        entries = {run.name: run.stages.get(stage, []) for run in runs}
        terms = {key for lines in entries.values() for line in lines for key, value in line.items()
                 if isinstance(value, int | float)} - NO_TERM  # fmt: skip
        for term in sorted(terms, key=lambda name: (name != "loss", name)):
            lines = {
                name: ([e["step"] for e in found if term in e], [e[term] for e in found if term in e])
                for name, found in entries.items()
            }
            if any(len(steps) > 1 for steps, _ in lines.values()):
                curves[f"{stage}: {term.replace('_', ' ')}"] = draw.curves(names, lines)
    return {
        "aucs": draw.aucs(names, aucs, _kinds(judged)) if aucs else "",
        "rollout": draw.rollout(names, rollouts) if rollouts else "",
        "curves": curves,
    }
