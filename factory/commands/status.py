"""``factory status``"""

from __future__ import annotations

from pathlib import Path

import click

from shared.cli.console import Count, LocalPath


@click.command()
@click.argument("store", type=LocalPath())
@click.option("--watch", "watching", is_flag=True, help="Look again and again until Ctrl-C: rates, writers, time left.")
@click.option("--every", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="--watch: seconds.")
@click.option("--frames", type=Count(1), help="--watch: the goal, for the time left.")
@click.option("--json", "as_json", is_flag=True, help="--watch: each look as a JSON object on stdout.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="--watch: figures for Prometheus on 127.0.0.1.")
def command(
    store: Path, watching: bool, every: float, frames: int | None, as_json: bool, metrics_port: int | None
) -> None:
    """Show what is in a STORE: frames, splits, policies, size, and what of the state space they cover.

    \b
    Examples:
      factory status data/car-racing
      factory status data/car-racing --watch --frames 1000000
      factory status data/car-racing --watch --metrics-port 9201
    """
    if not watching and (as_json or frames or metrics_port is not None):
        raise click.UsageError("--frames, --json and --metrics-port go with --watch: add it")
    if watching:
        from factory.inspection.watching import Collection
        from shared.cli.watch import watch

        seen = Collection(store, frames)
        watch("factory", seen.look, seen.lines, every=every, port=metrics_port, as_json=as_json)
        return
    from factory.inspection.status import status_lines

    for line in status_lines(store):
        click.echo(line)
