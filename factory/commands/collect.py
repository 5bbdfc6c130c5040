"""``factory collect``"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shared.cli.console import LocalPath
from shared.errors import TinyJEPAError

if TYPE_CHECKING:
    from factory.collecting.job import Job

DEFAULT_FRAMES = 100_000


@click.command()
@click.option(
    "--world",
    "worlds",
    multiple=True,
    default=["car-racing"],
    help="A name of `factory worlds` or a gymnasium id; several give a store each.  [default: car-racing]",
)
@click.option("--workers", type=click.IntRange(1), help="Simulator processes.  [default: the CPU cores]")
@click.option("--frames", type=click.IntRange(1), help="Frames wanted in all.  [default: 100,000]")
@click.option("--episodes", type=click.IntRange(1), help="Episodes wanted in all, instead of frames.")
@click.option("--dataset", help="A named data set of the world (factory worlds): its policy, options and length.")
@click.option("--policy", help="Who acts: a policy, or a mix drawn per episode.  [default: the world's, often mixed]")
@click.option("--store", type=LocalPath(), help="The store's directory.  [default: DATA/WORLD[-DATASET]]")
@click.option("--data", type=LocalPath(), help="Directory of stores.  [default: $TINYJEPA_DATA or data]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the run.")
@click.option("--append", is_flag=True, help="Add a run of another policy, seed or episode limit to the store.")
@click.option(
    "--max-episode-steps", type=click.IntRange(1), metavar="N", help="Longest episode.  [default: the world's]"
)
@click.option(
    "--frame-size", type=click.IntRange(1), help="Side of a frame in pixels.  [default: the world's, often 64]"
)
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the world; may be repeated.")
@click.option("--address", help="Join the Ray cluster at this address (or `auto`) instead of starting Ray here.")
@click.option("--local", is_flag=True, help="Simulate in this process, without Ray; the episodes are the same.")
@click.option("--dry-run", is_flag=True, help="Say what it would make and cost, from a sample; write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Progress and result as JSON objects, one per line, on stdout.")
@click.option("--quiet", is_flag=True, help="No progress, only the last line.")
def command(
    worlds: tuple[str, ...],
    workers: int | None,
    frames: int | None,
    episodes: int | None,
    dataset: str | None,
    policy: str | None,
    store: Path | None,
    data: Path | None,
    seed: int,
    append: bool,
    max_episode_steps: int | None,
    frame_size: int | None,
    options: tuple[str, ...],
    address: str | None,
    local: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Collect episodes of a world into a store.

    The episodes depend on the world, its options, the policy and the seed, and on nothing else: the same
    command gives the same episodes with any number of workers. Run it again to go on after an interruption,
    or with a higher goal to extend the run.

    \b
    Examples:
      factory collect --workers 32
      factory collect --frames 5000 --workers 1 --store /tmp/cars
      factory collect --frames 1000000 --seed 7 --store /mnt/shared/cars-7 --address auto
      factory collect --frames 1000000 --dry-run
      factory collect --episodes 50 --policy pursuit --seed 1 --append
      factory collect --world car-racing --world CartPole-v1 --frames 20000 --data /mnt/shared
      factory collect --world two-room --dataset wall_other --episodes 1000
      factory collect --frame-size 96 --option hud=false --store data/cars-96
    """
    if local and (address is not None or (workers or 1) > 1):
        raise TinyJEPAError("--local is one process without Ray: leave out --workers and --address, or --local")
    if frames is not None and episodes is not None:
        raise TinyJEPAError("--frames and --episodes exclude each other: give one goal")
    if store is not None and (data is not None or len(worlds) > 1):
        raise TinyJEPAError("--store names one world's store: use --data DIRECTORY for the stores of several worlds")
    if frames is None and episodes is None:
        frames = DEFAULT_FRAMES
    from factory.collecting.job import make_job
    from shared.store.source import default_store

    given = world_options(options)
    jobs = [
        make_job(world, policy, seed, frame_size, max_episode_steps, given, dataset) for world in dict.fromkeys(worlds)
    ]
    workers = 1 if local else workers or (None if address else os.cpu_count() or 1)
    for job in jobs:
        path = store or default_store(job.spec.world, data, dataset)
        if dry_run:
            _foretell(path, job, frames, episodes, workers, append, as_json)
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
    from factory.collecting.progress import Logged, Unit, display
    from shared.cli.runlog import LOG, keep

    goal = frames or episodes or 0
    unit: Unit = "frames" if frames else "episodes"
    with keep() as log:
        screen = Logged(display(goal, unit, quiet, as_json), goal, unit, lambda: log.open(log_file(path)))
        done = collect(path, job, frames, workers, address, screen, episodes=episodes, append=append)
        LOG.info("%s", json.dumps(done.facts()))
    if as_json:
        facts = {"event": "done", "store": str(path), **done.facts()}
        click.echo(json.dumps(facts))
        return
    have = f"{done.frames:,} frames in {done.episodes:,} episodes, {done.bytes_on_disk / 1e6:,.1f} MB"
    if done.new_frames == 0:
        click.echo(f"nothing to do: {path} holds {have}")
    else:
        speed = f"{done.new_frames:,} new in {done.seconds:,.1f} s = {done.frames_per_second:,.0f} frames/s"
        click.echo(f"{path}: {have} ({speed})")


def log_file(store: Path) -> Path:
    """The log of the collections that this box drives into a store: beside the data, not among them."""
    from shared.store import layout
    from shared.store.writer import host_name

    return layout.collect_log(store, host_name())


def _foretell(
    path: Path, job: Job, frames: int | None, episodes: int | None, workers: int | None, append: bool, as_json: bool
) -> None:
    """Print what a collection would make, without writing."""
    from factory.collecting.collect import open_store
    from factory.collecting.estimate import estimate
    from factory.collecting.progress import minutes
    from shared.store import layout
    from shared.store.dataset import refuse_occupied

    refuse_occupied(path)
    have = open_store(path, job, append) if (path / layout.DATASET).exists() else {}
    cores = workers or os.cpu_count() or 1
    found = estimate(path, job, have, frames or episodes or 0, "frames" if frames else "episodes", cores)
    if as_json:
        click.echo(json.dumps({"event": "estimate", "store": str(path), **dataclasses.asdict(found)}))
        return
    if not found.frames:
        click.echo(f"{path}: nothing to do, {sum(have.values()):,} frames in {len(have):,} episodes are there")
        return
    click.echo(
        f"{path}: would make {found.frames:,} frames in about {found.episodes:,} episodes, about "
        f"{found.bytes / 1e6:,.1f} MB ({found.free_bytes / 1e9:,.1f} GB free), in about {minutes(found.seconds)} with "
        f"{cores} workers (measured here: {found.frames_per_second:,.0f} frames/s per worker over "
        f"{found.sampled_frames:,} frames)"
    )
    if found.bytes > found.free_bytes:
        click.echo("that is more than the disk has left: free some space, or choose another --store")


def world_options(pairs: tuple[str, ...]) -> dict[str, Any]:
    """``key=value`` pairs; a value is JSON (``true``, ``3``, ``0.5``) or else text."""
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not key.isidentifier() or not equals:
            raise TinyJEPAError(f"--option {pair}: write it as key=value, for example --option hud=false")
        try:
            options[key] = json.loads(text.lower() if text in ("True", "False") else text)
        except json.JSONDecodeError:
            options[key] = text
    return options
