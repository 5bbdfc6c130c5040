"""Recipes of run folders that were made before every part had its own options."""

from __future__ import annotations

from typing import Any

FLAT = {
    "encoder": ("depth", "patch", "tubelet", "checkpointing"),
    "objective": (
        "rollout", "target", "momentum", "momentum_end", "regularise", "temporal_similarity", "inverse_dynamics",
        "augmentations", "clip", "masks", "standardise", "predictor",
    ),
}  # fmt: skip
"""Keys that every recipe had, whatever its encoder and views; what these did not read was at its default."""


def is_earlier(tree: dict[str, Any]) -> bool:
    """Whether a recipe was written out in that form: whole, with keys that its views do not read, and without world."""
    objective = tree.get("objective")
    whole = isinstance(objective, dict) and {"rollout", "augmentations", "predictor", "steps"} <= objective.keys()
    return whole and "world" not in tree


def without_dead_keys(tree: dict[str, Any], known: dict[str, set[str]]) -> dict[str, Any]:
    """The recipe less the keys of ``FLAT`` that are not among those ``known`` to each section's part."""
    return {
        name: {key: value for key, value in section.items() if key in known[name] or key not in FLAT[name]}
        if name in FLAT and isinstance(section, dict)
        else section
        for name, section in tree.items()
    }
