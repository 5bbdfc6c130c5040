"""Checkpoints without pickle: tensors as safetensors, everything else as JSON in its header, written atomically."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.errors import TinyJEPAError
from shared.store.files import remove, sync_directory


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON facts to one safetensors file.

    It is on the disk when this returns; a crash or power cut before leaves the file before, whole. Raises
    ``TinyJEPAError`` where the disk refuses; the file before then stays, too.
    """
    temporary = path.with_suffix(".partial")
    try:
        temporary.unlink(missing_ok=True)  # what a save that was killed has left has a mode of its own
        with temporary.open("wb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)  # by the user's umask
        save_file(
            {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
            temporary,
            metadata={"tinyjepa": json.dumps(facts)},
        )
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(mode)  # safetensors writes 0600, which the other users of a shared directory could not read
        temporary.replace(path)
        sync_directory(path.parent)
    except (SafetensorError, OSError) as error:
        remove(temporary)
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise TinyJEPAError(f"cannot write {path} ({reason}): make room, then rerun the command to resume") from error


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save`` wrote. Raises ``TinyJEPAError`` for a missing, damaged or foreign file."""
    with _opened(path) as (file, found):
        return {name: file.get_tensor(name) for name in file.keys()}, found  # noqa: SIM118 (no mapping)


def read_facts(path: Path) -> dict[str, Any]:
    """The facts alone, without the tensors. Raises what ``load`` raises."""
    with _opened(path) as (_, found):
        return found


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The open file and its facts; one clear line for what goes wrong with either."""
    try:
        with safe_open(path, "pt") as file:
            found = json.loads((file.metadata() or {})["tinyjepa"])
            _check(found)
            yield file, found
    except FileNotFoundError:
        raise TinyJEPAError(f"no checkpoint {path}: run the stage that makes it with brain train") from None
    except (SafetensorError, KeyError, TypeError, ValueError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise TinyJEPAError(
            f"{path} is damaged or no checkpoint of ours ({reason}): delete it and run brain train again"
        ) from None


def _check(facts: Any) -> None:
    """``ValueError`` where facts are not such as ``save`` is given."""
    if not isinstance(facts, dict):
        raise ValueError("its facts are no table")
    for name in ("step", "elapsed", "cpu_seconds"):
        value = facts.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
            raise ValueError(f"its {name} is {value!r:.40}")
    if not isinstance(facts.get("step", 0), int):
        raise ValueError("its step is not whole")


def restore(path: Path, module: nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    """Load the tensors under ``prefix.`` into a module; one line when names or shapes do not fit."""
    own = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise TinyJEPAError(
            f"{path} does not fit the run's recipe ({reason}): delete it, or use another --run folder"
        ) from None


def state(**modules: nn.Module) -> dict[str, Tensor]:
    """The tensors of several modules, each name prefixed by its keyword."""
    return {f"{key}.{name}": tensor for key, module in modules.items() for name, tensor in module.state_dict().items()}


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's per-parameter tensors as ``optimizer.<parameter>.<name>``."""
    return {
        f"optimizer.{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what ``optimizer_state`` gave; groups and hyperparameters stay the constructor's.

    Files hold rows in plain order, weights may be ``channels_last``: moments get the order of their weights in memory,
    without which AdamW's kernel for all of them on a GPU refuses them. Raises ``TinyJEPAError`` for tensors that fit no
    parameter.
    """
    values: dict[int, dict[str, Tensor]] = {}
    shapes = [parameter.shape for group in optimizer.param_groups for parameter in group["params"]]
    for key, tensor in tensors.items():
        match = re.fullmatch(r"optimizer\.(\d{1,9})\.([a-z_]+)", key)
        if match:
            index = int(match[1])
            if index >= len(shapes) or (tensor.ndim and tensor.shape != shapes[index]):
                raise TinyJEPAError(f"the checkpoint's {key} fits no parameter: delete the checkpoint and train again")
            values.setdefault(index, {})[match[2]] = tensor
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if value.ndim and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)
