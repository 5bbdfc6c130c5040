"""The runs that come with the package: collect, train, judge, and write folder and card.

    python -m benchmarks.pretrained bouncing-logo             # into brain/pretrained/bouncing-logo
    python -m benchmarks.pretrained two-room --seed 1 --out /tmp/mine
    python -m benchmarks.pretrained two-room --packed-from runs/two-room   # a run that is judged already

Stores go to ``data/WORLD`` and runs to ``runs/WORLD``, as the commands on the card say; what is there is resumed.
CarRacing's takes minutes of a GPU, or some three hours of a core, by the number of its observations.
"""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.results import run
from brain import pretrained, recipes
from brain.reports.card import write_card
from brain.runs import checkpoint
from brain.runs.figures import judged
from brain.runs.folder import Run
from shared.errors import TinyJEPAError

FACTS = ("stage", "step")
"""What weights keep of the facts in their header: the others are those of a training, and of a machine."""


@dataclass(frozen=True)
class Plan:
    """How a run is made; it is called as its world."""

    recipe: str
    collect: str
    """arguments of ``factory collect`` that choose the episodes"""
    train: str = "--threads 1"
    drive: str = ""
    """arguments of ``factory collect`` for the episodes that a planner's learned parts are fitted to"""
    planner: str = ""
    """arguments of ``brain plan``; none: nothing of a planner is packed"""


PLANS = {
    "bouncing-logo": Plan("bouncing-logo", "--episodes 1000 --seed 11"),
    "car-racing": Plan(
        "car-racing-grid-vector",
        "--policy mixed-driving --episodes 2500 --seed 77",
        "--memory 14 --set objective.batch=128 --set objective.steps=6920 --set prediction.batch=128"
        " --set prediction.steps=1066 --set prediction.max_latents=60000 --set prediction.pushforward=0"
        " --set prediction.relative=false --set prediction.cells=5 --set prediction.learning_rate=1e-3",
        drive="--policy pursuit-race --frames 120000 --max-episode-steps 1000 --seed 40",
        planner="--planner prior --set noise=0.15",
    ),
    "double-pendulum": Plan("double-pendulum", "--episodes 600 --seed 11"),
    "two-room": Plan("two-room-grid", "--episodes 12000 --seed 11"),
}


def collect_command(name: str) -> str:
    """The command line that makes the store of a run, ``data/NAME``."""
    return f"factory collect --world {name} {PLANS[name].collect} --store data/{name}"


def plan_commands(name: str) -> list[str]:
    """The command lines that fit a planner's learned parts and measure it; none where the run is not planned with."""
    plan = PLANS[name]
    if not plan.planner:
        return []
    drivers = f"data/{name}-drivers"
    return [
        f"factory collect --world {name} {plan.drive} --store {drivers}",
        f"brain plan --run runs/{name} {plan.planner} --fit {drivers}",
    ]


def make(name: str, seed: int) -> Path:
    """Collect, train and judge, and plan where the run is planned with; returns the run folder."""
    plan, folder = PLANS[name], Path("runs") / name
    run("factory.cli", *shlex.split(collect_command(name))[1:])
    given = ("--recipe", plan.recipe, "--store", f"data/{name}", "--run", str(folder), "--seed", str(seed))
    run("brain.cli", "train", *given, *shlex.split(plan.train))
    for line in plan_commands(name):
        program, *arguments = shlex.split(line)
        run(f"{program}.cli", *arguments)
    return folder


def pack(source: Path, name: str, out: Path) -> None:
    """Write what a run is used for from folder ``source`` to ``out``: no training state, no path of this machine."""
    run = Run(source)
    judged(source)
    if run.facts()["world"] != name or run.recipe().name != PLANS[name].recipe:
        raise TinyJEPAError(f"{source} is of {run.facts()['world']} and recipe {run.recipe().name}: give one of {name}")
    store = f"data/{name}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for file in (run.encoder, run.predictor):
        tensors, facts = checkpoint.load(file)
        kept = {key: tensor for key, tensor in tensors.items() if key.startswith("model.")}
        checkpoint.save(out / file.name, kept, {key: facts[key] for key in FACTS})
    facts = {key: value for key, value in run.facts().items() if key != "earlier_stores"}
    recipe = run.recipe()
    if "--budget" in facts["flags"]:  # what the time was enough for, so that the card's commands need no clock
        at = facts["flags"].index("--budget")
        facts["flags"] = facts["flags"][:at] + facts["flags"][at + 2 :]
        steps = [checkpoint.read_facts(file)["step"] for file in (run.encoder, run.predictor)]
        done = [f"objective.steps={steps[0]}", f"prediction.steps={steps[1]}"]
        recipe = recipes.load(str(source / "recipe.toml"), done)
    (out / "recipe.toml").write_text(recipes.dump(recipe))
    made = {"collect": collect_command(name)} | ({"plan": lines} if (lines := plan_commands(name)) else {})
    _write(out / "run.json", facts | {"store": store} | made)
    judgement = json.loads(run.judgement.read_text())
    _write(out / "judge.json", judgement | {"store": judgement["store"] | {"path": store}})
    if lines:
        drivers = f"data/{name}-drivers"
        planned = json.loads((source / "plan.json").read_text())
        _write(out / "plan.json", planned | {"fitted_to": dict.fromkeys(planned["fitted_to"], drivers)})
        for kind in planned["fitted_to"]:
            tensors, facts = checkpoint.load(source / f"planning-{kind}.safetensors")
            checkpoint.save(out / f"planning-{kind}.safetensors", tensors, facts | {"store": drivers})
    write_card(out)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=1) + "\n")


def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(PLANS)}.")],
    seed: Annotated[int, typer.Option(min=0)] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder to write, and to replace.")] = None,
    packed_from: Annotated[Path | None, typer.Option(help="A judged run that is packed as it is.")] = None,
) -> None:
    if name not in PLANS:
        raise typer.BadParameter(f"choose from {', '.join(PLANS)}")
    out = out or Path(pretrained.__file__).parent / name
    pack(packed_from or make(name, seed), name, out)
    typer.echo(out / pretrained.CARD)


if __name__ == "__main__":
    typer.run(main)
