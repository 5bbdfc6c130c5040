"""Checkpoints without pickle: tensors as safetensors, everything else as JSON in its header, written atomically."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shared.errors import TinyJEPAError


def save(path: Path, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
    """Write tensors and JSON facts to one safetensors file; a crash leaves the file before, whole."""
    temporary = path.with_suffix(".partial")
    save_file(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        temporary,
        metadata={"tinyjepa": json.dumps(facts)},
    )
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.chmod(0o644)  # safetensors writes 0600, which the other users of a shared directory could not read
    temporary.replace(path)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what ``save`` wrote. Raises ``TinyJEPAError`` for a missing, damaged or foreign file."""
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {})["tinyjepa"])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (no mapping)
    except FileNotFoundError:
        raise TinyJEPAError(f"no checkpoint {path}: run the stage that makes it with brain train") from None
    except (SafetensorError, KeyError, ValueError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise TinyJEPAError(
            f"{path} is damaged or no checkpoint of ours ({reason}): delete it and run brain train again"
        ) from None


def restore(path: Path, module: nn.Module, tensors: dict[str, Tensor], prefix: str) -> None:
    """Load the tensors under ``prefix.`` into a module; one line when names or shapes do not fit."""
    own = {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}
    try:
        module.load_state_dict(own)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise TinyJEPAError(f"{path} does not fit the run's recipe ({reason}): use another --run folder") from None


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
    """Put back what ``optimizer_state`` gave; groups and hyperparameters stay the constructor's."""
    values: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith("optimizer."):
            _, index, name = key.split(".")
            values.setdefault(int(index), {})[name] = tensor
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})
