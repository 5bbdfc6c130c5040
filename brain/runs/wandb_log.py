"""Training curves for Weights & Biases, by its own library, which is an optional package.

What is sent, or kept where ``WANDB_MODE=offline``: the recipe, world and seed, the curves, and how busy the machine is.
Nothing else: no command line, environment, source, console output, package list, or address of the store, any of which
may hold a secret.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.errors import TinyJEPAError

PROJECT = "tinyjepa"
"""Unless ``WANDB_PROJECT`` says otherwise."""


def need_wandb() -> None:
    """Raises ``TinyJEPAError`` where the library is not installed; imports nothing."""
    if importlib.util.find_spec("wandb") is None:
        raise TinyJEPAError("--wandb needs a package that is not installed: pip install 'tinyjepa[wandb]'")


class WandbLog:
    """One W&B run whose files lie in ``folder/wandb``; a training that goes on goes on in the same W&B run.

    Raises ``TinyJEPAError`` if the library is missing, no user is logged in, or the server cannot be reached.
    """

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        need_wandb()
        import wandb

        (folder / "wandb").mkdir(parents=True, exist_ok=True)
        settings = wandb.Settings(
            silent=True, console="off", disable_git=True, disable_code=True, save_code=False, x_disable_meta=True,
            x_save_requirements=False,
        )  # fmt: skip
        with _one_line(wandb.errors.Error):
            offline = os.environ.get("WANDB_MODE", "online") != "online"
            if not offline and not wandb.login(prompt=False):
                raise TinyJEPAError("--wandb: not logged in: run wandb login, or set WANDB_MODE=offline")
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT), name=folder.resolve().name, dir=str(folder),
                config=dict(config), id=_number(folder / "wandb" / "run-id"), resume="allow", settings=settings,
            )  # fmt: skip
        self._stages: set[str] = set()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add scalars, each under its tag ``stage/term``, at a step of that stage, 0 or more."""
        row: dict[str, float] = dict(scalars)
        for stage in {tag.split("/")[0] for tag in scalars}:
            if stage not in self._stages:  # W&B's own step may never fall, and every stage begins at 0
                self._run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")
                self._stages.add(stage)
            row[f"{stage}/step"] = step
        self._run.log(row)

    def close(self) -> None:
        """Writes and sends what is left, and ends the library's own process: only then is the last on disk."""
        import wandb

        self._run.finish()
        wandb.teardown()


def _number(path: Path) -> str:
    """The W&B id of this run folder, made the first time."""
    if not path.exists():
        path.write_text(secrets.token_hex(4), encoding="utf-8")
    return path.read_text(encoding="utf-8").strip()


@contextlib.contextmanager
def _one_line(kind: type[Exception]) -> Iterator[None]:
    try:
        yield
    except kind as error:
        reason = " ".join(str(error).split())
        raise TinyJEPAError(f"--wandb: {reason}; WANDB_MODE=offline needs no server") from None
