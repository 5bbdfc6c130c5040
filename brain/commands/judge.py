"""``brain judge``"""

from __future__ import annotations

from pathlib import Path

import click

from brain.commands.common import StorePlace, need_torch, open_store, show_summary
from shared.errors import TinyJEPAError

EXAMPLES = """\b
Examples:
  brain judge --run runs/car-racing
  brain judge --run runs/car-racing --store /mnt/factory/fresh-seed
  brain judge --run runs/car-racing --video judge.mp4      # judges first where that was not done"""


@click.command(epilog=EXAMPLES)
@click.option("--run", "run_path", type=click.Path(path_type=Path), required=True, help="Run folder of brain train.")
@click.option("--store", type=StorePlace(), help="Store to judge on. [the one it was trained on]")
@click.option(
    "--video", type=click.Path(path_type=Path, dir_okay=False),
    help="Write an MP4 instead: stored test episodes, energy curves, impossible events.",
)  # fmt: skip
@click.option("--seconds", type=click.FloatRange(1, 600), default=20.0, show_default=True, help="Length of the video.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    run_path: Path, store: Path | str | None, video: Path | None, seconds: float, device: str, quiet: bool
) -> None:
    """Calibrate the energy on validation episodes, report on test episodes: judge.json and report.html."""
    need_torch()
    from brain.device import pick
    from brain.models.world_model import WorldModel
    from brain.reports.evidence import judge
    from brain.runs.folder import Run

    run = Run(run_path)
    opened = open_store(run, store)
    if video is not None and video.suffix != ".mp4":
        raise TinyJEPAError(f"--video {video}: it will be an MP4, so name it {video.with_suffix('.mp4').name}")
    if video is not None and not video.absolute().parent.is_dir():
        raise TinyJEPAError(f"{video}: there is no folder {video.absolute().parent}: make it, or give another --video")
    if video is None or not run.judgement.exists():
        judge(WorldModel.load(run_path, opened.spec, pick(device)), opened, run, quiet=quiet)
    if video is None:
        show_summary(run_path)
        return
    from brain.live.film import write_film
    from brain.live.loaded import load

    lines = write_film(load(run_path, opened, pick(device), replay=True), video, seconds, seed=int(run.facts()["seed"]))
    for line in lines:
        click.echo(line)
    click.echo(str(video.resolve()))
