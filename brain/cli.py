"""The command line of the brain: ``brain train``, ``brain judge``, ``brain recipes``."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import click

from brain import recipes
from shared.console import run as run_command
from shared.errors import TinyJEPAError

EXAMPLES = {
    "train": """\b
Examples:
  brain train                                    the main job on data/car-racing
  brain train --budget 10m                       end on time on any machine
  brain train --steps 2000 --seed 1 --run runs/seed-1
  brain train --recipe tiny-jepa --run runs/tiny-jepa
  brain train --set objective.covariance=0.2 --set encoder.width=32 --run runs/wider
  brain train --store /mnt/factory/car-racing --stage encoder --device cuda""",
    "judge": """\b
Examples:
  brain judge --run runs/car-racing
  brain judge --run runs/car-racing --store /mnt/factory/fresh-seed""",
    "recipes": """\b
Examples:
  brain recipes                                  list them
  brain recipes car-racing                       every key with its value and meaning
  brain recipes mine.toml --set objective.rollout=4""",
}


class Duration(click.ParamType):
    """Seconds: a number, or a number with s, m or h."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", str(value).strip())
        if not match or float(match[1]) <= 0:
            self.fail(f"'{value}' is no positive duration: write 90s, 10m or 1.5h", param, ctx)
        return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Learn a world model from a store, and judge which futures are possible."""


@cli.command(epilog=EXAMPLES["train"])
@click.option(
    "--store",
    type=click.Path(path_type=Path),
    help="Store to learn from. [$TINYJEPA_DATA or data, /car-racing]",
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
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Weights, batches, augmentations.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N (CUDA and ROCm).")
@click.option("--memory", type=click.FloatRange(min=0.01), default=4.0, show_default=True, help="GiB of frames held.")
@click.option("--checkpoint-every", type=Duration(), default="15s", show_default=True, help="Time between checkpoints.")
@click.option("--quiet", is_flag=True, help="No progress.")
def train(
    store: Path | None,
    run_path: Path | None,
    recipe: str,
    overrides: tuple[str, ...],
    stage: str | None,
    steps: int | None,
    budget: float | None,
    seed: int,
    device: str,
    memory: float,
    checkpoint_every: float,
    quiet: bool,
) -> None:
    """Train encoder and predictor on a store and judge the result.

    Finished stages are skipped and an interrupted one goes on from its last checkpoint.
    """
    if steps and budget:
        raise click.UsageError("--steps and --budget exclude each other: give one")
    resolved = recipes.load(recipe, overrides)
    _need_torch()
    from brain.train import train as run_training

    run_path = run_path or Path("runs") / resolved.name
    lines = run_training(
        store or default_store(),
        run_path,
        resolved,
        stage=stage,  # type: ignore[arg-type]  # click.Choice checked it
        steps=steps,
        seconds=budget,
        seed=seed,
        device=device,
        memory=int(memory * (1 << 30)),
        checkpoint_seconds=checkpoint_every,
        quiet=quiet,
    )
    for line in lines:
        click.echo(line)
    _summary(run_path)


@cli.command(epilog=EXAMPLES["judge"])
@click.option("--run", "run_path", type=click.Path(path_type=Path), required=True, help="Run folder of brain train.")
@click.option("--store", type=click.Path(path_type=Path), help="Store to judge on. [the one it was trained on]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--quiet", is_flag=True, help="No progress.")
def judge(run_path: Path, store: Path | None, device: str, quiet: bool) -> None:
    """Calibrate the energy on validation episodes, report on test episodes: judge.json and report.html."""
    _need_torch()
    from brain.device import pick
    from brain.model import WorldModel
    from brain.run import Run
    from brain.stages.energy import judge_energy
    from shared.store.reader import Store

    run = Run(run_path)
    facts = run.facts()
    opened = Store(store or facts["store"])
    for key, value in (
        ("world", opened.spec.world),
        ("frame_shape", list(opened.spec.frame_shape)),
        ("action_dim", opened.spec.action_dim),
    ):
        if facts[key] != value:
            raise TinyJEPAError(
                f"{opened.path} has {key} {value}, but the run was trained with {facts[key]}: give its --store"
            )
    judge_energy(run, WorldModel.load(run_path, opened.spec, pick(device)), opened, quiet=quiet)
    _summary(run_path)


@cli.command(name="recipes", epilog=EXAMPLES["recipes"])
@click.argument("name", required=False)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe; repeatable.")
def recipes_command(name: str | None, overrides: tuple[str, ...]) -> None:
    """List the stock recipes, or print one resolved, with a line of explanation per key."""
    if name is None:
        for stock in recipes.names():
            click.echo(f"{stock:16} {recipes.load(stock).summary}")
        return
    for key, value, why in recipes.explain(recipes.load(name, overrides)):
        click.echo(f"{key:28} {value!s:24} {why}")


def default_store() -> Path:
    """``$TINYJEPA_DATA/car-racing``, or ``data/car-racing``: where ``factory collect`` writes by default."""
    return Path(os.environ.get("TINYJEPA_DATA", "data")) / "car-racing"


def _need_torch() -> None:
    try:
        import torch  # noqa: F401
    except ModuleNotFoundError:
        raise TinyJEPAError("torch is not installed on this box: pip install 'tinyjepa[brain]'") from None


def _summary(run_path: Path) -> None:
    report = run_path / "report.html"
    if report.exists():
        from brain.judge import headline

        for line in headline(run_path):
            click.echo(line)
        click.echo(f"report: {report.resolve()}")


def main() -> None:
    sys.exit(run_command(cli, "brain"))


if __name__ == "__main__":
    main()
