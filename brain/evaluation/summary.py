"""From energies, latents and states to the metrics of ``judge.json``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from brain.data.states import States
from brain.evaluation.energies import Form, Pairs
from brain.evaluation.metrics import share_above
from brain.evaluation.negatives import HARD, KINDS, LONG
from brain.evaluation.probes import LinearProbe, score_columns, typical
from brain.evaluation.samples import SPLITS, Samples
from brain.evaluation.violations import own_scenes
from brain.runs.judgement import BASELINES


def data_facts(samples: Samples) -> dict[str, Any]:
    """Per split: episodes and rows in the store, policies, and how much of it this judgement used."""
    used = samples.tables
    return {
        split: {
            "episodes": len(episodes),
            "rows": sum(ref.rows for ref in episodes),
            "policies": dict(Counter(ref.policy for ref in episodes).most_common()),
            "used_episodes": len(used[split]),
            "used_observations": int(sum(len(rows) for rows in used[split].sampled)),
        }
        for split, episodes in samples.refs.items()
    }


def energy_figures(
    scored: Mapping[str, Mapping[str, Pairs]], form: Form, thresholds: Mapping[int, float]
) -> dict[str, Any]:
    """AUC and pair accuracy of every negative by every scorer, and detection rates at the chosen energy's thresholds.

    The chosen ``form`` of the model's energy is the scorer ``model``.
    """
    kinds: dict[str, Any] = {}
    for kind, scorers in scored.items():
        steps = KINDS[kind].steps
        own = scorers[form]
        named = {"model": own} | dict(scorers)
        kinds[kind] = {
            "summary": KINDS[kind].summary,
            "principle": KINDS[kind].principle,
            "transitions": len(own.true),
            "steps": steps,
            "auc": {name: pairs.auc for name, pairs in named.items()},
            "pair_accuracy": {name: pairs.pair_accuracy for name, pairs in named.items()},
            "false_alarm_rate": share_above(own.true, thresholds[steps]),
            "detection_rate": share_above(own.impossible, thresholds[steps]),
        }
    near = [kinds[kind] for kind in HARD if kind in kinds]
    if near:
        kinds["hard"] = {
            "summary": "mean of the near kinds",
            "principle": KINDS[HARD[0]].principle,
            "transitions": sum(kind["transitions"] for kind in near),
            "steps": 1,
            **{
                key: {scorer: float(np.mean([kind[key][scorer] for kind in near])) for scorer in near[0][key]}
                for key in ("auc", "pair_accuracy")
            },
            **{key: float(np.mean([kind[key] for kind in near])) for key in ("false_alarm_rate", "detection_rate")},
        }
    return kinds


def probe_figures(
    states: States, samples: Samples
) -> tuple[dict[str, dict[str, dict[str, float | None]]], LinearProbe | None]:
    """Test R2 of linear probes: domain, features, state. ``samples`` must be embedded by ``representations``.

    With them the model's probe of the last domain, the typical rows where there are any; None for too few rows.

    Domains are ``all`` rows, and the world's typical ones under their label; each domain's probes are fitted and tested
    on its own rows. Validation and test rows are one model step apart.
    """
    subset = states.subset
    result: dict[str, dict[str, dict[str, float | None]]] = {"all": {}}
    kept: LinearProbe | None = None
    if subset:
        result[subset.label] = {}
    for space in ("model", "random-encoder", "pca"):
        rows = [samples.rows(split, space) for split in SPLITS]
        for domain, scores in result.items():
            if subset and domain == subset.label:
                rows = [typical(states, split) for split in rows]
            train, validation, test = rows
            enough = min(len(split.states) for split in rows) > 1
            probe = LinearProbe(states, train, validation) if enough else None
            found = score_columns(states, test.states, probe.predict(test.features)) if probe else {}
            scores[space] = {name: found[name].r2 if name in found else None for name in states.names}
            kept = probe if space == "model" else kept
    for scores in result.values():
        scores["mean"] = dict.fromkeys(states.names, 0.0)
    return result, kept


def why_missing(kind: str, figures: Mapping[str, Any]) -> str:
    """Why a negative has no score, in a few words."""
    episodes = figures["data"]["test"]["used_episodes"]
    if kind.startswith("wrong-action") and not figures["store"]["action_dim"]:
        return "the world has no actions"
    if kind != "hard" and episodes < 2:
        return f"it takes two test episodes, and there is {episodes}"
    if kind.startswith("wrong-action"):
        return f"no two test episodes have {LONG} model steps with other actions"
    return "the test episodes are too short"


def known(figure: float | None) -> bool:
    """Whether there is a figure: a baseline that diverged has NaN, or in ``judge.json`` null."""
    return figure is not None and bool(np.isfinite(figure))


def _best_mean(violations: Mapping[str, Any]) -> tuple[str, float | None]:
    """The baseline with the highest mean AUC over the violations of the run's own scenes, and that mean."""
    found: dict[str, list[float]] = {}
    for violation in (violations[name] for name in own_scenes(violations)):
        for name, scores in violation["baselines"].items():
            if known(scores["auc"]):
                found.setdefault(name, []).append(scores["auc"])
    means = {name: float(np.mean(values)) for name, values in found.items()}
    best = max(means, key=lambda name: means[name], default="")
    return best, means.get(best)


