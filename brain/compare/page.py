"""``compare.html``: runs side by side, from the figures, curves and films that their folders hold."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2

from brain import recipes
from brain.compare import drawing as draw
from brain.judge.figures import title
from brain.judge.negatives import HARD, KINDS
from brain.judge.summary import figure_text
from brain.recipes.schema import Recipe
from brain.run import Run, write_whole
from shared.errors import TinyJEPAError

FILM_BYTES = 20 << 20
"""A larger film is left out of the page, which holds all of them."""
NO_TERM = {"step", "time", "seconds", "lr"}
"""Numbers of ``metrics.jsonl`` that are not drawn."""


@dataclass(frozen=True)
class Contender:
    """What one run folder holds."""

    name: str
    recipe: Recipe
    facts: dict[str, Any]
    """``run.json``"""
    judgement: dict[str, Any] | None
    """``judge.json``; None where it was not judged"""
    stages: Mapping[str, Sequence[Mapping[str, Any]]]
    """the lines of ``metrics.jsonl`` by stage"""
    film: str | None
    """``forecast.mp4`` as a data address"""


def read_run(path: Path, name: str) -> Contender:
    """A run by its folder. Raises ``TinyJEPAError`` for a folder that is none, and for a damaged ``judge.json``."""
    run = Run(path)
    recipe, facts = run.recipe(), run.facts()
    judgement = None
    if run.judgement.exists():
        try:
            judgement = json.loads(run.judgement.read_text(encoding="utf-8"))
            judgement["headline"], judgement["energy"]["kinds"], judgement["rollout"]["steps"]
        except (ValueError, KeyError, TypeError) as error:
            raise TinyJEPAError(f"{run.judgement} is damaged ({error!r}): make it again with brain judge") from None
    film = path / "forecast.mp4"
    shown = film.is_file() and film.stat().st_size <= FILM_BYTES
    address = f"data:video/mp4;base64,{base64.b64encode(film.read_bytes()).decode()}" if shown else None
    return Contender(name, recipe, facts, judgement, read_metrics(path / "metrics.jsonl"), address)


def read_metrics(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of a ``metrics.jsonl`` by stage, without what a kill cut short; none where there is no file."""
    stages: dict[str, list[dict[str, Any]]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        stages.setdefault(entry["stage"], []).append(entry)
    return stages


def write_comparison(paths: Sequence[Path], out: Path) -> None:
    """Write the page of the runs to ``out``, whole or not at all. Raises what ``read_run`` raises."""
    short = [path.resolve().name for path in paths]
    names = short if len(set(short)) == len(short) else [str(path) for path in paths]
    runs = [read_run(path, name) for path, name in zip(paths, names)]
    judged = [run for run in runs if run.judgement]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters["figure"] = figure_text
    environment.filters["title"] = title
    page = environment.get_template("compare.html").render(
        runs=runs,
        judged=judged,
        colours=dict(zip(names, draw.palette(len(names)))),
        worlds=sorted({run.facts["world"] for run in runs}),
        headline=headline(runs),
        differences=differences(runs),
        kinds=_kinds(judged),
        pictures=_pictures(runs, judged),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, page)


def headline(runs: Sequence[Contender]) -> list[dict[str, Any]]:
    """The rows of the first table: label, floor's name, and per run its value, its floor and whether it is the best.

    Nothing is best among runs of different worlds.
    """
    rows: dict[str, dict[str, Any]] = {}
    for run in runs:
        for key, item in (run.judgement["headline"] if run.judgement else {}).items():
            row = rows.setdefault(key, {"label": item["label"], "cells": {}})
            row["cells"][run.name] = {"value": item["value"], "floor": item["floor"], "best": False}
    one_world = len({run.facts["world"] for run in runs}) == 1
    for key, row in rows.items() if one_world else ():
        known = [c for c in row["cells"].values() if c["value"] is not None and math.isfinite(c["value"])]
        if len(known) > 1 and key != "effective_rank":
            best = (min if key.endswith("nmse") else max)(cell["value"] for cell in known)
            for cell in known:
                cell["best"] = cell["value"] == best
    return list(rows.values())


def differences(runs: Sequence[Contender]) -> list[tuple[str, list[str]]]:
    """Keys of the recipes, and the seed, whose values differ, with the value of each run."""
    values = [{key: str(value) for key, value, _ in recipes.explain(run.recipe)} for run in runs]
    for run, found in zip(runs, values):
        found["seed"] = str(run.facts["seed"])
        found["world"] = str(run.facts["world"])
    keys = [key for key in values[0] if key not in ("name", "summary")]
    rows = [(key, [found.get(key, "–") for found in values]) for key in keys]
    return [(key, row) for key, row in rows if len(set(row)) > 1]


def _kinds(judged: Sequence[Contender]) -> list[str]:
    """Kinds of impossible futures that some run was judged on, in the report's order."""
    order = [*(kind for kind in KINDS if kind not in HARD), "hard"]
    return [kind for kind in order if any(kind in _energies(run) for run in judged)]


def _energies(run: Contender) -> Mapping[str, Any]:
    assert run.judgement is not None
    kinds: Mapping[str, Any] = run.judgement["energy"]["kinds"]
    return kinds


def _pictures(runs: Sequence[Contender], judged: Sequence[Contender]) -> dict[str, Any]:
    """Every SVG of the page, by name."""
    names = [run.name for run in runs]
    aucs = {run.name: {kind: found["auc"]["model"] for kind, found in _energies(run).items()} for run in judged}
    rollouts = {
        run.name: run.judgement["rollout"] for run in judged if run.judgement and run.judgement["rollout"]["steps"]
    }
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
