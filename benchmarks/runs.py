"""Metrics of several judged runs of one recipe in one table: mean [min-max] over the runs, baselines and upper bound.

python -m benchmarks.runs runs/demo-0 runs/demo-1 runs/demo-2
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

KINDS = ("teleport", "far", "hard", "near-4", "near+4", "frozen", "reversed", "wrong-action-1", "wrong-action-4")
SCORERS = ("model", "plain", "pixel", "no-predictor", "random-encoder", "state-oracle")
SPACES = ("model", "pca", "random-encoder")
STATES = ("lateral_offset", "heading_error", "forward_speed", "lateral_speed", "angular_velocity", "wheel_angle")


def cell(runs: Sequence[dict[str, Any]], figure: Callable[[dict[str, Any]], float | None], digits: int) -> str:
    """Mean [min-max] over the runs, or a dash where a run has no such figure."""
    values = [figure(run) for run in runs]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        return "–"
    return f"{sum(known) / len(known):.{digits}f} [{min(known):.{digits}f}–{max(known):.{digits}f}]"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        typer.echo("| " + " | ".join(row) + " |")
    typer.echo("")


def main(folders: Annotated[list[Path], typer.Argument(exists=True)]) -> None:
    runs = [json.loads((folder / "judge.json").read_text()) for folder in folders]
    splits = [{name: part["episodes"] for name, part in run["data"].items()} for run in runs]
    typer.echo(f"{len(runs)} runs of recipe {runs[0]['recipe']['name']}; episodes: {splits}\n")
    typer.echo("AUC, true next observation against the impossible one (test episodes)\n")
    table(
        ["kind", *SCORERS],
        [
            [kind, *(cell(runs, lambda r, k=kind, a=a: r["energy"]["kinds"][k]["auc"].get(a), 4) for a in SCORERS)]
            for kind in KINDS
        ],
    )
    typer.echo("Per-pair accuracy\n")
    table(
        ["kind", *SCORERS],
        [
            [
                kind,
                *(
                    cell(runs, lambda r, k=kind, a=a: r["energy"]["kinds"][k]["pair_accuracy"].get(a), 3)
                    for a in SCORERS
                ),
            ]
            for kind in ("teleport", "hard", "wrong-action-4")
        ],
    )
    if all("driving" in run.get("probes", {}) for run in runs):
        typer.echo("R2 of linear probes, driving rows\n")
        table(
            ["state", *SPACES],
            [
                [name, *(cell(runs, lambda r, n=name, s=s: r["probes"]["driving"][s].get(n), 3) for s in SPACES)]
                for name in STATES
            ],
        )
    steps = runs[0]["rollout"]["steps"]
    typer.echo("Rollout error (nMSE; the mean of the latents gives 1)\n")
    table(
        ["model steps", "model", "persistence"],
        [
            [f"{step:g}", *(cell(runs, lambda r, i=i, w=w: r["rollout"][w][i], 3) for w in ("model", "persistence"))]
            for i, step in enumerate(steps)
        ],
    )
    rank = cell(runs, lambda r: r["latent"]["effective_rank"], 1)
    std = cell(runs, lambda r: r["latent"]["embedding_std"], 2)
    alarms = cell(runs, lambda r: r["energy"]["kinds"]["teleport"]["false_alarm_rate"], 3)
    found = cell(runs, lambda r: r["energy"]["kinds"]["teleport"]["detection_rate"], 3)
    typer.echo(f"Effective rank {rank} of {runs[0]['latent']['dim']}, embedding std {std}; at the threshold calibrated")
    typer.echo(f"on validation episodes: false alarms {alarms}, teleports found {found}.")


if __name__ == "__main__":
    typer.run(main)
