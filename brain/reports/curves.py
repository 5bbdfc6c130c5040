"""Training curves as SVG, for every page that shows a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from brain.reports import figures as draw

NO_TERM = {"step", "time", "seconds", "lr"}
"""Numbers of ``metrics.jsonl`` that are not drawn."""
COLLAPSE = {"effective_rank": "effective rank", "embedding_std": "embedding std"}
"""Collapse metrics, each with a plot of its own; the rest are terms of the loss."""


def training_pictures(stages: Mapping[str, Sequence[Mapping[str, Any]]], dim: int) -> dict[str, str]:
    """SVGs by title, from the lines of ``metrics.jsonl`` by stage: loss terms, and collapse figures, of every stage.

    ``dim`` is the latent's width, a line in the picture of the effective rank. A stage of one line has no curve.
    """
    pictures = {}
    for stage, entries in stages.items():
        steps = [entry["step"] for entry in entries]
        named = {key for entry in entries for key, value in entry.items() if isinstance(value, int | float)}
        terms = sorted(named - {"loss", *NO_TERM, *COLLAPSE})
        for group, title in ((["loss", *terms], "loss terms"), *(([key], title) for key, title in COLLAPSE.items())):
            lines = {name: [entry.get(name, math.nan) for entry in entries] for name in group if name in named}
            if lines and len(steps) > 1:
                limit = dim if group == ["effective_rank"] else None
                pictures[f"{stage}: {title}"] = draw.curves(steps, lines, log=title == "loss terms", limit=limit)
    return pictures
