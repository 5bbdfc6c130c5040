"""``brain plan``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from brain.commands.common import (
    Device,
    Pretrained,
    RunChoice,
    StorePlace,
    TrustWorld,
    chosen_run,
    need_torch,
    open_store,
    open_store_if_there,
)
from shared.cli.options import Quiet, local_path
from shared.errors import TinyJEPAError

PLANNING, LEARNED = "Planning", "Learned parts"
MOST_SEED = 2**32 - 1
"""scikit-learn takes no larger one."""
DEFAULT_PLANNER = "tree for goals; else prior where the run has learned a policy, or cem; cem on the true state"


def planner_names() -> list[str]:
    from brain.parts import PLANNERS

    return PLANNERS.names()


PlannerSettings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", rich_help_panel=PLANNING, help="Option of the planner. Repeatable."),
]
Costs = Annotated[
    list[str] | None,
    typer.Option(
        "--cost",
        metavar="KIND[:KEY=VALUE,...]",
        show_default="what suits the task",
        rich_help_panel=PLANNING,
        help="Cost of imagined futures, with its options, such as weight=0.1. Repeatable: they are added up.",
    ),
]


def command(
    given: RunChoice = None,
    name: Pretrained = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default="the world's first", help="Task of the world; `reward` fits any."),
    ] = None,
    planner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=planner_names,
            show_default=DEFAULT_PLANNER,
            rich_help_panel=PLANNING,
            help="cem, icem, mppi, gradient, shooting, tree (finds detours), inverse (learned, no search), "
            "guided (inverse, then search), policy (goal-free, no search) or prior (policy, then search).",
        ),
    ] = None,
    overrides: PlannerSettings = None,
    costs: Costs = None,
    dynamics: Annotated[
        Literal["model", "true", "untrained", "pca"],
        typer.Option(
            rich_help_panel=PLANNING,
            help="What imagines: the model, the true state (an upper bound), or a baseline: the encoder before "
            "training, or principal components of the frames.",
        ),
    ] = "model",
    episodes: Annotated[
        int | None, typer.Option(min=1, metavar="N", show_default="the task's list", help="Episodes to play.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            min=0, max=MOST_SEED, metavar="SEED", help="Of the planner's random numbers, and of what is fitted."
        ),
    ] = 0,
    fit: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            show_default="the run's store",
            rich_help_panel=LEARNED,
            help="Episodes that inverse model, policy, distance, reward and value are fitted to, once for a run "
            "folder; anew where it has those of another store.",
        ),
    ] = None,
    store: StorePlace = None,
    record: Annotated[
        Path | None,
        typer.Option(
            metavar="STORE",
            parser=local_path,
            help="Write the episodes into this store, for brain train. They are others than the task's fixed list.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            metavar="FOLDER",
            show_default="RUN; RUN/plan-DYNAMICS or RUN/recorded for what is not the model on the fixed list",
            help="Where the results go.",
        ),
    ] = None,
    shown: Annotated[int, typer.Option(min=0, max=8, metavar="N", help="Episodes in the video.")] = 4,
    baselines: Annotated[bool, typer.Option(help="Also play the random policy and the task's guides.")] = True,
    device: Device = "auto",
    trust_world: TrustWorld = False,
    quiet: Quiet = False,
) -> None:
    """Let an agent plan with the model: reach goals or earn rewards, over a fixed list of episodes.

    Writes plan.json, plan.mp4 and plan.html into the run folder: success at the end, ever and held, or the score, with
    intervals; seconds and predictor steps per decision; a video of what happened and what was imagined. Rerun the
    command to resume.

    Examples:
      brain plan --pretrained two-room --episodes 4
      brain plan --run runs/two-room
      brain plan --run runs/two-room --planner inverse --fit data/two-room-expert
      brain plan --run runs/two-room --planner mppi --set horizon=40 --set block=4
      brain plan --run runs/two-room --cost goal-distance:when=last
      brain plan --run runs/two-room --dynamics true   # an upper bound
      brain plan --run runs/lander --task reward --episodes 20 --record data/lander
    """  # fmt: skip
    need_torch()
    run_path = chosen_run(given, name)
    from brain.data.place import spec_of
    from brain.device import pick
    from brain.models.decoders.trained import load_decoder
    from brain.models.world_model import WorldModel
    from brain.planning.baselines import BASELINES
    from brain.planning.dynamics import Imagined
    from brain.planning.job import Choices, Job
    from brain.planning.kept import Kept
    from brain.reports.plan import write_plan
    from brain.runs.folder import Run

    run = Run(run_path)
    opened = open_store_if_there(run, store)
    fitted = open_store(run, fit, own=False) if fit else opened
    if opened is None and (run.recipe().observation.mode == "state" or not run.judgement.exists()):
        opened = open_store(run, store)  # which says what is missing
    if record and fitted and dynamics in BASELINES and str(record.resolve()) == fitted.address:
        raise TinyJEPAError(
            f"--dynamics {dynamics} is fitted to {record}, which --record would change: give another --record, or --fit"
        )
    model = WorldModel.load(run_path, opened.spec if opened else spec_of(run, None), pick(device))
    say = (lambda line: None) if quiet else (lambda line: print(f"plan: {line}", file=sys.stderr, flush=True))
    choices = Choices(
        task, planner, (*(overrides or ()),), (*(costs or ()),), dynamics, episodes, seed, shown, baselines, trust_world
    )
    job = Job(choices, run_path, model, fitted, quiet, chosen=fit is not None)
    folder = out or run_path / ("recorded" if record else "" if dynamics == "model" else f"plan-{dynamics}")
    try:
        kept = None if record else Kept(folder, job.identity())
    except OSError as error:
        raise TinyJEPAError(f"cannot write to {folder} ({error}): give another --out") from None
    figures, played = job.evaluate(record, say, kept)
    if not figures:
        typer.echo(f"{record} holds these {job.count} episodes already: give more --episodes, or --seed")
        return
    whole = type(job.dynamics.inner) is Imagined and dynamics == "model"
    decoder = load_decoder(run, model) if run.decoder.exists() and whole else None
    try:
        files = write_plan(folder, figures, played, job.world, job.reader, decoder)
    except OSError as error:
        raise TinyJEPAError(f"cannot write to {folder} ({error}): give another --out") from None
    if kept:
        kept.forget()
    for line in summary(figures):
        typer.echo(line)
    if record is not None:
        typer.echo(f"recorded into {record.resolve()}")
    for file in files:
        typer.echo(str(file.resolve()))


def summary(figures: dict[str, Any]) -> list[str]:
    """What people want to know first."""
    lines = [f"{figures['task']}, {figures['episodes']} episodes, {figures['planner']['kind']}:"]
    named = {figures["planner"]["kind"]: figures, **figures["baselines"]}
    for name, found in named.items():
        if "success" in found:
            parts = [
                f"{kind.replace('_', ' ')} {one['rate']:.0%} [{one['low']:.0%}, {one['high']:.0%}]"
                for kind, one in found["success"].items()
            ]
            lines.append(f"  {name:10} " + ", ".join(parts))
        else:
            lines.append(f"  {name:10} score {found['score']['mean']:.1f} +- {found['score']['std']:.1f}")
    decision = figures["decision"]
    if decision:
        seconds, core = decision["seconds"]["mean"], decision["core_seconds"]
        spent = f"a decision: {seconds:.3g} s, of one core {core['mean']:.3g} s (at most {core['most']:.3g} s)"
        lines.append(f"{spent}, {decision['predictor_steps']['mean']:.0f} predictor steps")
    if "imagined" in figures:
        one = figures["imagined"]["impossible"]
        lines.append(f"imagined plans that are impossible: {one['rate']:.1%} of {one['plans']}")
    return lines
