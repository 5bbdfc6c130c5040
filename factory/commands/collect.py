"""``factory collect``"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from shared.errors import TinyJEPAError


@click.command()
@click.option("--world", default="car-racing", show_default=True, help="A name of `factory worlds` or a gymnasium id.")
@click.option("--workers", type=click.IntRange(1), help="Simulator processes.  [default: the CPU cores]")
@click.option("--frames", type=click.IntRange(1), default=100_000, show_default=True, help="Frames wanted in all.")
@click.option("--policy", default="mixed", show_default=True, help="Who acts: a policy, or a mix drawn per episode.")
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Directory.  [default: $TINYJEPA_DATA/WORLD or data/WORLD]",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Seed of the run.")
@click.option(
    "--max-episode-steps",
    type=click.IntRange(1),
    metavar="N",
    help="Longest episode.  [default: the world's]",
)
@click.option("--frame-size", type=click.IntRange(1), default=64, show_default=True, help="Side of a frame in pixels.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Option of the world; may be repeated.")
@click.option("--address", help="Join the Ray cluster at this address (or `auto`) instead of starting Ray here.")
@click.option("--local", is_flag=True, help="Simulate in this process, without Ray; the episodes are the same.")
@click.option("--quiet", is_flag=True, help="No progress, only the last line.")
def command(
    world: str,
    workers: int | None,
    frames: int,
    policy: str,
    store: Path | None,
    seed: int,
    max_episode_steps: int | None,
    frame_size: int,
    options: tuple[str, ...],
    address: str | None,
    local: bool,
    quiet: bool,
) -> None:
    """Collect episodes of a world into a store.

    The episodes depend on the world, its options, the policy and the seed, and on nothing else: the same
    command gives the same episodes with any number of workers. Run it again to go on after an interruption,
    or with more --frames to extend the store.

    \b
    Examples:
      factory collect --workers 32
      factory collect --frames 5000 --workers 1 --store /tmp/cars
      factory collect --frames 1000000 --seed 7 --store /mnt/shared/cars-7 --address auto
      factory collect --world CartPole-v1 --frames 20000 --max-episode-steps 200
      factory collect --frame-size 96 --option hud=false --store data/cars-96
    """
    if local and (address is not None or (workers or 1) > 1):
        raise TinyJEPAError("--local is one process without Ray: leave out --workers and --address, or --local")
    from factory.collect import collect as run_collection
    from factory.job import make_job
    from factory.progress import display

    job = make_job(world, policy, seed, frame_size, max_episode_steps, _world_options(options))
    path = store or default_store(job.spec.world)
    workers = 1 if local else workers or os.cpu_count() or 1
    done = run_collection(path, job, frames, workers, address, display(frames, quiet))
    have = f"{done.frames:,} frames in {done.episodes:,} episodes, {done.bytes_on_disk / 1e6:,.1f} MB"
    if done.new_frames == 0:
        click.echo(f"nothing to do: {path} holds {have}")
    else:
        speed = f"{done.new_frames:,} new in {done.seconds:,.1f} s = {done.frames_per_second:,.0f} frames/s"
        click.echo(f"{path}: {have} ({speed})")


def default_store(world: str) -> Path:
    """``$TINYJEPA_DATA/WORLD``, or ``data/WORLD``; what cannot be in a file name becomes a dash."""
    name = world.replace("/", "-").replace(":", "-")
    return Path(os.environ.get("TINYJEPA_DATA") or "data") / name


def _world_options(pairs: tuple[str, ...]) -> dict[str, Any]:
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
