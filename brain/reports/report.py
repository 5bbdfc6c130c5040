"""``report.html``: one self-contained page that says what a run learned, and how we know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brain import recipes
from brain.data.states import ANGLES
from brain.evaluation.baselines import Fitted
from brain.evaluation.energies import Form, Pairs
from brain.evaluation.episodes import Embedded
from brain.evaluation.negatives import HARD, KINDS
from brain.evaluation.summary import CEILING, FLOORS
from brain.evaluation.timeline import Timeline, watch
from brain.evaluation.violations import Strip
from brain.recipes.schema import Recipe
from brain.reports import figures as draw
from brain.reports.curves import training_pictures
from brain.reports.page import render
from brain.reports.style import LABELS
from brain.reports.violations import drawable
from brain.runs.figures import read_metrics
from brain.runs.folder import write_whole
from shared.store.reader import Store

PLANE_STATES = ("forward_speed", "lateral_offset", "angular_velocity")
"""States that colour the latent plane; a world without them shows its first two."""

PANELS = ("teleport", "far", "near", "frozen", "reversed", "wrong-action-1", "wrong-action-4")
"""Kinds with a histogram and a ROC curve; ``near`` pools all shifts."""

PLANE_POINTS = 3000


@dataclass(frozen=True)
class Evidence:
    """What the report draws, beyond the figures of ``judge.json``."""

    test: Embedded
    latents: np.ndarray
    """standardised test latents, flat over the table's rows, (rows, D)"""
    rated: Mapping[str, Mapping[str, Pairs]]
    """test energies: kind, then rater"""
    dynamics: Fitted
    form: Form
    """the chosen energy"""
    device: torch.device
    strips: Sequence[Strip] = ()
    """one pair of each violation"""


def write_report(run: Path, store: Store, figures: Mapping[str, Any], evidence: Evidence) -> None:
    """Draws everything and writes ``report.html`` into the run folder, whole or not at all."""
    recipe = Recipe.model_validate(figures["recipe"])
    line = watch(
        store, evidence.test, evidence.latents, evidence.dynamics, evidence.form, figures["seed"], evidence.device
    )
    order = [*(kind for kind in KINDS if kind not in HARD), "hard", *HARD]
    page = render(
        Path(__file__).parent / "report.html",
        f=figures,
        spec=store.spec,
        recipe=recipe,
        recipe_text=recipes.dump(recipe),
        store=store,
        run=run,
        line=line,
        pictures=_pictures(run, store, figures, evidence, line),
        raters=["model", *FLOORS, *([CEILING] if store.spec.state_names else [])],
        kinds=[kind for kind in order if kind in figures["energy"]["kinds"]],
        hard=HARD,
        labels=LABELS,
        violation_baselines=list(next(iter(figures.get("violations", {}).values()), {}).get("baselines", ())),
    )  # fmt: skip
    write_whole(run / "report.html", page)


def _pictures(
    run: Path, store: Store, figures: Mapping[str, Any], evidence: Evidence, line: Timeline
) -> dict[str, Any]:
    """Every SVG of the page, by name."""
    energy = figures["energy"]
    names = store.spec.state_names
    threshold = energy["validation"][evidence.form]["thresholds"][1]
    step = evidence.test.timing.stride / store.spec.control_rate
    pictures: dict[str, Any] = {
        "timeline": draw.timeline(line, threshold, store.spec.control_rate),
        "summary": draw.summary(energy["kinds"]),
        "shifts": draw.shifts(energy["kinds"], store.spec.control_rate) if "hard" in energy["kinds"] else "",
        "kinds": {kind: draw.kind_panel(pairs) for kind, pairs in _panels(evidence).items()},
        "planes": _planes(names, evidence),
        "rollout": draw.rollout(figures["rollout"], step) if figures["rollout"]["steps"] else "",
        "curves": training_pictures(read_metrics(run / "metrics.jsonl"), figures["latent"]["dim"]),
    }
    pictures["strips"] = drawable(evidence.strips)
    if "probes" in figures:
        pictures["probes"] = {name: draw.probes(scores) for name, scores in reversed(figures["probes"].items())}
    return pictures


def _panels(evidence: Evidence) -> dict[str, dict[str, Pairs]]:
    """Per panel the energies by rater; the chosen form of the model's energy is ``model``."""
    result = {}
    for panel in PANELS:
        pooled = [evidence.rated[k] for k in (HARD if panel == "near" else (panel,)) if k in evidence.rated]
        if not pooled:
            continue
        result[panel] = {
            shown: Pairs(
                np.concatenate([raters[name].true for raters in pooled]),
                np.concatenate([raters[name].impossible for raters in pooled]),
            )
            for shown, name in {"model": evidence.form, **{n: n for n in (*FLOORS, CEILING)}}.items()
            if name in pooled[0]
        }
    return result


def _planes(names: tuple[str, ...], evidence: Evidence) -> list[str]:
    """The latents' principal plane, once per state."""
    at = evidence.test.observed()
    at = at[np.linspace(0, len(at) - 1, min(len(at), PLANE_POINTS)).astype(int)]
    latents = evidence.latents[at].astype(np.float64)
    centred = latents - latents.mean(0)
    eigenvalues, vectors = np.linalg.eigh(centred.T @ centred)
    plane = centred @ vectors[:, -2:][:, ::-1]
    explained = eigenvalues[::-1][:2] / eigenvalues.sum()
    shown = [name for name in PLANE_STATES if name in names] or [n for n in names if n not in ANGLES][:2]
    return [
        draw.plane(plane, evidence.test.state[at, names.index(name)], name, [float(share) for share in explained])
        for name in shown
    ]
