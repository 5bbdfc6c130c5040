"""``brain sweep``"""

from __future__ import annotations

from pathlib import Path

import click

from brain import recipes
from brain.commands.common import Duration, StorePlace, default_store, need_torch
from shared.errors import TinyJEPAError

EXAMPLES = """\b
Examples:
  brain sweep --set objective.covariance=0.03,0.1,0.3 --budget 60s
  brain sweep --recipe bouncing-logo --store data/bouncing-logo --set objective.target=shared,stop-gradient,ema
  brain sweep --set objective.rollout=1,4 --set encoder.kind=cnn,resnet18 --seeds 0,1,2,3,4 --out sweeps/encoders
  brain sweep --settings benchmarks/ablations/car-racing.toml --budget 60s --clock cpu"""


@click.command(epilog=EXAMPLES)
@click.option("--recipe", default=recipes.DEFAULT, show_default=True, help="Stock recipe, or a .toml of your own.")
@click.option("--store", type=StorePlace(), help="Store to learn from. [its world in $TINYJEPA_DATA or data]")
@click.option("--set", "varied", multiple=True, metavar="KEY=A,B,...", help="A key and its values; repeatable.")
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    help='Settings that change several keys each (times those of --set): a TOML file of "name" = ["key=value", ...].',
)
@click.option("--seeds", default="0,1,2", show_default=True, help="Training seeds, comma-separated.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the runs and the table. [sweeps/RECIPE]")
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time, one thread each. [GPUs, or CPU cores]")
@click.option("--budget", metavar="DURATION", help="Time of each run's training stages, such as 60s.")
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="What --budget counts: time, or a run's CPU seconds (fair on a busy box).",
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps of each training stage instead.")
@click.option("--columns", metavar="A,B,...", help="Figures to tabulate. [all]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda.")
def command(
    recipe: str,
    store: Path | str | None,
    varied: tuple[str, ...],
    settings: Path | None,
    seeds: str,
    out: Path | None,
    jobs: int | None,
    budget: str | None,
    clock: str,
    steps: int | None,
    columns: str | None,
    device: str,
) -> None:
    """Train and judge a recipe over values and seeds, and print a table with mean and 95 % interval.

    Run it again to go on: runs that are judged are kept, interrupted ones go on from their checkpoint.
    """
    if budget:
        Duration().convert(budget, None, None)
    if budget and steps:
        raise click.UsageError("--steps and --budget exclude each other: give one")
    numbers = [part.strip() for part in seeds.split(",")]
    if not all(number.isdecimal() for number in numbers):
        raise TinyJEPAError(f"--seeds {seeds}: write whole numbers, for example --seeds 0,1,2")
    need_torch()
    base = recipes.load(recipe)
    from brain.training.sweep import check_columns, combined, product, read_settings, sweep, table, write
    from shared.store.reader import Store

    shown = [title.strip() for title in columns.split(",")] if columns else []
    check_columns(shown)
    where = store or default_store(base)
    Store(where)  # refuse what is no store before anything is started
    out = out or Path("sweeps") / base.name
    more = ["--device", device, *(["--budget", budget, "--clock", clock] if budget else [])]
    more += ["--steps", str(steps)] if steps else []
    choices = combined(read_settings(settings) if settings else [], product(varied))
    plan = sweep(
        recipe, str(where), out, choices, [int(number) for number in numbers], more=more, jobs=jobs,
        say=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    head, rows = table(plan, shown)
    for column, title in enumerate(head):
        values = [row[column] for row in rows]
        click.echo(f"{title:24} " + "   ".join(f"{value:>22}" for value in values))
    click.echo(f"table: {write(plan, out, shown).resolve()}")
    if failed := sum(bool(job.failure) for job in plan):
        raise TinyJEPAError(f"{failed} of {len(plan)} runs failed; their last lines are in {out / 'sweep.md'}")
