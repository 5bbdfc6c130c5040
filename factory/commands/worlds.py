"""``factory worlds``"""

from __future__ import annotations

import typer


def command() -> None:
    """List the worlds, their Gymnasium ids, named datasets and factors of variation.

    Examples:
      factory worlds
    """
    from shared.worlds import WORLDS, gymnasium_id
    from shared.worlds.factors import text

    width = max(map(len, WORLDS.names()))
    for name in WORLDS:
        typer.echo(f"{name:<{width}}  {gymnasium_id(name)}  {WORLDS.summary(name)}")
        for dataset, named in WORLDS.get(name).datasets.items():
            typer.echo(f"{'':<{width}}    --dataset {dataset}: {named.summary}")
        for factor in WORLDS.get(name).factors:
            low, high = factor.training
            typer.echo(
                f"{'':<{width}}    --vary {factor.name}: {factor.unit}, {text(factor.default)}; sampled from "
                f"{low:g} to {high:g}, settable from {factor.allowed[0]:g} to {factor.allowed[1]:g}"
            )
    typer.echo(
        "Any installed Gymnasium id works too (--world CartPole-v1, ALE/Pong-v5, or module:id for a module of yours): "
        "its image observation or its rgb_array render, resized, without privileged state."
    )
