"""``brain sweep``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brain import recipes
from brain.commands.common import (
    EXPERIMENT,
    TRAINING,
    Clock,
    RecipeName,
    check_effort,
    chosen_encoders,
    default_recipe,
    need_torch,
    store_of,
    with_encoder,
)
from shared.cli.options import duration
from shared.errors import TinyJEPAError


def command(
    recipe: RecipeName = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            show_default="the recipe's world in $TINYJEPA_DATA or data",
            rich_help_panel=EXPERIMENT,
            help="Store to learn from: a directory or a URL.",
        ),
    ] = None,
    varied: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=A,B,...", rich_help_panel=EXPERIMENT, help="A key and its values. Repeatable."
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            rich_help_panel=EXPERIMENT,
            help='TOML file of settings, "name" = ["key=value", ...], combined with --set.',
        ),
    ] = None,
    seeds: Annotated[
        str, typer.Option(metavar="A,B,...", rich_help_panel=EXPERIMENT, help="Training seeds.")
    ] = "0,1,2",
    encoders: Annotated[
        list[Path] | None,
        typer.Option(
            "--encoder",
            metavar="RUN",
            rich_help_panel=EXPERIMENT,
            help="Take over the encoder of this run and train only predictors; repeated, one for each seed; "
            "untrained = leave the recipe's as it is initialised.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(metavar="DURATION", rich_help_panel=TRAINING, help="Training time of each run, such as 60s."),
    ] = None,
    clock: Clock = "wall",
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            rich_help_panel=TRAINING,
            help="Optimiser steps of each training stage, not a time.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default="sweeps/RECIPE", help="Folder of the runs and the table."),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default="GPUs or CPU cores",
            help="Runs at the same time, on a CPU one thread each.",
        ),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,...", show_default="all", help="Metrics to put in the table.")
    ] = None,
    device: Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Train and judge a recipe over values and seeds, and print a table of means and 95 % confidence intervals.

    Rerun it to resume: judged runs are kept, and interrupted runs continue from their checkpoints.

    Examples:
      brain sweep --set objective.covariance=0.03,0.1,0.3 --budget 60s
      brain sweep --recipe bouncing-logo --set objective.target=shared,ema
      brain sweep --set objective.rollout=1,4 --seeds 0,1,2,3,4 --out sweeps/rollout
      brain sweep --settings benchmarks/ablations/car-racing.toml --budget 60s
      brain sweep --encoder runs/car-racing --set prediction.rollout=4,16
    """
    if budget:
        _check(budget)
    check_effort(steps, budget, clock)
    numbers = [part.strip() for part in seeds.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise TinyJEPAError(f"--seeds {seeds}: write whole numbers, for example --seeds 0,1,2")
    chosen_seeds = list(dict.fromkeys(map(int, numbers)))
    need_torch()
    taken = chosen_encoders(encoders or [])
    if len(taken) > 1 and len(taken) != len(chosen_seeds):
        raise TinyJEPAError(
            f"{len(taken)} --encoder for {len(chosen_seeds)} seeds: give one for all, or one for each seed"
        )
    if taken and isinstance(taken[0], Path):
        recipe, store = with_encoder(taken[0], recipe, store)
    recipe = recipe or default_recipe(store)
    base = recipes.load(recipe)
    from brain.training.sweep import check_columns, combined, product, read_settings, sweep, table, write
    from shared.store.reader import Store

    shown = [title.strip() for title in columns.split(",")] if columns else []
    check_columns(shown)
    where = store or store_of(base)
    Store(where)  # refuse what is no store before anything is started
    out = out or Path("sweeps") / base.name
    more = ["--budget", budget, "--clock", clock] if budget else []
    more += ["--steps", str(steps)] if steps else []
    choices = combined(read_settings(settings) if settings else [], product(varied or []))
    plan = sweep(
        recipe, str(where), out, choices, chosen_seeds, more=more, encoders=taken, device=device,
        jobs=jobs, say=lambda line: typer.echo(line, err=True),
    )  # fmt: skip
    head, rows = table(plan, shown)
    for column, title in enumerate(head):
        values = [row[column] for row in rows]
        typer.echo(f"{title:24} " + "   ".join(f"{value:>22}" for value in values))
    typer.echo(f"table: {write(plan, out, shown).resolve()}")
    if failed := sum(bool(job.failure) for job in plan):
        raise TinyJEPAError(f"{failed} of {len(plan)} runs failed; their last lines are in {out / 'sweep.md'}")


def _check(budget: str) -> None:
    """Raise ``TinyJEPAError`` for what is not a duration, before any run starts; the runs get the text."""
    try:
        duration(budget)
    except ValueError as error:
        raise TinyJEPAError(f"--budget: {error}") from None
