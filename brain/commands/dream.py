"""``brain dream``"""

from __future__ import annotations

from typing import Annotated

import typer

from brain.commands.common import Device, Pretrained, RunChoice, StorePlace, chosen_run, need_torch, open_store
from shared.cli.options import Quiet


def command(
    given: RunChoice = None,
    name: Pretrained = None,
    store: StorePlace = None,
    steps: Annotated[int, typer.Option(min=1, metavar="N", help="Horizon of a forecast in model steps.")] = 20,
    episodes: Annotated[int, typer.Option(min=1, metavar="N", help="Test episodes to measure.")] = 20,
    shown: Annotated[int, typer.Option(min=1, max=8, metavar="N", help="Episodes in video and picture.")] = 3,
    decoder_steps: Annotated[int, typer.Option(min=1, metavar="N", help="Training steps of the decoder.")] = 600,
    decoder_kind: Annotated[
        str | None,
        typer.Option("--decoder", metavar="KIND", help="Kind of decoder, such as conv: the usual one, if not given."),
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Show decoded forecasts beside the true frames of test episodes.

    The first call trains a decoder on the frozen encoder; the model itself does not change. Writes forecast.mp4,
    reconstruction.png, dream.png (error over time) and dream.json into the run folder. Prints PSNR by horizon: of the
    forecast, of the reconstruction (the decoder on the true future latent: the upper bound), and of persistence.

    Examples:
      brain dream --run runs/car-racing
      brain dream --run runs/bouncing-logo --steps 60 --episodes 40
    """
    need_torch()
    run_path = chosen_run(given, name)
    from brain.device import pick
    from brain.evaluation.dream import dreams, long_enough, psnr, write_figures
    from brain.models.decoders.trained import kind_of_run
    from brain.models.world_model import WorldModel
    from brain.reports.dream import draw_dreams
    from brain.runs import checkpoint
    from brain.runs.folder import Run
    from brain.training.decoder import train_decoder

    run = Run(run_path)
    opened = open_store(run, store)
    model = WorldModel.load(run_path, opened.spec, pick(device))
    long_enough(model, opened, steps)
    kind = kind_of_run(run, model, decoder_kind)
    if run.decoder.exists() and not quiet:
        made = checkpoint.read_facts(run.decoder).get("step", 0)
        typer.echo(f"using the {kind} decoder of {made:,} steps; delete {run.decoder} to train another", err=True)
    decoder = train_decoder(run, model, opened, decoder_steps, int(run.facts()["seed"]), kind, quiet=quiet)
    found = dreams(model, decoder, opened, episodes, steps)
    seconds = model.recipe.observation.stride / opened.spec.control_rate
    files = draw_dreams(run, found, seconds, shown)
    facts = write_figures(run, found, seconds)
    typer.echo(
        f"{len(found)} test episodes, {steps} model steps of {seconds:g} s each; PSNR in dB (mean squared error):"
    )
    for k in sorted({1, 2, 4, 8, 16, steps} & set(range(1, steps + 1))):
        errors = [(name, facts[f"{name}_mse"][k - 1]) for name in ("forecast", "reconstruction", "persistence")]
        line = ", ".join(f"{name} {psnr(error):.1f} ({error:.5f})" for name, error in errors)
        typer.echo(f"  step {k:3}: {line}")
    typer.echo(f"reconstruction PSNR: {facts['reconstruction_psnr_db']:.1f} dB")
    for file in (*files, run_path / "dream.json"):
        typer.echo(str(file.resolve()))
