"""``factory doctor``"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from shared.cli.options import local_path
from shared.doctor.finding import Finding


def command(
    store: Annotated[
        Path | None,
        typer.Option(
            parser=local_path, metavar="DIR", show_default="$TINYJEPA_DATA or data", help="Shared directory to probe."
        ),
    ] = None,
    address: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="A Ray cluster that must answer.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as one JSON object.")] = False,
) -> int:
    """Check this machine before a long run: cores, memory, libraries, Box2D, Ray, and the shared directory.

    The directory is probed in the way a store uses it: atomic replace while another process reads, exclusive create,
    append seen by another process, fsync, hard links, speed and clock. The probe takes a few seconds and cleans up.
    The exit code is 0 if a long run can start, and 1 if something is bad.

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
