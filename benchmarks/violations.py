"""Violations of expectation, run by run side by side: mean [min-max] over the runs of each group.

    python -m benchmarks.violations runs/a-0 runs/a-1 --against runs/b-0 --against runs/b-1

Reads ``judge.json`` of judged runs of one world. Rows: each violation, and the means by principle and over all.
Columns: pairs right and AUC of the runs, the best baseline's AUC, the upper bound's, and the same two columns of
the runs given with ``--against``. ``--picture FILE`` draws both groups' AUC, a row per violation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from matplotlib.figure import Figure

from brain.runs.figures import read_judgement
from brain.runs.folder import Run
from brain.runs.judgement import Judgement, PairScores
from shared.errors import TinyJEPAError

Pick = Callable[[Judgement], PairScores | None]


def values_of(runs: Sequence[Judgement], pick: Pick, figure: str) -> list[float]:
    """The figure of every run that has it."""
    return [
        value for run in runs if (scores := pick(run)) is not None and (value := getattr(scores, figure)) is not None
    ]


def cell(runs: Sequence[Judgement], pick: Pick, figure: str) -> str:
    """Mean [min-max] over the runs that have the figure, or a dash."""
    values = values_of(runs, pick, figure)
    if not values:
        return "–"
    mean = sum(values) / len(values)
    return f"{mean:.3f}" + (f" [{min(values):.3f}–{max(values):.3f}]" if len(values) > 1 else "")


def best_baseline(runs: Sequence[Judgement], name: str) -> str:
    """The baseline with the highest AUC on average, and that AUC."""
    found: dict[str, list[float]] = {}
    for run in runs:
        for baseline, scores in run.violations[name].baselines.items() if name in run.violations else ():
            if scores.auc is not None:
                found.setdefault(baseline, []).append(scores.auc)
    if not found:
        return "–"
    mean, best = max((sum(values) / len(values), baseline) for baseline, values in found.items())
    return f"{mean:.3f} {best}"


def judged(folders: Sequence[Path]) -> list[Judgement]:
    read = []
    for folder in folders:
        judgement = read_judgement(Run(folder))
        if judgement is None or not judgement.violations:
            raise TinyJEPAError(f"{folder} has no violations in its judge.json: run brain judge --run {folder}")
        read.append(judgement)
    return read


def picture(groups: dict[str, list[Judgement]], path: Path) -> None:
    """A row per violation: the mean AUC of each group with the range over its runs, chance as a dashed line.

    Violations of scenery of other colours (``NAME@colours``) are left out: there the models are near chance.
    """
    first = next(iter(groups.values()))[0]
    names = [name for name in first.violations if "@" not in name]
    figure = Figure(figsize=(6.4, 1.2 + 0.24 * len(names)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0.5, color="0.6", linestyle="--", linewidth=1)
    means = []
    for number, (label, runs) in enumerate(groups.items()):
        found = [values_of(runs, lambda run, n=name: run.violations.get(n), "auc") for name in names]
        rows = [row for row, values in enumerate(found) if values]
        low, middle, high = zip(*((min(found[k]), fmean(found[k]), max(found[k])) for k in rows))
        axes.hlines(rows, low, high, color=f"C{number}", linewidth=5, alpha=0.3)
        axes.plot(middle, rows, "o", color=f"C{number}", label=label, markersize=6)
        means.append(dict(zip(rows, middle)))
    for row in means[0].keys() & means[-1].keys():
        axes.plot((means[-1][row], means[0][row]), (row, row), color="0.75", linewidth=1, zorder=0)
    axes.set_yticks(
        range(len(names)), [f"{name.replace('-', ' ')} ({first.violations[name].principle})" for name in names]
    )
    axes.invert_yaxis()
    axes.set_xlim(-0.02, 1.02)
    axes.set_xlabel("AUC: the impossible clip has the higher energy")
    axes.tick_params(labelsize=8)
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=len(groups))
    figure.savefig(path, dpi=130)


def main(
    folders: Annotated[list[Path], typer.Argument(exists=True)],
    against: Annotated[list[Path] | None, typer.Option(exists=True)] = None,
    drawn: Annotated[Path | None, typer.Option("--picture")] = None,
    labels: Annotated[str, typer.Option(help="Of both groups in the picture, separated by a comma.")] = "runs,other",
) -> None:
    runs, others = judged(folders), judged(against or [])
    if drawn is not None:
        picture(dict(zip(labels.split(","), (runs, others) if others else (runs,))), drawn)
    head = ["violation", "principle", "pairs right", "AUC", "best baseline, AUC", "true state, AUC"]
    head += ["pairs right, other", "AUC, other"] if others else []
    for row in (head, ["---"] * len(head)):
        typer.echo("| " + " | ".join(row) + " |")

    def show(name: str, principle: str, pick: Pick, baseline: str, bound: str) -> None:
        row = [name, principle, cell(runs, pick, "relative_accuracy"), cell(runs, pick, "auc"), baseline, bound]
        row += [cell(others, pick, figure) for figure in ("relative_accuracy", "auc")] if others else []
        typer.echo("| " + " | ".join(row) + " |")

    for name, violation in runs[0].violations.items():

        def pick(run: Judgement, name: str = name) -> PairScores | None:
            return run.violations.get(name)

        def bound(run: Judgement, name: str = name) -> PairScores | None:
            return run.violations[name].upper_bound if name in run.violations else None

        show(name, violation.principle, pick, best_baseline(runs, name), cell(runs, bound, "auc"))
    means = runs[0].violations_mean
    for principle in means.principles if means else ():
        show(
            "**mean**",
            principle,
            lambda run, p=principle: run.violations_mean.principles.get(p) if run.violations_mean else None,
            "",
            "",
        )
    show("**mean**", "all", lambda run: run.violations_mean, "", "")


if __name__ == "__main__":
    typer.run(main)
