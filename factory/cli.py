"""The ``factory`` command line. A new command is one file in ``factory/commands`` and one line here."""

from __future__ import annotations

import sys

from shared.cli.console import command_line, run
from shared.registry import Registry

COMMANDS = Registry("command")
COMMANDS.register("collect", "factory.commands.collect:command", "Collect episodes of a world into a store.")
COMMANDS.register("status", "factory.commands.status:command", "Show what a store holds and what it covers.")
COMMANDS.register("preview", "factory.commands.preview:command", "Draw a contact sheet, a video and coverage maps.")
COMMANDS.register("drive", "factory.commands.drive:command", "Drive a world by keyboard and record it.")
COMMANDS.register("verify", "factory.commands.verify:command", "Check every byte of a store, and repair it.")
COMMANDS.register("gc", "factory.commands.gc:command", "Remove files that killed writers left in a store.")
COMMANDS.register("merge", "factory.commands.merge:command", "Merge stores of one world.")
COMMANDS.register("import", "factory.commands.import_source:command", "Import a data set of another format.")
COMMANDS.register("edit", "factory.commands.edit:command", "Copy selected episodes into a new store.")
COMMANDS.register("export", "factory.commands.export:command", "Write a store as HDF5, npz, Minari or LeRobot v3.")
COMMANDS.register("doctor", "factory.commands.doctor:command", "Check this machine before a long run.")
COMMANDS.register("worlds", "factory.commands.worlds:command", "List the worlds, their named datasets and factors.")

HELP = """Run simulators on many CPU cores and write their episodes to a Zarr store.

Examples:
  factory collect --workers 32      100,000 frames of CarRacing to data/car-racing
  factory status data/car-racing    what the store holds
  factory preview data/car-racing   a contact sheet and a video
"""

cli = command_line(COMMANDS, HELP)


def main() -> None:
    """Entry point of the ``factory`` script."""
    sys.exit(run(cli, "factory"))


if __name__ == "__main__":
    main()
