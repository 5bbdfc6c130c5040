"""``factory import``"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shared.cli.options import AsJson, Quiet, count, local_path

if TYPE_CHECKING:
    from factory.importing.importer import Show

SOURCE, RESULT = "Source", "Store"
"""Panels of options."""


def formats() -> list[str]:
    from factory.importing import READERS

    return READERS.names()


def command(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", parser=local_path, help="A file, a folder, or a Minari name.")
    ],
    store: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="DIR",
            show_default="DATA/imported-NAME",
            rich_help_panel=RESULT,
            help="Directory of the store, a new one or one to add to.",
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            autocompletion=formats,
            show_default="detected",
            rich_help_panel=SOURCE,
            help="lerobot, minari, stable-worldmodel, robomimic, hdf5, npz or videos.",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(metavar="KEY", rich_help_panel=SOURCE, help="Which image to take where there are several."),
    ] = None,
    states: Annotated[
        list[str] | None,
        typer.Option("--state", metavar="KEY", rich_help_panel=SOURCE, help="A column to take as state. Repeatable."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="HZ",
            show_default="the source's, else 50",
            rich_help_panel=SOURCE,
            help="Steps per second. Videos without actions are resampled to it.",
        ),
    ] = None,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", rich_help_panel=SOURCE, help="Leave out episodes that cannot be read.")
    ] = False,
    frame_size: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=1024,
            metavar="N",
            show_default="64; square images up to 128 stay",
            rich_help_panel=RESULT,
            help="Side of a frame in pixels.",
        ),
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop", rich_help_panel=RESULT, help="Take the central square instead of squeezing.")
    ] = False,
    max_episode_steps: Annotated[
        int,
        typer.Option(parser=count, metavar="N", rich_help_panel=RESULT, help="Cut longer episodes into parts."),
    ] = 1000,
    world: Annotated[
        str | None,
        typer.Option(
            metavar="WORLD",
            show_default="imported/NAME",
            rich_help_panel=RESULT,
            help="What the store calls its world. A name of `factory worlds` says that its simulator is this one.",
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default="the source's", rich_help_panel=RESULT, help="What the store calls the run."
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Import a data set of another format into a store.

    Formats: Minari, LeRobot v3, HDF5 of stable-worldmodel or robomimic, npz, videos with or without tables of actions.
    Rerun it to resume after an interruption, or when the source has grown. The source does not change.

    Most formats need: pip install 'tinyjepa[export]'

    Examples:
      factory import pusht_expert_train.h5 --store data/pusht
      factory import ~/.cache/huggingface/lerobot/lerobot/pusht --store data/pusht
      factory import atari/breakout/expert-v0 --store data/breakout
      factory import holidays/ --rate 10 --crop --store data/holidays
    """
    from factory.importing import open_source
    from factory.importing.importer import Plan, import_source
    from factory.importing.source import Choice
    from shared.store.source import default_store
    from shared.worlds import IMPORTED

    reader = open_source(source, form, Choice(image, tuple(states) if states else None, rate))
    plan = Plan(world, name, frame_size, crop, max_episode_steps, rate, skip_broken)
    path = store or default_store(world or f"{IMPORTED}{reader.name}")
    with _progress(quiet or as_json) as show:
        done = import_source(reader, path, plan, show)
    for line in (*done.notes, *(f"left out: {line}" for line in done.broken)):
        typer.echo(line, err=True)
    height, width, channels = done.frame_shape
    facts = {
        "world": done.world,
        "episodes": done.episodes,
        "new_episodes": done.new_episodes,
        "frames": done.rows,
        "frame_shape": done.frame_shape,
        "rate": done.rate,
        "left_out": done.broken,
    }
    if as_json:
        typer.echo(json.dumps(facts))
        return
    typer.echo(
        f"{path}: {done.episodes:,} episodes, {done.rows:,} frames of {height}x{width}x{channels} at {done.rate:g} Hz "
        f"({done.new_episodes:,} new)"
    )


@contextlib.contextmanager
def _progress(quiet: bool) -> Iterator[Show]:
    """A bar on a terminal, else a line every ten seconds, on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    counted, line = TextColumn("{task.completed:,} of {task.total:,} frames"), TextColumn("{task.fields[line]}")
    bar = Progress(BarColumn(), counted, line, TimeRemainingColumn(), console=console, transient=True)
    task = bar.add_task("import", line="")
    due = time.perf_counter() + 10.0

    def show(done: int, total: int, name: str) -> None:
        nonlocal due
        if quiet:
            return
        if console.is_terminal:
            bar.update(task, completed=done, total=total, line=f"episode {name}" if name else "")
        elif time.perf_counter() > due:
            due = time.perf_counter() + 10.0
            print(f"{done:,} of {total:,} frames imported", file=sys.stderr, flush=True)

    if quiet or not console.is_terminal:
        yield show
        return
    with bar:
        yield show
