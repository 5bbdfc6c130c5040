"""The ``brain`` command line. A new command is one file in ``brain/commands`` and one line here."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any

from shared.cli.console import command_line, run
from shared.registry import Registry

COMMANDS = Registry("command")
COMMANDS.register("train", "brain.commands.train:command", "Train a world model on a store and judge it.")
COMMANDS.register("judge", "brain.commands.judge:command", "Calibrate the energy and score test episodes.")
COMMANDS.register("probe", "brain.commands.probe:command", "Measure what the latents know of the true state.")
COMMANDS.register("dream", "brain.commands.dream:command", "Show decoded forecasts beside the true frames.")
COMMANDS.register("plan", "brain.commands.plan:command", "Let an agent plan with the model, and measure it.")
COMMANDS.register("rounds", "brain.commands.rounds:command", "Plan, record the episodes, train on them, and again.")
COMMANDS.register("live", "brain.commands.live:command", "Watch a model watch its world, in a web page.")
COMMANDS.register("export", "brain.commands.export:command", "Write a run as ONNX graphs or as a web page.")
COMMANDS.register("report", "brain.commands.report:command", "Put everything a run holds on one page.")
COMMANDS.register("compare", "brain.commands.compare:command", "Compare several runs on one page.")
COMMANDS.register("sweep", "brain.commands.sweep:command", "Train a recipe over values and seeds.")
COMMANDS.register("doctor", "brain.commands.doctor:command", "Check this machine before a long run.")
COMMANDS.register("status", "brain.commands.status:command", "Show the progress of a training run.")
COMMANDS.register("recipes", "brain.commands.recipes:command", "List the recipes, or explain one key by key.")

HELP = """Learn a world model from a store, and judge which futures are possible.

Examples:
  brain train                        train on data/car-racing and write a report
  brain live --run runs/car-racing   watch the trained model
  brain recipes                      list the experiments that are included
"""

cli = command_line(COMMANDS, HELP)


def explain(error: Exception) -> str | None:
    """The line for a GPU whose memory is full; none for another error."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(error, torch.OutOfMemoryError):
        return None
    wanted = " ".join(str(error).split()).split(". ")
    return (
        f"{'. '.join(wanted[:2])}: end what else uses the GPU, or give --device cpu; brain train needs less with "
        "--set objective.accumulate=2 (or 4, ...), a smaller --set objective.batch, or --pool-device cpu"
    )


def main() -> None:
    """Entry point of the ``brain`` script.

    One of several processes that train together ends without tearing the interpreter down: after an error gloo's
    threads still run, and would abort it.
    """
    code: Any
    try:
        code = run(cli, "brain", explain=explain)
    except SystemExit as ending:
        code = ending.code
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and isinstance(code, int):
        with contextlib.suppress(OSError, ValueError):  # nobody reads them any more
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    main()
