"""``brain probe``"""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated, Any

import typer

from brain.commands.common import Device, Pretrained, RunChoice, StorePlace, chosen_run, need_torch, open_store
from shared.cli.options import Quiet


def command(
    given: RunChoice = None,
    name: Pretrained = None,
    store: StorePlace = None,
    steps: Annotated[
        int, typer.Option(min=10, metavar="N", help="Training steps of the MLP probe and of the upper bound.")
    ] = 600,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Measure how well the world's true state and reward can be read off the latents of the frozen encoder.

    Per state: R2 of a linear and of an MLP probe, next to baselines (untrained encoder, PCA, pixels) and an upper
    bound (the same network trained on the state), and the error of the linear probe in the state's own unit. If the
    reward varies: R2 of the reward of a model step, predicted from latent and actions, next to baselines (actions
    alone, untrained encoder, PCA) and an upper bound (the true state). Probes are fitted on train episodes and scored
    on test episodes, the same that brain judge takes.

    Writes probe.json, probe.png, latents.png (PCA and t-SNE of test latents, coloured by state) and the reward head,
    reward.safetensors, into the run folder.

    Examples:
      brain probe --run runs/car-racing
      brain probe --run runs/bouncing-logo --store data/logo-fresh
    """
    need_torch()
    run_path = chosen_run(given, name)
    from brain.device import pick
    from brain.evaluation.judge import to_json
    from brain.evaluation.probe import Probe, draw_bars
    from brain.models.world_model import WorldModel
    from brain.reports.latent_map import draw_portrait
    from brain.runs import checkpoint
    from brain.runs.folder import Run, write_whole

    run = Run(run_path)
    opened = open_store(run, store)
    model = WorldModel.load(run_path, opened.spec, pick(device))
    say = (lambda line: None) if quiet else (lambda line: print(f"probe: {line}", file=sys.stderr, flush=True))
    probe = Probe(model, opened, 0, say)  # the judge's seed, so that both read the same samples
    scores = probe.scores(steps)
    plain = {space: {name: dataclasses.asdict(score) for name, score in each.items()} for space, each in scores.items()}
    figures: dict[str, Any] = {"steps": steps, "scores": plain}
    found = probe.reward(steps)
    if found is not None:
        rewards, head = found
        figures["reward"] = {space: dataclasses.asdict(score) for space, score in rewards.items()}
        checkpoint.save(run.reward, checkpoint.state(head=head), {"steps": steps})
    write_whole(run_path / "probe.json", to_json(figures))
    draw_bars(scores, run_path / "probe.png")
    spaces = [space for space in scores if space != "mean"]
    typer.echo(
        f"{'R2, all rows':18}" + "".join(f"{space:>16}" for space in spaces) + f"{'linear RMSE':>16}{'mean RMSE':>12}"
    )
    for name in opened.spec.state_names:
        cells = "".join(f"{scores[space][name].r2:16.3f}" for space in spaces)
        typer.echo(f"{name:18}{cells}{scores['linear'][name].rmse:16.4g}{scores['mean'][name].rmse:12.4g}")
    if found is not None:
        read = ", ".join(f"{space} {score.r2:.3f}" for space, score in rewards.items())
        unit = f"RMSE {rewards['model'].rmse:.4g}, of the mean {rewards['mean'].rmse:.4g}"
        typer.echo(f"R2 of a model step's reward: {read} ({unit})")
    test = probe.samples.rows("test", "model")
    draw_portrait(test.features, probe.states, test.states, 0, run_path / "latents.png")
    for picture in ("probe.png", "latents.png"):
        typer.echo(str((run_path / picture).resolve()))
