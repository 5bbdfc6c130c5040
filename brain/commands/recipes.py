"""``brain recipes``"""

from __future__ import annotations

import click

from brain import recipes
from brain.commands.common import need_torch

EXAMPLES = """\b
Examples:
  brain recipes                                  list them
  brain recipes car-racing                       every key with its value and meaning
  brain recipes mine.toml --set objective.rollout=4"""


@click.command(epilog=EXAMPLES)
@click.argument("name", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.")
def command(name: str | None, overrides: tuple[str, ...]) -> None:
    """List the stock recipes, or print one resolved, with a line of explanation per key."""
    if name is None:
        for stock in recipes.names():
            click.echo(f"{stock:16} {recipes.summary(stock)}")
        return
    need_torch()
    for key, value, why in recipes.explain(recipes.load(name, overrides)):
        click.echo(f"{key:28} {value!s:24} {why}")
