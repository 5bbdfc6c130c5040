"""``brain recipes``"""

from __future__ import annotations

from typing import Annotated

import typer

from brain import recipes
from brain.commands.common import need_torch, recipe_names


def command(
    name: Annotated[
        str | None,
        typer.Argument(metavar="RECIPE", autocompletion=recipe_names, help="Name of a recipe, or a .toml file."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the recipe. Repeatable."),
    ] = None,
) -> None:
    """List the recipes, or print one as TOML with all its keys, and what they mean as comments.

    Examples:
      brain recipes
      brain recipes car-racing
      brain recipes car-racing > mine.toml # then brain train --recipe mine.toml
      brain recipes mine.toml --set objective.rollout=4
    """
    if name is None:
        for stock in recipes.names():
            typer.echo(f"{stock:16} {recipes.summary(stock)}")
        return
    need_torch()
    typer.echo(recipes.annotated(recipes.load(name, overrides or [])), nl=False)
