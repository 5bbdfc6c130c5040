"""``factory worlds``"""

from __future__ import annotations

import click


@click.command()
def command() -> None:
    """List the worlds, and their named data sets.

    \b
    Examples:
      factory worlds
    """
    from shared.worlds import WORLDS, gymnasium_id

    width = max(map(len, WORLDS.names()))
    for name in WORLDS:
        click.echo(f"{name:<{width}}  {gymnasium_id(name)}  {WORLDS.summary(name)}")
        for dataset, named in WORLDS.get(name).datasets.items():
            click.echo(f"{'':<{width}}    --dataset {dataset}: {named.summary}")
    click.echo(
        "Any installed gymnasium id works too (--world CartPole-v1, or module:id as in ale_py:ALE/Pong-v5): "
        "its image observation or its rgb_array render, resized, without privileged state."
    )
