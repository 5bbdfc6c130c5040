"""``brain probe``"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import click

from brain.commands.common import StorePlace, need_torch, open_store

EXAMPLES = """\b
Examples:
  brain probe --run runs/car-racing
  brain probe --run runs/bouncing-logo --store data/logo-fresh"""


@click.command(epilog=EXAMPLES)
@click.option("--run", "run_path", type=click.Path(path_type=Path), required=True, help="Run folder of brain train.")
@click.option("--store", type=StorePlace(), help="Store to probe on. [the one it was trained on]")
@click.option(
    "--steps", type=click.IntRange(min=10), default=600, show_default=True, help="Of the MLP probe and the upper bound."
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--quiet", is_flag=True, help="No progress.")
def command(run_path: Path, store: Path | str | None, steps: int, device: str, quiet: bool) -> None:
    """Ask what the frozen encoder knows of the world's true state, and of what it pays.

    Per state: R2 of a linear and of an MLP probe, beside baselines (untrained encoder, PCA, pixels) and an upper bound
    (the same network trained on the state), and the linear probe's error in the state's own unit. Where the reward
    varies also: R2 of a model step's reward, read from latent and actions, beside baselines (actions alone, untrained
    encoder, PCA) and an upper bound (the true state). Fitted on train episodes, scored on test episodes, the same as
    brain judge takes. Writes probe.json, probe.png, latents.png (PCA and t-SNE of test latents, coloured by state) and
    the reward head, reward.safetensors, into the run folder.
    """
    need_torch()
    from brain.device import pick
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
    write_whole(run_path / "probe.json", json.dumps(figures, indent=1) + "\n")
    draw_bars(scores, run_path / "probe.png")
    spaces = [space for space in scores if space != "mean"]
    click.echo(
        f"{'R2, all rows':18}" + "".join(f"{space:>16}" for space in spaces) + f"{'linear RMSE':>16}{'mean RMSE':>12}"
    )
    for name in opened.spec.state_names:
        cells = "".join(f"{scores[space][name].r2:16.3f}" for space in spaces)
        click.echo(f"{name:18}{cells}{scores['linear'][name].rmse:16.4g}{scores['mean'][name].rmse:12.4g}")
    if found is not None:
        read = ", ".join(f"{space} {score.r2:.3f}" for space, score in rewards.items())
        unit = f"RMSE {rewards['model'].rmse:.4g}, of the mean {rewards['mean'].rmse:.4g}"
        click.echo(f"R2 of a model step's reward: {read} ({unit})")
    test = probe.samples.rows("test", "model")
    draw_portrait(test.features, probe.states, test.states, 0, run_path / "latents.png")
    for picture in ("probe.png", "latents.png"):
        click.echo(str((run_path / picture).resolve()))
