"""Forecasts of the state by horizon, several runs of one recipe together: mean [min-max], baselines beside them.

    python -m benchmarks.forecasts runs/car-0 runs/car-1 runs/car-2
    python -m benchmarks.forecasts runs/car-0 --state lateral_offset --state wheel_angle

Reads ``judge.json`` of judged runs of one world (``brain.evaluation.state_forecasts``): root mean squared errors of
states read off rollouts by a linear probe, in the states' units. *Probe* reads the true future observation: it bounds
what that probe could say. *True state* is the recipe's predictor fitted to true states. Errors of the model that are
larger than a baseline's are in bold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from brain.runs.figures import judged
from brain.runs.judgement import ForecastFigures, Judgement
from shared.errors import TinyJEPAError

FORECASTERS = {
    "model": "model", "persistence": "persistence", "constant-velocity": "constant velocity",
    "state-oracle": "true state", "probe": "probe",
}  # fmt: skip
BASELINES = ("persistence", "constant-velocity")


def read(folder: Path) -> tuple[Judgement, ForecastFigures]:
    """A judgement and its forecasts. Raises ``TinyJEPAError`` where it has none."""
    judgement = judged(folder)
    if not judgement.forecasts.states:
        raise TinyJEPAError(f"{folder} has no forecasts in its judge.json: run brain judge --run {folder}")
    return judgement, judgement.forecasts


def main_states(judgement: Judgement) -> list[str]:
    """The states that the judgement's main figures are about."""
    return [key.removesuffix("_r2") for key in judgement.headline if key.endswith("_r2")]


def rows(runs: Sequence[ForecastFigures], state: str) -> Iterator[list[str]]:
    """One line of the table for each forecaster of a state; those without any value are left out."""
    steps = runs[0].steps
    errors = {
        who: [[run.states[state][who][at] for run in runs] for at in range(len(steps))]
        for who in FORECASTERS
        if all(who in run.states[state] for run in runs)
    }
    means = {who: [_mean(values) for values in by_step] for who, by_step in errors.items()}
    for who, by_step in errors.items():
        if all(mean is None for mean in means[who]):
            continue
        cells = []
        for at, values in enumerate(by_step):
            text, mean = _cell(values), means[who][at]
            baselines = [known for name in BASELINES if (known := means[name][at]) is not None]
            worse = who == "model" and mean is not None and baselines and mean > min(baselines)
            cells.append(f"**{text}**" if worse else text)
        yield [state.replace("_", " ") if who == "model" else "", FORECASTERS[who], *cells]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    spread = f" [{min(known):.3g}–{max(known):.3g}]" if len(known) > 1 and min(known) < max(known) else ""
    return f"{sum(known) / len(known):.3g}{spread}"


def main(
    folders: Annotated[list[Path], typer.Argument(exists=True)],
    state: Annotated[list[str] | None, typer.Option(help="States to show; default: the main ones.")] = None,
) -> None:
    found = [read(folder) for folder in folders]
    runs = [forecasts for _, forecasts in found]
    head = ["state", "forecast by", *(f"{steps} step" + "s" * (steps > 1) for steps in runs[0].steps)]
    lines = [head, ["---"] * len(head)]
    for name in state or main_states(found[0][0]):
        lines += rows(runs, name)
    for line in lines:
        typer.echo("| " + " | ".join(line) + " |")


if __name__ == "__main__":
    typer.run(main)
