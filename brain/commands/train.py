"""``brain train``"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from brain import recipes
from brain.commands.common import Duration, StorePlace, default_store, need_torch, show_summary

if TYPE_CHECKING:
    from brain.models.world_model import WorldModel
    from brain.runs.folder import Run
    from shared.store.reader import Store

LOG_FILE = "train.log"
"""In the run folder."""

EXAMPLES = """\b
Examples:
  brain train                                    the main job on data/car-racing
  brain train --budget 10m                       end on time on any machine
  brain train --steps 2000 --seed 1 --run runs/seed-1
  brain train --recipe tiny-jepa
  brain train --recipe two-room                  on data/two-room
  brain train --set objective.covariance=0.2 --set encoder.width=32 --run runs/wider
  brain train --store /mnt/factory/car-racing --stage encoder --device cuda
  brain train --store /mnt/factory/car-racing --follow        begin while the factory still collects
  brain train --store /mnt/factory/car-racing --on-corrupt skip
  brain train --store s3://bucket/car-racing                  needs pip install 'tinyjepa[remote]'"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--store",
    type=StorePlace(),
    help="Store to learn from: a directory or a URL. [the recipe's world in $TINYJEPA_DATA or data]",
)
@click.option("--run", "run_path", type=click.Path(path_type=Path), help="Run folder. [runs/RECIPE]")
@click.option("--recipe", default=recipes.DEFAULT, show_default=True, help="Stock recipe, or a .toml of your own.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.")
@click.option(
    "--stage", type=click.Choice(["encoder", "predictor", "energy"]), help="Only this stage. [all unfinished]"
)
@click.option("--steps", type=click.IntRange(min=1), help="Optimiser steps of each training stage: exactly repeatable.")
@click.option("--budget", type=Duration(), help="Time for all training stages, such as 90s, 10m, 2h: ends on time.")
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="What --budget counts: time, or this process's CPU seconds (fair on a busy box).",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Weights, batches, augmentations.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N (CUDA and ROCm).")
@click.option("--follow", is_flag=True, help="Take in what is committed while training; end with the collection.")
@click.option(
    "--min-frames",
    type=click.IntRange(min=1),
    default=10_000,
    show_default=True,
    help="--follow: training frames to wait for.",
)
@click.option(
    "--follow-idle",
    type=Duration(),
    default="5m",
    show_default=True,
    help="--follow: a collection that commits nothing for so long is over.",
)
@click.option("--poll", type=Duration(), default="2s", show_default=True, help="--follow: time between two looks.")
@click.option(
    "--on-corrupt",
    type=click.Choice(["raise", "skip"]),
    default="raise",
    show_default=True,
    help="A damaged shard ends the training, or is left out and reported.",
)
@click.option(
    "--pool-device", default="auto", show_default=True, help="Where frames are held: auto, cpu, cuda, cuda:N."
)
@click.option("--memory", type=click.FloatRange(min=0.01), default=4.0, show_default=True, help="GiB of frames held.")
@click.option("--checkpoint-every", type=Duration(), default="15s", show_default=True, help="Time between checkpoints.")
@click.option("--tensorboard", is_flag=True, help="Also write the curves for TensorBoard, into RUN/tensorboard.")
@click.option("--wandb", is_flag=True, help="Also send the curves to Weights & Biases; WANDB_MODE=offline keeps them.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    store: Path | str | None,
    run_path: Path | None,
    recipe: str,
    overrides: tuple[str, ...],
    stage: str | None,
    steps: int | None,
    budget: float | None,
    clock: str,
    seed: int,
    device: str,
    follow: bool,
    min_frames: int,
    follow_idle: float,
    poll: float,
    on_corrupt: str,
    pool_device: str,
    memory: float,
    checkpoint_every: float,
    tensorboard: bool,
    wandb: bool,
    quiet: bool,
) -> None:
    """Train encoder and predictor on a store and judge the result.

    Finished stages are skipped and an interrupted one goes on from its last checkpoint. With --follow and neither
    --steps nor --budget, the encoder trains until the collection has finished and one epoch over all of it is done,
    and at least for the recipe's steps.
    """
    if steps and budget:
        raise click.UsageError("--steps and --budget exclude each other: give one")
    resolved = recipes.load(recipe, overrides)
    need_torch()
    from brain.training.train import Curves, Data, Effort
    from brain.training.train import train as run_training
    from shared.cli.runlog import keep

    run_path = run_path or Path("runs") / resolved.name

    def judge(model: WorldModel, store: Store, run: Run) -> None:
        from brain.reports.evidence import judge as judge_run  # scikit-learn and matplotlib: only when they are needed

        judge_run(model, store, run, quiet=quiet)

    wanted: dict[Curves, bool] = {"tensorboard": tensorboard, "wandb": wandb}
    with keep() as log:
        lines = run_training(
            store or default_store(resolved.name),
            run_path,
            resolved,
            data=Data(
                follow=follow,
                min_frames=min_frames,
                idle=follow_idle,
                poll=poll,
                on_corrupt=on_corrupt,  # type: ignore[arg-type]  # click.Choice checked it
                memory=int(memory * (1 << 30)),
                pool=pool_device,
            ),
            effort=Effort(stage, steps, budget, clock),  # type: ignore[arg-type]  # click.Choice checked them
            seed=seed,
            device=device,
            checkpoint_seconds=checkpoint_every,
            curves=[name for name, on in wanted.items() if on],
            quiet=quiet,
            begun=lambda folder: log.open(folder / LOG_FILE),
            judge=judge,
        )
    for line in lines:
        click.echo(line)
    show_summary(run_path)
