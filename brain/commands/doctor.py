"""``brain doctor``"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from brain.commands.common import data_folder, need_torch
from shared.doctor.finding import Finding


@click.command()
@click.option("--store", type=click.Path(path_type=Path), help="Shared directory.  [default: $TINYJEPA_DATA or data]")
@click.option("--runs", type=click.Path(path_type=Path), help="Folder of run folders, if it is on another disk.")
@click.option("--json", "as_json", is_flag=True, help="All findings as one JSON object on stdout.")
def command(store: Path | None, runs: Path | None, as_json: bool) -> int:
    """Check this box before a long run: cores, memory, libraries, torch build, GPU, bfloat16, the shared directory.

    The directory is probed as the store uses it; it may be mounted read-only here. It takes a few seconds and leaves
    nothing. Exit code 0 when a long run can begin, 1 when something is bad.

    \b
    Examples:
      brain doctor
      brain doctor --store /mnt/shared --runs runs
    """
    need_torch()
    from shared.doctor.finding import show

    return show(_findings(store, runs), as_json)


def _findings(store: Path | None, runs: Path | None) -> Iterator[Finding]:
    from brain.doctor import gpu_findings
    from shared.doctor.box import box
    from shared.doctor.directory import directory

    yield from box(["torch", "safetensors", "scikit-learn", "matplotlib"])
    yield from gpu_findings()
    default = data_folder()
    yield from directory(store or (default if default.is_dir() else Path()), writes=False)
    if runs is not None:
        yield from directory(runs, writes=True)
