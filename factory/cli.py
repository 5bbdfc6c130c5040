"""The ``factory`` command line. A new command is one file in ``factory/commands`` and one line here."""

from __future__ import annotations

import sys

from shared.cli.console import Commands, run
from shared.registry import Registry

COMMANDS = Registry("command")
COMMANDS.register("collect", "factory.commands.collect:command", "Collect episodes of a world into a store.")
COMMANDS.register("status", "factory.commands.status:command", "Show what is in a store, and what it covers.")
COMMANDS.register("preview", "factory.commands.preview:command", "Draw a contact sheet and a video of a store.")
COMMANDS.register("drive", "factory.commands.drive:command", "Drive a world by keyboard and record it.")
COMMANDS.register("verify", "factory.commands.verify:command", "Check every byte of a store; set damage aside.")
COMMANDS.register("gc", "factory.commands.gc:command", "Remove what killed writers left in a store.")
COMMANDS.register("merge", "factory.commands.merge:command", "Join stores of one world.")
COMMANDS.register("export", "factory.commands.export:command", "Write a store as HDF5, npz or Minari.")
COMMANDS.register("doctor", "factory.commands.doctor:command", "Check box and shared directory before a long run.")
COMMANDS.register("worlds", "factory.commands.worlds:command", "List the worlds.")

HELP = """Simulate worlds on many CPU cores and write what happens to a Zarr store.

\b
Examples:
  factory collect --workers 32          100,000 frames of CarRacing into data/car-racing
  factory status data/car-racing        what is in it
  factory preview data/car-racing       a contact sheet and a video
"""

cli = Commands(COMMANDS, help=HELP, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})


def main() -> None:
    """Entry point of the ``factory`` script."""
    sys.exit(run(cli, "factory"))


if __name__ == "__main__":
    main()
