"""``factory drive``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from factory.commands.collect import world_names, world_options
from shared.cli.options import count, local_path


def command(
    world: Annotated[
        str, typer.Option(metavar="WORLD", autocompletion=world_names, help="A world with keyboard control.")
    ] = "car-racing",
    store: Annotated[
        Path | None,
        typer.Option(parser=local_path, metavar="DIR", show_default="DATA/WORLD", help="Directory of the store."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the episodes.")] = 0,
    max_episode_steps: Annotated[
        int, typer.Option(parser=count, metavar="N", help="Maximum length of an episode.")
    ] = 1000,
    frame_size: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default="the world's", help="Side of a frame in pixels.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the world. Repeatable.")
    ] = None,
) -> None:
    """Drive a world by keyboard and record it into a store, as a run of policy `human`.

    Arrow keys act, space pauses, R starts a new episode, Escape quits. An episode is committed to the store when it
    ends. `factory collect` may fill the same store.

    Examples:
      factory drive
      factory drive --store data/mine --max-episode-steps 2000
    """
    from factory.collecting.drive import HUMAN, Window, drive
    from factory.collecting.job import Job, make_job
    from shared.store.source import default_store

    window = Window(f"TinyJEPA: {world}")
    spec, run = make_job(world, None, seed, frame_size, max_episode_steps, world_options(options or []))
    path = store or default_store(spec.world)
    episodes, frames = drive(path, Job(spec, type(run)(run.seed, HUMAN, run.max_episode_steps)), window)
    typer.echo(f"{path}: {frames:,} frames in {episodes:,} episodes recorded")
