"""``brain judge``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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

if TYPE_CHECKING:
    from brain.runs.folder import Run

VARIATION = "Variation"


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
    seconds: Annotated[
        float | None,
        typer.Option(
            min=1, max=600, metavar="SECONDS", show_default="20", help="Seconds of the world that the video shows."
        ),
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(
            metavar="[NAMES]",
            rich_help_panel=VARIATION,
            help="Also judge in fresh episodes in which factors of variation of the world change: these, separated by "
            "commas, or all.",
        ),
    ] = None,
    episodes: Annotated[
        int | None,
        typer.Option(
            min=8,
            metavar="N",
            show_default="24",
            rich_help_panel=VARIATION,
            help="Fresh episodes per condition, and a third as many pairs of each violation.",
        ),
    ] = None,
    plans: Annotated[
        int | None,
        typer.Option(
            min=0,
            metavar="N",
            show_default="a sixth of the episodes",
            rich_help_panel=VARIATION,
            help="Episodes planned per condition, which cost most of the time; 0 leaves them out.",
        ),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Calibrate the energy on validation episodes and score test episodes: writes judge.json and report.html.

    With --video or --vary, a run that has no judgement yet is judged first, and a judged one not again. --vary adds a
    table to both files: energies, violations, probes and plans with each factor at its default, sampled inside the
    range that factory collect --vary samples, and outside of it.

    With --store, the figures in both files are of that store's test episodes, in place of the earlier ones.

    Examples:
      brain judge --run runs/car-racing
      brain judge --pretrained bouncing-logo
      brain judge --run runs/car-racing --store /mnt/factory/fresh-seed
      brain judge --run runs/car-racing --video judge.mp4
      brain judge --pretrained two-room --vary
      brain judge --run runs/car-racing --vary road_colour,friction --episodes 12
    """
    need_torch()
    run_path = chosen_run(given, name)
    from brain.device import pick
    from brain.evaluation.variation import chosen_factors
    from brain.models.world_model import WorldModel
    from brain.reports.evidence import judge
    from brain.reports.variation import EPISODES, judge_variation, judged_whole
    from brain.runs.folder import Run

    run = Run(run_path)
    opened = open_store(run, store)
    names = (vary or "").replace(",", " ").split()
    if vary is None and (episodes is not None or plans is not None):
        raise TinyJEPAError("--episodes and --plans count what --vary makes: add --vary")
    if video is None and seconds is not None:
        raise TinyJEPAError("--seconds is how much --video shows: add --video FILE.mp4")
    if vary is not None and video is not None:
        raise TinyJEPAError("--vary and --video exclude each other: run the command twice")
    if vary is not None:
        chosen_factors(opened.spec, names)
    if video is not None and video.suffix != ".mp4":
        raise TinyJEPAError(f"--video {video}: it will be an MP4, so name it {video.with_suffix('.mp4').name}")
    if video is not None and not video.absolute().parent.is_dir():
        raise TinyJEPAError(f"{video}: there is no folder {video.absolute().parent}: make it, or give another --video")
    anew = vary is None and video is None
    if anew or not run.judgement.exists() or (vary is not None and not judged_whole(run)):
        if other := _judged_on(run, opened.address):
            typer.echo(f"{run.judgement} is of {other}: it will be replaced by one of {opened.address}", err=True)
        judge(WorldModel.load(run_path, opened.spec, pick(device)), opened, run, quiet=quiet)
    if vary is not None:
        model = WorldModel.load(run_path, opened.spec, pick(device))
        for line in judge_variation(model, opened, run, names, episodes or EPISODES, plans, quiet=quiet):
            typer.echo(line)
    if video is None:
        show_summary(run_path)
        return
    from brain.live.loaded import load
    from brain.live.video import record

    lines = record(
        load(run_path, opened, pick(device), replay=True), video, seconds or 20.0, seed=int(run.facts()["seed"])
    )
    for line in lines:
        typer.echo(line)
    typer.echo(str(video.resolve()))


def _judged_on(run: Run, address: str) -> str:
    """The store that the run was judged on where that is not the one at ``address``, nor where this was before."""
    from brain.runs.figures import read_judgement

    try:
        earlier = read_judgement(run)
    except TinyJEPAError:  # a damaged one is made anew
        return ""
    place = str(earlier.store.get("path", "")) if earlier else ""
    facts = run.facts()
    moved = address == facts["store"] and place in (facts.get("earlier_stores") or ())
    return "" if place == address or moved else place
