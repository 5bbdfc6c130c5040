"""``report.html``: the results of a run so far on one page, with the commands for missing parts.

Nothing is computed here: figures and pictures come from the run folder.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brain import recipes
from brain.evaluation.negatives import HARD, KINDS
from brain.reports import figures
from brain.reports import probe_figures as draw
from brain.reports.curves import COLLAPSE, training_pictures
from brain.reports.page import render
from brain.reports.style import LABELS
from brain.reports.variation_table import rows as variation_rows
from brain.runs.figures import Record, damaged, read_run
from brain.runs.folder import Run, write_whole
from brain.runs.judgement import BASELINES, UPPER_BOUND, KindFigures
from shared.errors import TinyJEPAError
from shared.worlds import world_class

COLLAPSED_RANK, COLLAPSED_STD = 2.0, 0.02
"""An effective rank or a mean standard deviation below these is called collapsed."""


@dataclass(frozen=True)
class Part:
    """A part of a run that a command makes."""

    name: str
    done: str
    """description of the result; empty if it is missing"""
    command: str
    """command that makes it; empty if it is there"""
    gives: str
    """description of what this page shows"""


def write_report(path: Path, out: Path) -> list[Part]:
    """Write the page of the run at ``path`` to ``out``, whole or not at all; returns the parts of the run.

    Raises what ``read_run`` raises, and ``TinyJEPAError`` where ``out`` cannot be written.
    """
    run = read_run(path, path.resolve().name)
    listed = parts(run)
    judged = run.judgement
    kinds = judged.energy.kinds if judged else {}
    scorers = [name for name in ("model", *BASELINES, UPPER_BOUND) if any(name in kind.auc for kind in kinds.values())]
    page = render(
        Path(__file__).parent / "report.html",
        run=run,
        parts=listed,
        need={part.name: part.command for part in listed},
        pictures=pictures(run),
        drawn=judged_pictures(path) if judged else None,
        collapse=collapse(run),
        judged=judged,
        subset=world_class(run.facts["world"]).typical,
        headline_states=world_class(run.facts["world"]).headline_states,
        probes=_probe_rows(run),
        kinds=_kinds(kinds),
        varied={name: variation_rows(factor) for name, factor in judged.variation.items()} if judged else {},
        scorers=scorers,
        hard=HARD,
        labels=LABELS,
        recipe_rows=list(recipes.explain(run.recipe)),
        recipe_text=recipes.dump(run.recipe),
        changed=changed(run),
        commands=commands(run),
    )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(out, page)
    except OSError as error:
        raise TinyJEPAError(f"cannot write {out} ({error.strerror}): give another --out") from None
    return listed


def parts(run: Record) -> list[Part]:
    """Encoder, predictor, judgement, probe, dream and, where somebody acts, plan: what there is of each, or the command
    that makes it."""
    made = commands(run)
    trained = run.finished("encoder") and run.finished("predictor")
    found = []
    for stage, gives in (("encoder", "latents and curves"), ("predictor", "forecasts and curves")):
        reached = f"{run.steps(stage):,} steps" if run.finished(stage) else ""
        found.append(Part(stage, reached, "" if reached else made["train"], gives))
    for name, there, gives in (
        ("judge", run.judgement, "energies, baselines, upper bound, calibration"),
        ("probe", run.probe, "what the latent knows, and its picture"),
        ("dream", run.dream, "a video of decoded forecasts, and their error"),
        ("plan", run.plan, "how well an agent acts that imagines with this model"),
    ):
        if name == "plan" and run.facts["action_dim"] == 0:
            continue
        done = "" if there is None else "figures" + (" and video" if name == "dream" and run.video else "")
        need = made[name] if trained else f"{made['train']}\n{made[name]}"
        found.append(Part(name, done, "" if done else need, gives))
    return found


def commands(run: Record) -> dict[str, str]:
    """The command line of every part; custom recipes are read from the run folder."""
    folder = shlex.quote(str(run.path))
    stock = run.recipe.name in recipes.names() and not changed(run)
    recipe = run.recipe.name if stock else shlex.quote(str(run.path / "recipe.toml"))
    store = shlex.quote(str(run.facts["store"]))
    train = f"brain train --store {store} --run {folder} --recipe {recipe} --seed {run.facts['seed']}"
    flags = run.facts.get("flags")
    if isinstance(flags, list) and flags:
        train += " " + shlex.join(map(str, flags))
    return {"train": train} | {name: f"brain {name} --run {folder}" for name in ("judge", "probe", "dream", "plan")}


def changed(run: Record) -> dict[str, Any]:
    """Keys that differ from the stock recipe of the same name, with the stock value; empty without one."""
    if run.recipe.name not in recipes.names():
        return {}
    stock = recipes.load(run.recipe.name)
    if not stock.world:  # a recipe for any world; a run knows its own
        stock = stock.model_copy(update={"world": run.recipe.world})
    return {key: was for key, _, was in recipes.differences(run.recipe, stock)}


def collapse(run: Record) -> dict[str, Any] | None:
    """Effective rank and standard deviation at the last line of the encoder's training, and whether that is collapse.

    None where the encoder has logged none.
    """
    lines = [
        line for line in run.stages.get("encoder", []) if all(isinstance(line.get(k), float | int) for k in COLLAPSE)
    ]
    if not lines:
        return None
    rank, std = lines[-1]["effective_rank"], lines[-1]["embedding_std"]
    sound = math.isfinite(rank) and math.isfinite(std) and rank >= COLLAPSED_RANK and std >= COLLAPSED_STD
    return {"rank": rank, "std": std, "dim": dimensions(run), "step": lines[-1]["step"], "collapsed": not sound}


def dimensions(run: Record) -> int:
    """How many numbers the effective rank is of: a vector's, those of a grid's cell, or of the vector beside a grid."""
    return run.recipe.encoder.dim * int(getattr(run.recipe.encoder, "registers", 1))


def judged_pictures(path: Path) -> dict[str, Any] | None:
    """Figures drawn by ``brain judge``; None if an earlier version judged. Raises ``TinyJEPAError`` if damaged."""
    file = Run(path).pictures
    if not file.exists():
        return None
    try:
        found: Any = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not {"timeline", "kinds", "planes", "episode", "injected"} <= found.keys():
            raise ValueError("pictures are missing")
        return found
    except (ValueError, RecursionError) as error:
        raise damaged(file, error, f"make it again with brain judge --run {path}") from None


def pictures(run: Record) -> dict[str, Any]:
    """Every SVG of the page that figures give, by name; empty where the run has nothing for it."""
    found: dict[str, Any] = dict.fromkeys(
        ("summary", "shifts", "calibration", "rollout", "probes", "judged_probes", "dream"), ""
    )
    found["curves"] = training_pictures(run.stages, dimensions(run))
    if run.judgement:
        energy, rate = run.judgement.energy, float(run.judgement.store.get("control_rate", 1.0))
        kinds, shown = energy.kinds, _kinds(energy.kinds)
        main = [kind for kind in shown if kind not in HARD]
        if main:
            found["summary"] = figures.summary(kinds)
            found["calibration"] = draw.calibration(kinds, main, energy.false_alarm_target)
        if "hard" in kinds:
            found["shifts"] = figures.shifts(kinds, rate)
        if run.judgement.rollout.steps:
            found["rollout"] = figures.rollout(run.judgement.rollout, run.recipe.observation.stride / rate)
        probes = run.judgement.probes
        found["judged_probes"] = {domain: figures.probes(probes[domain]) for domain in reversed(probes)}
    if run.probe:
        found["probes"] = draw.probes(run.probe.scores)
    if run.dream:
        found["dream"] = draw.dream(run.dream)
    return found


def _kinds(kinds: Mapping[str, KindFigures]) -> list[str]:
    """Negatives that were judged, in the report's order."""
    order = [*(kind for kind in KINDS if kind not in HARD), "hard", *HARD]
    return [kind for kind in order if kind in kinds]


def _probe_rows(run: Record) -> list[dict[str, Any]]:
    """Per state: R2 by representation, and the linear probe's error beside the mean's, in the state's unit."""
    if run.probe is None:
        return []
    scores = run.probe.scores
    spaces = [space for space in ("linear", "mlp", "random-encoder", "pca", "pixels", "supervised") if space in scores]
    means = scores.get("mean", {})
    return [
        {
            "state": state,
            "r2": {space: scores[space][state].r2 if state in scores[space] else None for space in spaces},
            "rmse": score.rmse,
            "mean_rmse": means[state].rmse if state in means else None,
        }
        for state, score in scores["linear"].items()
    ]
