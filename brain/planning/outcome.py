"""Outcomes of a task's episodes: success rates with intervals, scores, costs of decisions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from brain.planning.agent import Decision
from brain.runs.intervals import wilson
from shared.worlds.tasks import Reach, Score


def rate(successes: Sequence[bool]) -> dict[str, float]:
    """``rate`` with ``low`` and ``high``, its Wilson interval of 95 %, ``count`` and ``episodes``."""
    n, k = len(successes), int(sum(successes))
    if n == 0:
        return {"rate": math.nan, "low": 0.0, "high": 1.0, "count": 0, "episodes": 0}
    low, high = wilson(k / n, n)
    return {"rate": k / n, "low": low, "high": high, "count": k, "episodes": n}


def reached(distances: np.ndarray, radius: float, hold: int) -> dict[str, bool]:
    """Of an episode's distances to the goal (T,), one for each frame after the first: ``at_end``, ``ever``, and
    ``held`` for ``hold`` frames in a row."""
    near = np.concatenate([[0], distances < radius, [0]]).astype(int)
    edges = np.flatnonzero(np.diff(near))
    runs = edges[1::2] - edges[::2]
    return {
        "at_end": bool(len(distances)) and bool(near[-2]),
        "ever": len(runs) > 0,
        "held": bool((runs >= hold).any()),
    }


def successes(task: Reach, distances: Sequence[np.ndarray], radius: float) -> dict[str, Any]:
    """``at_end``, ``ever`` and ``held`` over episodes, each a ``rate``."""
    each = [reached(path, radius, task.hold) for path in distances]
    return {name: rate([one[name] for one in each]) for name in ("at_end", "ever", "held")}


def reach_figures(task: Reach, distances: Sequence[np.ndarray], groups: Sequence[str]) -> dict[str, Any]:
    """``success`` at the radius that counts, ``radii`` at every one, and ``groups`` apart at every one."""
    figures: dict[str, Any] = {
        "radius": task.radii[0],
        "unit": task.unit,
        "hold": task.hold,
        "success": successes(task, distances, task.radii[0]),
        "radii": {f"{radius:g}": successes(task, distances, radius) for radius in task.radii},
        "groups": {},
    }
    for group in dict.fromkeys(groups):
        own = [path for path, name in zip(distances, groups) if name == group]
        figures["groups"][group] = {f"{radius:g}": successes(task, own, radius) for radius in task.radii}
    return figures


def score_figures(task: Score, scores: Sequence[float]) -> dict[str, Any]:
    """``score``: ``mean`` and ``std`` over episodes, and ``solved``, the share that reaches the task's threshold."""
    solved = None if task.solved is None else rate([score >= task.solved for score in scores])
    return {
        "score": {
            "mean": float(np.mean(scores)),
            "std": float(np.std(scores)),
            "least": float(np.min(scores)),
            "most": float(np.max(scores)),
            "solved_from": task.solved,
            "solved": solved,
        }
    }


def decision_figures(decisions: Sequence[Sequence[Decision]]) -> dict[str, Any]:
    """Seconds and predictor steps per decision and per episode, of ``episodes``; empty for agents that make none."""
    every = [decision for episode in decisions for decision in episode]
    if not every:
        return {}
    steps = [one.predictor_steps for one in every]

    def spent(seconds: Sequence[float]) -> dict[str, float]:
        return {
            "mean": float(np.mean(seconds)),
            "median": float(np.median(seconds)),
            "most": float(np.max(seconds)),
            "episode": float(np.sum(seconds)) / len(decisions),
        }

    return {
        "episodes": len(decisions),
        "decisions": len(every),
        "seconds": spent([one.seconds for one in every]),
        "core_seconds": spent([one.core_seconds for one in every]),
        "predictor_steps": {"mean": float(np.mean(steps)), "episode": float(np.sum(steps)) / len(decisions)},
    }
