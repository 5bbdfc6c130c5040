"""``brain dream``"""

from __future__ import annotations

import json
from pathlib import Path

import click

from brain.commands.common import StorePlace, need_torch, open_store

EXAMPLES = """\b
Examples:
  brain dream --run runs/car-racing
  brain dream --run runs/bouncing-logo --steps 60 --episodes 40"""


@click.command(epilog=EXAMPLES)
@click.option("--run", "run_path", type=click.Path(path_type=Path), required=True, help="Run folder of brain train.")
@click.option("--store", type=StorePlace(), help="Store to dream on. [the one it was trained on]")
@click.option("--steps", type=click.IntRange(min=1), default=20, show_default=True, help="Model steps ahead.")
@click.option("--episodes", type=click.IntRange(min=1), default=20, show_default=True, help="Test episodes measured.")
@click.option("--shown", type=click.IntRange(1, 8), default=3, show_default=True, help="Episodes in film and picture.")
@click.option("--decoder-steps", type=click.IntRange(min=1), default=600, show_default=True, help="To train it with.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(
    run_path: Path,
    store: Path | str | None,
    steps: int,
    episodes: int,
    shown: int,
    decoder_steps: int,
    device: str,
    quiet: bool,
) -> None:
    """Show what the model thinks will happen: decoded forecasts beside reality.

    Trains a decoder on the frozen encoder the first time (the model itself does not change), then writes forecast.mp4,
    reconstruction.png, dream.png (error over time) and dream.json into the run folder. Test episodes only.
    """
    need_torch()
    from brain.device import pick
    from brain.evaluation.dream import dreams, long_enough, train_decoder, write_dreams
    from brain.models.world_model import WorldModel
    from brain.runs import checkpoint
    from brain.runs.folder import Run

    run = Run(run_path)
    opened = open_store(run, store)
    model = WorldModel.load(run_path, opened.spec, pick(device))
    long_enough(model, opened, steps)
    if run.decoder.exists() and not quiet:
        made = checkpoint.read_facts(run.decoder).get("step", 0)
        click.echo(f"decoder of {made:,} steps is there and used; delete {run.decoder} to train another", err=True)
    decoder = train_decoder(run, model, opened, decoder_steps, int(run.facts()["seed"]), quiet=quiet)
    found = dreams(model, decoder, opened, episodes, steps)
    seconds = model.recipe.observation.stride / opened.spec.control_rate
    files = write_dreams(run, found, seconds, shown)
    facts = json.loads(files[-1].read_text(encoding="utf-8"))
    click.echo(f"{len(found)} test episodes, {steps} model steps of {seconds:g} s each; mean squared pixel error:")
    for k in sorted({1, 2, 4, 8, 16, steps} & set(range(1, steps + 1))):
        values = [facts[f"{name}_mse"][k - 1] for name in ("forecast", "reconstruction", "persistence")]
        click.echo("  step {:3}: forecast {:.5f}, reconstruction {:.5f}, persistence {:.5f}".format(k, *values))
    click.echo(f"reconstruction PSNR: {facts['reconstruction_psnr_db']:.1f} dB")
    for file in files:
        click.echo(str(file.resolve()))
