"""``factory collect``"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shared.cli.options import count, local_path
from shared.cores import usable_cores
from shared.errors import TinyJEPAError

if TYPE_CHECKING:
    from factory.collecting.job import Job

DEFAULT_FRAMES = 100_000

WORLD, GOAL, RUNNING = "World and policy", "Goal and store", "Execution"
"""Panels of options."""


def world_names() -> list[str]:
    from shared.worlds import WORLDS

    return WORLDS.names()


def policy_names() -> list[str]:
    from factory.policies import POLICIES

    return POLICIES.names()


def command(
    worlds: Annotated[
        list[str] | None,
        typer.Option(
            "--world",
            metavar="WORLD",
            show_default="car-racing",
            autocompletion=world_names,
            rich_help_panel=WORLD,
            help="A name of `factory worlds` or a Gymnasium id. Repeatable: each world gets its own store.",
        ),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=WORLD,
            help="A named dataset of the world (see `factory worlds`): it sets policy, options and episode length.",
        ),
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="the world's, often mixed",
            autocompletion=policy_names,
            rich_help_panel=WORLD,
            help="The policy that acts, or a mixture drawn per episode.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", rich_help_panel=WORLD, help="Seed of the episodes.")] = 0,
    max_episode_steps: Annotated[
        int | None,
        typer.Option(
            parser=count,
            metavar="N",
            show_default="the world's",
            rich_help_panel=WORLD,
            help="Maximum length of an episode.",
        ),
    ] = None,
    frame_size: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default="the world's, often 64",
            rich_help_panel=WORLD,
            help="Side of a frame in pixels.",
        ),
    ] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", rich_help_panel=WORLD, help="Option of the world. Repeatable."),
    ] = None,
    factors: Annotated[
        list[str] | None,
        typer.Option(
            "--set-factor",
            metavar="NAME=VALUE",
            rich_help_panel=WORLD,
            help="Set a factor of variation of the world (see `factory worlds`). Repeatable.",
        ),
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            rich_help_panel=WORLD,
            help="Factors to sample anew in each episode, separated by commas.",
        ),
    ] = None,
    observation: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            rich_help_panel=WORLD,
            help="What to take as frame: an image of a dictionary observation, or `render`.",
        ),
    ] = None,
    frames: Annotated[
        int | None,
        typer.Option(
            parser=count,
            metavar="N",
            show_default="100,000",
            rich_help_panel=GOAL,
            help="Total frames in the store.",
        ),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            parser=count,
            metavar="N",
            rich_help_panel=GOAL,
            help="Total episodes in the store, instead of --frames.",
        ),
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="DIR",
            show_default="DATA/WORLD[-DATASET]",
            rich_help_panel=GOAL,
            help="Directory of the store.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            parser=local_path,
            metavar="DIR",
            show_default="$TINYJEPA_DATA or data",
            rich_help_panel=GOAL,
            help="Directory that holds the stores of several worlds.",
        ),
    ] = None,
    append: Annotated[
        bool,
        typer.Option(
            "--append", rich_help_panel=GOAL, help="Add a run with another policy, seed or episode length to the store."
        ),
    ] = False,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", show_default="the CPU cores", rich_help_panel=RUNNING, help="Simulator processes."
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            rich_help_panel=RUNNING,
            help="Join the Ray cluster at this address (or `auto`) instead of starting Ray here.",
        ),
    ] = None,
    local: Annotated[
        bool,
        typer.Option(
            "--local", rich_help_panel=RUNNING, help="Simulate in this process, without Ray. The episodes are the same."
        ),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            rich_help_panel=RUNNING,
            help="Estimate time and disk space from a few episodes; write nothing.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print progress and result as JSON objects, one per line.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print only the result.")] = False,
) -> None:
    """Collect episodes of a world into a store.

    The episodes depend only on the world, its options, the policy and the seed: the same command gives the same
    episodes with any number of workers. Rerun it to resume after an interruption, or with a higher goal to extend
    the store.

    Examples:
      factory collect --workers 32
      factory collect --frames 5000 --workers 1 --store /tmp/cars
      factory collect --frames 1000000 --seed 7 --store /mnt/shared/cars-7
      factory collect --frames 1000000 --dry-run
      factory collect --episodes 50 --policy pursuit --seed 1 --append
      factory collect --world car-racing --world CartPole-v1 --frames 20000
      factory collect --world two-room --dataset wall_other --episodes 1000
      factory collect --frame-size 96 --option hud=false --store data/cars-96
      factory collect --vary road_colour,friction --store data/cars-varied
      factory collect --world double-pendulum --set-factor gravity=3.7 --store moon
      factory collect --world MiniGrid-Empty-5x5-v0 --frames 2e4
    """
    if local and (address is not None or (workers or 1) > 1):
        raise TinyJEPAError("--local runs one process without Ray: leave out --workers and --address, or --local")
    if frames is not None and episodes is not None:
        raise TinyJEPAError("--frames and --episodes exclude each other: give one goal")
    names = worlds or ["car-racing"]
    if store is not None and (data is not None or len(names) > 1):
        raise TinyJEPAError("--store names one world's store: use --data DIRECTORY for the stores of several worlds")
    if frames is None and episodes is None:
        frames = DEFAULT_FRAMES
    from factory.collecting.job import make_job
    from shared.cli.streams import results_alone
    from shared.store.source import default_store

    here = Path.cwd()
    given = world_options(options or []) | ({"observation": observation} if observation is not None else {})
    given |= {"factors": world_options(factors, "--set-factor", "friction=0.5")} if factors else {}
    given |= {"vary": vary.replace(",", " ").split()} if vary is not None else {}
    with results_alone():
        jobs = [
            make_job(world, policy, seed, frame_size, max_episode_steps, given, dataset)
            for world in dict.fromkeys(names)
        ]
    workers = 1 if local else workers or (None if address else usable_cores())
    if not quiet and address is None and (workers or 1) > (cores := usable_cores()):
        typer.echo(
            f"factory: note: {workers} workers share {cores} cores, which is slower than {cores} workers: "
            "leave out --workers",
            err=True,
        )
    for job in jobs:
        path = here / (store or default_store(job.spec.world, data, dataset))  # an environment may change the directory
        if dry_run:
            _estimate(path, job, frames, episodes, workers, append, as_json)
        else:
            _collect(path, job, frames, episodes, workers, address, append, as_json, quiet)


def _collect(
    path: Path,
    job: Job,
    frames: int | None,
    episodes: int | None,
    workers: int | None,
    address: str | None,
    append: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    from factory.collecting.collect import collect
    from factory.collecting.progress import Logged, Unit, display, not_deterministic
    from shared.cli.runlog import LOG, keep
    from shared.cli.streams import results_alone

    goal = frames or episodes or 0
    unit: Unit = "frames" if frames else "episodes"
    with keep() as log, results_alone() as out:
        screen = Logged(display(goal, unit, quiet, as_json, out), goal, unit, lambda: log.open(log_file(path)))
        done = collect(path, job, frames, workers, address, screen, episodes=episodes, append=append)
        LOG.info("%s", json.dumps(done.facts()))
    if done.difference is not None:
        typer.echo(f"factory: warning: {not_deterministic(done.difference)}", err=True)
    if as_json:
        facts = {"event": "done", "store": str(path), **done.facts()}
        typer.echo(json.dumps(facts))
        return
    have = f"{done.frames:,} frames in {done.episodes:,} episodes, {done.bytes_on_disk / 1e6:,.1f} MB"
    if done.new_frames == 0:
        typer.echo(f"nothing to do: {path} holds {have}")
    else:
        speed = f"{done.new_frames:,} new in {done.seconds:,.1f} s = {done.frames_per_second:,.0f} frames/s"
        typer.echo(f"{path}: {have} ({speed})")


def log_file(store: Path) -> Path:
    """The log of the collections that this box drives into a store: beside the data, not among them."""
    from shared.store import layout
    from shared.store.writer import host_name

    return layout.collect_log(store, host_name())


def _estimate(
    path: Path, job: Job, frames: int | None, episodes: int | None, workers: int | None, append: bool, as_json: bool
) -> None:
    """Print what a collection would make, without writing."""
    from factory.collecting.collect import open_store
    from factory.collecting.estimate import estimate
    from factory.collecting.progress import minutes
    from shared.cli.streams import results_alone
    from shared.store import layout
    from shared.store.dataset import refuse_occupied

    refuse_occupied(path)
    have = open_store(path, job, append) if (path / layout.DATASET).exists() else {}
    cores = workers or usable_cores()
    with results_alone():
        found = estimate(path, job, have, frames or episodes or 0, "frames" if frames else "episodes", cores)
    if as_json:
        typer.echo(json.dumps({"event": "estimate", "store": str(path), **dataclasses.asdict(found)}))
        return
    if not found.frames:
        typer.echo(f"{path}: nothing to do, it holds {sum(have.values()):,} frames in {len(have):,} episodes")
        return
    typer.echo(
        f"{path}: would make {found.frames:,} frames in about {found.episodes:,} episodes, about "
        f"{found.bytes / 1e6:,.1f} MB ({found.free_bytes / 1e9:,.1f} GB free), in about {minutes(found.seconds)} with "
        f"{cores} workers (measured here: {found.frames_per_second:,.0f} frames/s per worker over "
        f"{found.sampled_frames:,} frames)"
    )
    if found.bytes > found.free_bytes:
        typer.echo("the disk has less free space than that: free some, or choose another --store")


def world_options(pairs: Sequence[str], flag: str = "--option", example: str = "hud=false") -> dict[str, Any]:
    """``key=value`` pairs; a value is JSON (``true``, ``3``, ``0.5``) or else text."""
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key.isidentifier() or not equals:
            raise TinyJEPAError(f"{flag} {pair}: write it as key=value, for example {flag} {example}")
        try:
            options[key] = json.loads(text.lower() if text in ("True", "False") else text)
        except json.JSONDecodeError:
            options[key] = text
    return options
