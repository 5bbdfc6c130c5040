"""``factory doctor``"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click

from shared.cli.console import LocalPath
from shared.doctor.finding import Finding


@click.command()
@click.option("--store", type=LocalPath(), help="Shared directory.  [default: $TINYJEPA_DATA or data]")
@click.option("--address", help="A Ray cluster, as host:port, that must answer.")
@click.option("--json", "as_json", is_flag=True, help="All findings as one JSON object on stdout.")
def command(store: Path | None, address: str | None, as_json: bool) -> int:
    """Check this box before a long run: cores, memory, libraries, Box2D, Ray, and the shared directory.

    The directory is probed as the store uses it: atomic replace while another process reads, exclusive create,
    append seen by another process, fsync, hard links, speed, clock. It takes a few seconds and leaves nothing.
    Exit code 0 when a long run can begin, 1 when something is bad.

    \b
    Examples:
      factory doctor
      factory doctor --store /mnt/shared --address box1:6379
    """
    from shared.doctor.finding import show

    return show(_findings(store, address), as_json)


def _findings(store: Path | None, address: str | None) -> Iterator[Finding]:
    from factory.doctor import ray_findings
    from shared.doctor.box import box, box2d
    from shared.doctor.directory import directory

    yield from box(["ray"])
    yield box2d()
    yield from ray_findings(address)
    yield from directory(store or default_directory(), writes=True)


def default_directory() -> Path:
    """``$TINYJEPA_DATA``, or ``data``, or where that would be made."""
    named = os.environ.get("TINYJEPA_DATA")
    return Path(named) if named else Path("data") if Path("data").is_dir() else Path()
