"""What several subcommands of ``brain`` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shared.errors import TinyJEPAError

if TYPE_CHECKING:
    from brain.recipes.schema import Recipe
    from brain.runs.folder import Run
    from shared.store.reader import Store

EXPERIMENT, TRAINING = "Experiment", "Training"
"""Panels of options."""


def recipe_names() -> list[str]:
    from brain import recipes

    return recipes.names()


RunFolder = Annotated[Path, typer.Option("--run", metavar="RUN", help="Run folder of brain train.")]
StorePlace = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        show_default="the one it was trained on",
        help="Directory of the store, or a URL such as s3://bucket/path.",
    ),
]
RecipeName = Annotated[
    str,
    typer.Option(
        metavar="RECIPE",
        autocompletion=recipe_names,
        rich_help_panel=EXPERIMENT,
        help="Name of a recipe (see `brain recipes`), or a .toml file.",
    ),
]
Clock = Annotated[
    Literal["wall", "cpu"],
    typer.Option(
        rich_help_panel=TRAINING, help="What --budget counts: wall time, or CPU seconds (fair on a busy machine)."
    ),
]
Device = Annotated[str, typer.Option(metavar="DEVICE", help="auto, cpu, cuda or cuda:N.")]


def store_of(recipe: Recipe) -> Path:
    """``DATA/WORLD`` of the recipe's world, where ``factory collect --world WORLD`` writes."""
    from shared.store.source import default_store

    if not recipe.world:
        raise TinyJEPAError(
            f'recipe {recipe.name} names no world: give --store, or add a line such as world = "car-racing" to it'
        )
    return default_store(recipe.world)


def need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise TinyJEPAError("torch is not installed: pip install 'tinyjepa[brain]'") from None


def show_summary(run_path: Path) -> None:
    report = run_path / "report.html"
    if report.exists():
        from brain.runs.figures import headline

        for line in headline(run_path):
            typer.echo(line)
        typer.echo(f"report: {report.resolve()}")


def open_store(run: Run, place: Path | str | None) -> Store:
    """The store at ``place``, or the one a run was trained on, as its recipe sees it; refused where it shows another
    world."""
    from brain.data.state_mode import reader, standardise
    from brain.runs.folder import check_fit

    facts = run.facts()
    opened = reader(run.recipe())(place or facts["store"])
    check_fit(facts, opened.spec, str(opened.path), "give its --store")
    standardise(opened, run)
    return opened