def main_figures(figures: Mapping[str, Any], states: States) -> dict[str, dict[str, Any]]:
    """The main metrics by name: label, value, the best baseline's value and name, and whether it is beaten.

    A figure that this judgement could not compute has the value None and says why as ``missing``.
    """
    kinds = figures["energy"]["kinds"]
    result: dict[str, dict[str, Any]] = {}

    def add(key: str, label: str, value: float | None, best: float | None, name: str, beats: bool | None) -> None:
        result[key] = {
            "label": label, "value": value, "baseline": best, "baseline_name": name, "beats_baseline": beats,
        }  # fmt: skip

    for key, kind, label in (
        ("teleport_auc", "teleport", "AUC, teleport"),
        ("hard_auc", "hard", "AUC, hard (4 to 16 frames off)"),
        ("wrong_action_auc", f"wrong-action-{LONG}", f"AUC, wrong actions for {LONG} steps"),
    ):
        if kind in kinds:
            auc = kinds[kind]["auc"]
            best = max((name for name in BASELINES if known(auc[name])), key=lambda name: auc[name])
            add(key, label, auc["model"], auc[best], best, auc["model"] > auc[best])
        else:
            add(key, label, None, None, "", None)
            result[key]["missing"] = why_missing(kind, figures)
    if "violations_mean" in figures:
        best, baseline = _best_mean(figures["violations"])
        value = figures["violations_mean"]["auc"]
        beats = None if value is None or baseline is None else value > baseline
        add("violations_auc", "AUC, violations (mean)", value, baseline, best, beats)
    if "probes" in figures:
        domain = states.subset.label if states.subset else "all"
        scores = figures["probes"][domain]
        for state in states.headline:
            best = max(("pca", "random-encoder", "mean"), key=lambda name: scores[name][state] or 0.0)
            label = f"R2 of {state.replace('_', ' ')}" + (f", {domain}" if states.subset else "")
            value, baseline = scores["model"][state], scores[best][state]
            add(f"{state}_r2", label, value, baseline, best, None if value is None else value > (baseline or 0.0))
    rollout = figures["rollout"]
    if 4.0 in rollout["steps"]:
        at = rollout["steps"].index(4.0)
        value, baseline = rollout["model"][at], rollout["persistence"][at]
        add("rollout_4_nmse", "rollout error, 4 steps", value, baseline, "persistence", value < baseline)
    latent = figures["latent"]
    add("effective_rank", "effective rank", latent["effective_rank"], latent["dim"], "dimensions", None)
    return result
