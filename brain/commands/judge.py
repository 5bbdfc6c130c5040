"""``brain judge``"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from brain.commands.common import (
    Device,
    Pretrained,
    RunChoice,
    StorePlace,
    chosen_run,
    need_torch,
    open_store,
    show_summary,
)
from shared.cli.options import Quiet
from shared.errors import TinyJEPAError


def command(
    given: RunChoice = None,
    name: Pretrained = None,
    store: StorePlace = None,
    video: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            metavar="FILE",
            help="Write an MP4 instead: test episodes with energy curves and violations.",
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, max=600, metavar="SECONDS", help="Length of the video.")] = 20.0,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Calibrate the energy on validation episodes and score test episodes: writes judge.json and report.html.

    With --video, a run that has no judgement yet is judged first.

    Examples:
      brain judge --run runs/car-racing
      brain judge --pretrained bouncing-logo
      brain judge --run runs/car-racing --store /mnt/factory/fresh-seed
      brain judge --run runs/car-racing --video judge.mp4
    """
    need_torch()
    run_path = chosen_run(given, name)
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
    from brain.live.loaded import load
    from brain.live.video import record

    lines = record(load(run_path, opened, pick(device), replay=True), video, seconds, seed=int(run.facts()["seed"]))
    for line in lines:
        typer.echo(line)
    typer.echo(str(video.resolve()))
