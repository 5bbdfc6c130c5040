"""``factory drive``"""

from __future__ import annotations

from pathlib import Path

import click

from factory.commands.collect import world_options
from shared.cli.console import LocalPath


@click.command()
@click.option("--world", default="car-racing", show_default=True, help="A world that has keys.")
@click.option("--store", type=LocalPath(), help="The store's directory.  [default: DATA/WORLD]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the tracks.")
@click.option("--max-episode-steps", type=click.IntRange(1), default=1000, show_default=True, help="Longest episode.")
@click.option("--frame-size", type=click.IntRange(1), help="Frame side, pixels.  [default: the world's]")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the world; may be repeated.")
def command(
    world: str,
    store: Path | None,
    seed: int,
    max_episode_steps: int,
    frame_size: int | None,
    options: tuple[str, ...],
) -> None:
    """Drive a world by keyboard and record it into a store, as a run of policy `human`.

    Arrow keys act, space pauses, R begins another episode, Escape leaves. An episode is in the store as soon
    as it ends. The store may be one that `factory collect` fills.

    \b
    Examples:
      factory drive
      factory drive --store data/mine --max-episode-steps 2000
    """
    from factory.collecting.drive import HUMAN, Window, drive
    from factory.collecting.job import Job, make_job
    from shared.store.source import default_store

    window = Window(f"TinyJEPA: {world}")
    spec, run = make_job(world, None, seed, frame_size, max_episode_steps, world_options(options))
    path = store or default_store(spec.world)
    episodes, frames = drive(path, Job(spec, type(run)(run.seed, HUMAN, run.max_episode_steps)), window)
    click.echo(f"{path}: {frames:,} frames in {episodes:,} episodes recorded")
