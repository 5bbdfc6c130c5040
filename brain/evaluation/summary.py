"""From energies, latents and states to the figures of ``judge.json``."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brain.evaluation import probes
from brain.evaluation.energies import Form, Pairs
from brain.evaluation.episodes import Embedded
from brain.evaluation.negatives import HARD, KINDS, LONG
from shared.errors import TinyJEPAError, cause
from shared.store.schema import EpisodeRef, Split

FLOORS = ("pixel", "no-predictor", "random-encoder")
"""Raters a trained model has to beat."""

CEILING = "state-oracle"

HEADLINE_STATES = ("lateral_offset", "forward_speed", "angular_velocity")
"""States whose probes are main figures; a world without any of them shows its first two states."""


def data_facts(refs: Mapping[Split, Sequence[EpisodeRef]], used: Mapping[Split, Embedded]) -> dict[str, Any]:
    """Per split: episodes and rows in the store, who drove, and how much of it this judgement used."""
    return {
        split: {
            "episodes": len(episodes),
            "rows": sum(ref.rows for ref in episodes),
            "policies": dict(Counter(ref.policy for ref in episodes).most_common()),
            "used_episodes": len(used[split]),
            "used_observations": int(sum(len(rows) for rows in used[split].sampled)),
        }
        for split, episodes in refs.items()
    }


def energy_figures(
    rated: Mapping[str, Mapping[str, Pairs]], form: Form, thresholds: Mapping[int, float]
) -> dict[str, Any]:
    """AUC and pair accuracy of every kind by every rater, and what the chosen energy's thresholds detect.

    The chosen ``form`` of the model's energy is the rater ``model``.
    """
    kinds: dict[str, Any] = {}
    for kind, raters in rated.items():
        steps = KINDS[kind].steps
        own = raters[form]
        named = {"model": own} | dict(raters)
        kinds[kind] = {
            "summary": KINDS[kind].summary,
            "transitions": len(own.true),
            "steps": steps,
            "auc": {name: pairs.auc for name, pairs in named.items()},
            "pair_accuracy": {name: pairs.pair_accuracy for name, pairs in named.items()},
            "false_alarm_rate": float(np.mean(own.true > thresholds[steps])),
            "detection_rate": float(np.mean(own.impossible > thresholds[steps])),
        }
    near = [kinds[kind] for kind in HARD if kind in kinds]
    if near:
        kinds["hard"] = {
            "summary": "mean of the near kinds",
            "transitions": sum(kind["transitions"] for kind in near),
            "steps": 1,
            **{
                key: {rater: float(np.mean([kind[key][rater] for kind in near])) for rater in near[0][key]}
                for key in ("auc", "pair_accuracy")
            },
            **{key: float(np.mean([kind[key] for kind in near])) for key in ("false_alarm_rate", "detection_rate")},
        }
    return kinds


def probe_figures(
    names: Sequence[str], train: Embedded, validation: Embedded, test: Embedded
) -> dict[str, dict[str, dict[str, float | None]]]:
    """Test R2 of linear probes: domain (``all``, and ``driving`` where the world has a road), features, state.

    Each domain's probes are fitted and tested on its own rows. Validation and test rows are one model step apart.
    """
    features = {"model": "model", "random-encoder": "random", "pca": "pca"}
    tables = {
        "train": (train, train.observed()),
        "validation": (validation, validation.observed(validation.timing.stride)),
        "test": (test, test.observed(test.timing.stride)),
    }
    result: dict[str, dict[str, dict[str, float | None]]] = {"all": {}}
    if probes.driving(names, train.state) is not None:
        result["driving"] = {}
    for shown, latents in features.items():
        rows = {
            name: probes.Rows(t.latents[latents][at].reshape(len(at), -1), t.state[at])
            for name, (t, at) in tables.items()
        }
        for domain, scores in result.items():
            if domain == "driving":
                rows = {name: split.where(_mask(names, split.states)) for name, split in rows.items()}
            enough = min(len(split.states) for split in rows.values()) > 1
            fitted = probes.probe(names, rows["train"], rows["validation"], rows["test"]) if enough else {}
            scores[shown] = {name: fitted.get(name) for name in names}
    for scores in result.values():
        scores["mean"] = dict.fromkeys(names, 0.0)
    return result


def _mask(names: Sequence[str], states: np.ndarray) -> np.ndarray:
    mask = probes.driving(names, states)
    assert mask is not None
    return mask


def main_figures(figures: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The main figures by name: label, value, the best floor's value and name, and whether it is beaten."""
    kinds = figures["energy"]["kinds"]
    result: dict[str, dict[str, Any]] = {}

    def add(key: str, label: str, value: float | None, floor: float | None, name: str, beats: bool | None) -> None:
        result[key] = {"label": label, "value": value, "floor": floor, "floor_name": name, "beats_floor": beats}

    for key, kind, label in (
        ("teleport_auc", "teleport", "AUC, teleport"),
        ("hard_auc", "hard", "AUC, hard (4 to 16 frames off)"),
        ("wrong_action_auc", f"wrong-action-{LONG}", f"AUC, wrong actions for {LONG} steps"),
    ):
        if kind in kinds:
            auc = kinds[kind]["auc"]
            floor = max(FLOORS, key=lambda name: auc[name])
            add(key, label, auc["model"], auc[floor], floor, auc["model"] > auc[floor])
    if "probes" in figures:
        domain = "driving" if "driving" in figures["probes"] else "all"
        scores = figures["probes"][domain]
        names = list(scores["model"])
        for state in [name for name in HEADLINE_STATES if name in names] or names[:2]:
            floor = max(("pca", "random-encoder", "mean"), key=lambda name: scores[name][state] or 0.0)
            label = f"R2 of {state.replace('_', ' ')}" + (", driving" if domain == "driving" else "")
            value, best = scores["model"][state], scores[floor][state]
            add(f"{state}_r2", label, value, best, floor, None if value is None else value > (best or 0.0))
    rollout = figures["rollout"]
    if 4.0 in rollout["steps"]:
        at = rollout["steps"].index(4.0)
        value, best = rollout["model"][at], rollout["persistence"][at]
        add("rollout_4_nmse", "rollout error, 4 steps", value, best, "persistence", value < best)
    latent = figures["latent"]
    add("effective_rank", "effective rank", latent["effective_rank"], latent["dim"], "dimensions", None)
    return result


def headline(run: Path) -> list[str]:
    """The main figures of a judged run, a line each, with the best floor beside."""
    path = run / "judge.json"
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))["headline"].values()
        return [
            f"{item['label']}: {figure_text(item['value'])} ({item['floor_name']}: {figure_text(item['floor'])})"
            for item in figures
        ]
    except FileNotFoundError:
        raise TinyJEPAError(f"{run} is not judged yet: run brain judge --run {run}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TinyJEPAError(f"{path} is damaged ({cause(error)}): run brain judge --run {run} again") from None


def figure_text(value: float | None) -> str:
    """A figure as people read it: three decimals, one more close to 1 (cut, never rounded up), a dash for none."""
    if value is None or not math.isfinite(value):
        return "–"
    if 0.995 <= value < 1:
        return f"{math.floor(value * 1e4) / 1e4:.4f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"
