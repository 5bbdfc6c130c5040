"""``brain rounds``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from brain.commands.common import Clock, Device, RunFolder, TrustWorld, check_effort, need_torch
from brain.commands.plan import planner_names
from shared.cli.options import Quiet, local_path

PLANNING, TRAINING = "Planning", "Training"


def command(
    run_path: RunFolder,
    store: Annotated[
        Path, typer.Option(metavar="STORE", parser=local_path, help="Local store that grows; all rounds learn from it.")
    ],
    count: Annotated[int, typer.Option("--rounds", min=1, metavar="N", help="Rounds.")] = 3,
    episodes: Annotated[int, typer.Option(min=1, metavar="N", help="Episodes recorded in a round.")] = 200,
    evaluated: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", show_default="the task's list", help="Episodes that measure each model."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", show_default="RUN-rounds", help="Folder of the rounds.")
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default="the world's first", rich_help_panel=PLANNING, help="Task."),
    ] = None,
    planner: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=planner_names,
            show_default="that of brain plan",
            rich_help_panel=PLANNING,
            help="Planner of brain plan.",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", rich_help_panel=PLANNING, help="Option of the planner. Repeatable."),
    ] = None,
    costs: Annotated[
        list[str] | None,
        typer.Option(
            "--cost",
            metavar="KIND[:KEY=VALUE,...]",
            show_default="what suits the task",
            rich_help_panel=PLANNING,
            help="Cost of imagined futures. Repeatable.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", rich_help_panel=TRAINING, help="Optimiser steps of each training stage."),
    ] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="DURATION", rich_help_panel=TRAINING, help="Training time, such as 10m.")
    ] = None,
    clock: Clock = "wall",
    device: Device = "auto",
    trust_world: TrustWorld = False,
    quiet: Quiet = False,
) -> None:
    """Plan, record and retrain, again and again.

    In each round the newest model's agent records episodes into the store, none of them from the task's fixed list, a
    new model is trained on all of it with the same recipe, and plays the fixed list. Rerun the command to resume.

    Examples:
      brain rounds --run runs/two-room --store data/two-room
      brain rounds --run runs/lander --store data/lander --task reward
    """
    check_effort(steps, budget, clock)
    need_torch()
    from brain.planning.rounds import Rounds

    acting = ["--task", task] if task else []
    acting += [word for text in overrides or () for word in ("--set", text)]
    acting += [word for text in costs or () for word in ("--cost", text)]
    training = ["--steps", str(steps)] if steps else ["--budget", budget, "--clock", clock] if budget else []
    named = run_path if run_path.name else run_path.resolve()  # such as .
    out = out or named.with_name(f"{named.name}-rounds")
    rounds = Rounds(run_path, store, out, count, episodes, evaluated, acting, training, planner, device, trust_world)
    for line in rounds.play(lambda text: None if quiet else print(f"rounds: {text}", file=sys.stderr, flush=True)):
        if "success" in line:
            one = line["success"]["at_end"]
            measured = f"at end {one['rate']:.0%} [{one['low']:.0%}, {one['high']:.0%}]"
        else:
            measured = f"score {line['score']['mean']:.1f} +- {line['score']['std']:.1f}"
        typer.echo(f"round {line['round']}: {measured}, {line['episodes']} episodes, {line['run']}")
    typer.echo(str((out / "rounds.json").resolve()))
