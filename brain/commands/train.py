"""``brain train``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from brain import recipes
from brain.commands.common import (
    EXPERIMENT,
    TRAINING,
    Clock,
    RecipeName,
    check_effort,
    chosen_encoders,
    default_recipe,
    need_torch,
    show_summary,
    store_of,
    with_encoder,
)
from shared.cli.console import WORDS
from shared.cli.options import count, duration
from shared.errors import TinyJEPAError

if TYPE_CHECKING:
    from brain.models.world_model import WorldModel
    from brain.runs.folder import Run
    from shared.store.reader import Store

LOG_FILE = "train.log"
"""In the run folder."""

FOLLOWING, HARDWARE, LOGGING = "Following a collection", "Data and hardware", "Logging"
"""Panels of options, besides those that ``sweep`` has too."""


def command(
    recipe: RecipeName = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            rich_help_panel=EXPERIMENT,
            help="Change a key of the recipe. Repeatable.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            metavar="STORE",
            show_default="the recipe's world in $TINYJEPA_DATA or data",
            rich_help_panel=EXPERIMENT,
            help="Store to learn from: a directory or a URL.",
        ),
    ] = None,
    run_path: Annotated[
        Path | None,
        typer.Option(
            "--run", metavar="RUN", show_default="runs/RECIPE", rich_help_panel=EXPERIMENT, help="Run folder to write."
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            rich_help_panel=EXPERIMENT,
            help="Take over the trained encoder of this run, or of pretrained:NAME, and train only a predictor; "
            "untrained = leave the recipe's as it is initialised, a baseline.",
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(min=0, metavar="N", rich_help_panel=EXPERIMENT, help="Seed of weights, batches, augmentations."),
    ] = 0,
    stage: Annotated[
        Literal["encoder", "predictor", "energy"] | None,
        typer.Option(show_default="all that are not finished", rich_help_panel=TRAINING, help="Run only this stage."),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            parser=count,
            metavar="N",
            show_default="the recipe's",
            rich_help_panel=TRAINING,
            help="Optimiser steps of each training stage: exactly repeatable.",
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            rich_help_panel=TRAINING,
            help="Time for the steps of both training stages, such as 90s, 10m or 2h, instead of --steps.",
        ),
    ] = None,
    clock: Clock = "wall",
    checkpoint_every: Annotated[
        float,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default="15s",
            rich_help_panel=TRAINING,
            help="Time between two checkpoints.",
        ),
    ] = 15.0,
    follow: Annotated[
        bool,
        typer.Option(
            "--follow",
            rich_help_panel=FOLLOWING,
            help="Train while the factory still collects: read what it commits, stop when it has finished.",
        ),
    ] = False,
    min_frames: Annotated[
        int,
        typer.Option(parser=count, metavar="N", rich_help_panel=FOLLOWING, help="Training frames to wait for."),
    ] = 10_000,
    follow_idle: Annotated[
        float,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default="5m",
            rich_help_panel=FOLLOWING,
            help="A collection that commits nothing for this long has ended.",
        ),
    ] = 300.0,
    poll: Annotated[
        float,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            show_default="2s",
            rich_help_panel=FOLLOWING,
            help="Time between two looks at the store.",
        ),
    ] = 2.0,
    device: Annotated[
        str,
        typer.Option(metavar="DEVICE", rich_help_panel=HARDWARE, help="auto, cpu, cuda or cuda:N (CUDA and ROCm)."),
    ] = "auto",
    gpus: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default="1",
            rich_help_panel=HARDWARE,
            help="Processes that share each batch, a GPU each; with --device cpu, on the CPU.",
        ),
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(
            rich_help_panel=HARDWARE,
            help="Precision of the encoder's training; auto is bfloat16 on GPUs that have it, float32 on a CPU.",
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            show_default="1 with --steps, else measured",
            rich_help_panel=HARDWARE,
            help="CPU threads of the encoder's training. One thread repeats exactly.",
        ),
    ] = None,
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile",
            rich_help_panel=HARDWARE,
            help="torch.compile the encoder's training step: minutes at the start, then perhaps faster.",
        ),
    ] = False,
    cuda_graphs: Annotated[
        bool,
        typer.Option(
            "--cuda-graphs/--no-cuda-graphs",
            rich_help_panel=HARDWARE,
            help="Replay training steps on a GPU instead of starting their kernels one by one.",
        ),
    ] = True,
    pool_device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE", rich_help_panel=HARDWARE, help="Where frames are held: auto, cpu, cuda or cuda:N."
        ),
    ] = "auto",
    memory: Annotated[
        float, typer.Option(min=0.01, max=1 << 20, metavar="GIB", rich_help_panel=HARDWARE, help="GiB of frames held.")
    ] = 4.0,
    on_corrupt: Annotated[
        Literal["raise", "skip"],
        typer.Option(rich_help_panel=HARDWARE, help="A damaged shard stops the training, or is left out and reported."),
    ] = "raise",
    tensorboard: Annotated[
        bool,
        typer.Option("--tensorboard", rich_help_panel=LOGGING, help="Also write the curves to RUN/tensorboard."),
    ] = False,
    wandb: Annotated[
        bool,
        typer.Option(
            "--wandb",
            rich_help_panel=LOGGING,
            help="Also send the curves to Weights & Biases; WANDB_MODE=offline keeps them here.",
        ),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", rich_help_panel=LOGGING, help="Show no progress.")] = False,
) -> None:
    """Train encoder and predictor on a store and judge the result.

    Finished stages are skipped, and an interrupted stage resumes from its last checkpoint. With --follow and neither
    --steps nor --budget, the encoder trains until the collection has finished and one epoch over all of it is done,
    and at least for the recipe's steps.

    Examples:
      brain train                          # on data/car-racing
      brain train --budget 10m
      brain train --steps 2000 --seed 1 --run runs/seed-1
      brain train --recipe two-room        # on data/two-room
      brain train --set objective.covariance=0.2 --run runs/less-rank
      brain train --store /mnt/factory/car-racing --stage encoder --device cuda
      brain train --store /mnt/factory/car-racing --follow
      brain train --store /mnt/factory/car-racing --on-corrupt skip
      brain train --store s3://bucket/cars # pip install 'tinyjepa[remote]'
      brain train --gpus 4
      brain train --encoder runs/grid --set prediction.rollout=16 --run runs/16
      brain train --encoder untrained --run runs/baseline
    """
    check_effort(steps, budget, clock)
    need_torch()
    if gpus is not None:
        from brain.training.launch import launch, needed

        if needed(gpus):
            sys.exit(launch(gpus, [sys.executable, "-m", "brain", *(WORDS.get() or sys.argv)[1:]]))
    if encoder is not None and follow:
        raise TinyJEPAError("--follow trains an encoder while the store grows: leave it out, or --encoder")
    taken = chosen_encoders([encoder])[0] if encoder is not None else None
    if isinstance(taken, Path):
        recipe, store = with_encoder(taken, recipe, store)
    resolved = recipes.load(recipe or default_recipe(store), overrides or [])
    from brain import distributed
    from brain.training.launch import peer_lost
    from brain.training.options import Curves, Data, Effort
    from brain.training.train import train as run_training
    from shared.cli.runlog import keep

    run_path = run_path or Path("runs") / resolved.name

    def judge(model: WorldModel, store: Store, run: Run) -> None:
        from brain.reports.evidence import judge as judge_run  # scikit-learn and matplotlib: only when they are needed

        judge_run(model, store, run, quiet=quiet)

    wanted: dict[Curves, bool] = {"tensorboard": tensorboard, "wandb": wandb}
    with peer_lost(), keep() as log:
        lines = run_training(
            store or store_of(resolved),
            run_path,
            resolved,
            data=Data(
                follow=follow,
                min_frames=min_frames,
                idle=follow_idle,
                poll=poll,
                on_corrupt=on_corrupt,
                memory=int(memory * (1 << 30)),
                pool=pool_device,
            ),
            effort=Effort(stage, taken, steps, budget, clock, precision, threads, compiled, cuda_graphs),
            seed=seed,
            device=device,
            checkpoint_seconds=checkpoint_every,
            curves=[name for name, on in wanted.items() if on],
            quiet=quiet,
            begun=lambda folder: log.open(folder / LOG_FILE),
            judge=judge,
        )
    if not distributed.first():
        return
    for line in lines:
        typer.echo(line)
    show_summary(run_path)
