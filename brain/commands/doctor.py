"""``brain doctor``"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from brain.commands.common import need_torch
from shared.doctor.finding import Finding


def command(
    store: Annotated[
        Path | None,
        typer.Option(metavar="DIR", show_default="$TINYJEPA_DATA or data", help="Shared directory to probe."),
    ] = None,
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of run folders, if it is on another disk.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings as one JSON object.")] = False,
) -> int:
    """Check this machine before a long run: cores, memory, libraries, PyTorch, GPU, bfloat16, the shared directory.

    The directory is probed in the way a store uses it, and may be mounted read-only. The probe takes a few seconds
    and cleans up. The exit code is 0 if a long run can start, and 1 if something is bad.

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
    from shared.store.source import data_folder

    yield from box(["torch", "safetensors", "scikit-learn", "matplotlib"])
    yield from gpu_findings()
    default = data_folder()
    yield from directory(store or (default if default.is_dir() else Path()), writes=False)
    if runs is not None:
        yield from directory(runs, writes=True)
