"""The figures of a judgement that need the model: drawn when it is judged, and stored as ``judge-pictures.json``."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

from brain.data.sampling import spread
from brain.data.states import States
from brain.evaluation.energies import Pairs
from brain.evaluation.judge import Evidence, assess, keep
from brain.evaluation.negatives import HARD
from brain.evaluation.timeline import watch
from brain.models.world_model import WorldModel
from brain.reports import figures as draw
from brain.reports.report import write_report
from brain.reports.violations import drawable
from brain.runs.folder import Run, write_whole
from brain.runs.judgement import BASELINES, UPPER_BOUND
from shared.store.reader import Store

PANELS = ("teleport", "far", "near", "frozen", "reversed", "wrong-action-1", "wrong-action-4")
"""Kinds with a histogram and a ROC curve; ``near`` pools all shifts."""

PLANE_POINTS = 3000


def judge(model: WorldModel, store: Store, run: Run, *, quiet: bool = False, seed: int = 0) -> dict[str, Any]:
    """Judge a trained model on its store's held-out episodes: ``judge.json``, its pictures and the report.

    Returns the content of ``judge.json``. Raises what ``assess`` raises; nothing is written then.
    """
    figures, evidence = assess(model, store, quiet=quiet, seed=seed)
    write_whole(run.pictures, json.dumps(pictures(store, figures, evidence)) + "\n")
    keep(run, figures)
    write_report(run.path, run.report)
    return figures


def pictures(store: Store, figures: Mapping[str, Any], evidence: Evidence) -> dict[str, Any]:
    """SVGs by name: ``timeline``, ``kinds`` (by panel), ``planes``, ``strips`` (by violation); and what it is of."""
    line = watch(
        store, evidence.test, evidence.latents, evidence.dynamics, evidence.form, evidence.seed, evidence.device
    )
    threshold = figures["energy"]["validation"][evidence.form]["thresholds"][1]
    found = {
        "timeline": draw.timeline(line, threshold, store.spec.control_rate),
        "kinds": {kind: draw.kind_panel(pairs) for kind, pairs in _panels(evidence).items()},
        "planes": _planes(States.of(store.spec), evidence),
        "strips": drawable(evidence.strips),
        "episode": line.episode,
        "injected": len(line.injected),
    }
    return {name: _apart(value) for name, value in found.items()}


def _apart(value: Any) -> Any:
    """A picture whose ids differ from those drawn by other processes."""
    if isinstance(value, str):
        return re.sub(r'(id="|href="#|url\(#)', r"\1judged-", value)
    if isinstance(value, dict):
        return {key: _apart(item) for key, item in value.items()}
    return [_apart(item) for item in value] if isinstance(value, list) else value


def _panels(evidence: Evidence) -> dict[str, dict[str, Pairs]]:
    """Per panel the energies by scorer; the chosen form of the model's energy is ``model``.

    Without scorers whose energies are not finite, such as a baseline that diverged, and without panels of such a model.
    """
    result = {}
    for panel in PANELS:
        pooled = [evidence.scored[k] for k in (HARD if panel == "near" else (panel,)) if k in evidence.scored]
        if not pooled:
            continue
        found = {
            shown: Pairs(
                np.concatenate([scorers[name].true for scorers in pooled]),
                np.concatenate([scorers[name].impossible for scorers in pooled]),
            )
            for shown, name in {"model": evidence.form, **{n: n for n in (*BASELINES, UPPER_BOUND)}}.items()
            if name in pooled[0]
        }
        finite = {name: pairs for name, pairs in found.items() if np.isfinite([*pairs.true, *pairs.impossible]).all()}
        if "model" in finite:
            result[panel] = finite
    return result


def _planes(states: States, evidence: Evidence) -> list[str]:
    """The latents' principal plane, once per headline state that is not an angle; none of latents that never vary."""
    flat = evidence.test.observed()
    flat = flat[spread(len(flat), PLANE_POINTS)]
    latents = evidence.latents[evidence.test.at(flat)].reshape(len(flat), -1).astype(np.float64)
    if (latents == latents[0]).all():
        return []
    few = min(latents.shape) <= 2
    components = PCA(min(2, *latents.shape), svd_solver="full" if few else "arpack", random_state=0).fit(latents)
    plane = components.transform(latents)
    if plane.shape[1] < 2:
        return []
    explained = [float(share) for share in components.explained_variance_ratio_]
    straight = [name for name in states.names if name not in states.angles]
    shown = [name for name in states.headline if name in straight] or straight[:2]
    return [draw.plane(plane, evidence.test.state[flat, states.names.index(name)], name, explained) for name in shown]
