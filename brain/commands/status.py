"""``brain status``"""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--run", "run_path", type=click.Path(path_type=Path), required=True, help="Run folder.")
@click.option("--watch", "watching", is_flag=True, help="Look again and again until Ctrl-C.")
@click.option("--every", type=click.FloatRange(min=0.1), default=5.0, show_default=True, help="--watch: seconds.")
@click.option("--json", "as_json", is_flag=True, help="Each look as a JSON object on stdout.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), help="--watch: figures for Prometheus on 127.0.0.1.")
def command(run_path: Path, watching: bool, every: float, as_json: bool, metrics_port: int | None) -> None:
    """Show what a training does: stage, step, loss, effective rank, how far it is behind, GPU use, time left.

    It reads the run folder only, and may run anywhere that sees it.

    \b
    Examples:
      brain status --run runs/car-racing
      brain status --run runs/car-racing --watch --metrics-port 9202
    """
    if metrics_port is not None and not watching:
        raise click.UsageError("--metrics-port goes with --watch: add it")
    from brain.runs.status import lines, look
    from shared.cli.watch import watch

    watch(
        "brain",
        lambda: look(run_path),
        lambda facts: lines(run_path, facts),
        every=every,
        port=metrics_port,
        as_json=as_json,
        looks=None if watching else 1,
    )
