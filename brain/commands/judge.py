"""``brain judge``"""

from __future__ import annotations

from pathlib import Path

import click

from brain.commands.common import StorePlace, need_torch, open_store, show_summary

EXAMPLES = """\b
Examples:
  brain judge --run runs/car-racing
  brain judge --run runs/car-racing --store /mnt/factory/fresh-seed"""


@click.command(epilog=EXAMPLES)
@click.option("--run", "run_path", type=click.Path(path_type=Path), required=True, help="Run folder of brain train.")
@click.option("--store", type=StorePlace(), help="Store to judge on. [the one it was trained on]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(run_path: Path, store: Path | str | None, device: str, quiet: bool) -> None:
    """Calibrate the energy on validation episodes, report on test episodes: judge.json and report.html."""
    need_torch()
    from brain.device import pick
    from brain.model import WorldModel
    from brain.run import Run
    from brain.stages.energy import judge_energy

    run = Run(run_path)
    opened = open_store(run, store)
    judge_energy(run, WorldModel.load(run_path, opened.spec, pick(device)), opened, quiet=quiet)
    show_summary(run_path)
