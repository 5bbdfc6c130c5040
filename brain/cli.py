"""The ``brain`` command line. A new command is one file in ``brain/commands`` and one line here."""

from __future__ import annotations

import sys

from shared.cli.console import Commands, run
from shared.registry import Registry

COMMANDS = Registry("command")
COMMANDS.register("train", "brain.commands.train:command", "Train on a store and judge the result.")
COMMANDS.register("judge", "brain.commands.judge:command", "Calibrate the energy and report on test episodes.")
COMMANDS.register("probe", "brain.commands.probe:command", "Ask what the encoder knows of the true state.")
COMMANDS.register("dream", "brain.commands.dream:command", "Show decoded forecasts beside reality.")
COMMANDS.register("live", "brain.commands.live:command", "Watch it think, live, in a web page.")
COMMANDS.register(
    "export", "brain.commands.export:command", "Write a run as ONNX graphs, or as a page for any browser."
)
COMMANDS.register("report", "brain.commands.report:command", "Put all that a run folder holds on one page.")
COMMANDS.register("compare", "brain.commands.compare:command", "Lay runs side by side on one page.")
COMMANDS.register("sweep", "brain.commands.sweep:command", "Train a recipe over values and seeds; print a table.")
COMMANDS.register("doctor", "brain.commands.doctor:command", "Check box and shared directory before a long run.")
COMMANDS.register("status", "brain.commands.status:command", "Watch a training: loss, rank, progress, time left.")
COMMANDS.register("recipes", "brain.commands.recipes:command", "List the stock recipes, or explain one.")

cli = Commands(
    COMMANDS,
    help="Learn a world model from a store, and judge which futures are possible.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)


def main() -> None:
    """Entry point of the ``brain`` script."""
    sys.exit(run(cli, "brain"))


if __name__ == "__main__":
    main()
