"""What several subcommands of ``brain`` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shared.errors import MissingStoreError, TinyJEPAError

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
    str | None,
    typer.Option(
        metavar="RECIPE",
        autocompletion=recipe_names,
        show_default="the one of the store's world, else car-racing",
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
TrustWorld = Annotated[
    bool, typer.Option("--trust-world", help="Import the module that the store names for its world.")
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


def default_recipe(store: str | None) -> str:
    """The recipe that the world of ``store`` declares; the default one without a store, or where it is not there yet.

    Raises what ``Store`` raises for what is no store.
    """
    from brain import recipes
    from shared.store.reader import Store
    from shared.worlds import world_class

    if store is None:
        return recipes.DEFAULT
    try:
        return world_class(Store(store).spec.world).default_recipe or recipes.DEFAULT
    except MissingStoreError:
        return recipes.DEFAULT


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


def open_store(run: Run, place: str | None) -> Store:
    """The store at ``place``, or the one a run was trained on; says where a moved one is remembered."""
    from brain.data import place as places

    opened, line = places.open_store(run, place)
    if line:
        typer.echo(line, err=True)
    return opened
