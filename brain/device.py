"""Choice of device and precision."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterable, Iterator
from typing import Literal, cast

import torch
from threadpoolctl import ThreadpoolController
from torch import nn

from shared.errors import TinyJEPAError

Precision = Literal["float32", "bfloat16"]
PrecisionChoice = Literal["auto", "float32", "bfloat16"]


def pick(name: str) -> torch.device:
    """``auto`` takes CUDA or ROCm (torch calls both ``cuda``), else the CPU; anything else must exist.

    Raises ``TinyJEPAError`` for a device that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise TinyJEPAError(f"unknown device '{name}'. Choices: auto, cpu, cuda, cuda:0, ...") from None
    if device.type == "cpu":
        return device
    if device.type != "cuda":
        raise TinyJEPAError(f"device '{name}' is not supported. Choices: auto, cpu, cuda, cuda:0, ...")
    count = torch.cuda.device_count()
    if (device.index or 0) >= count:
        raise TinyJEPAError(
            f"device '{name}' is not there: torch {torch.__version__} sees {count} GPUs. "
            "Use --device cpu, or install a torch build for your GPU"
        )
    return device


def describe(device: torch.device) -> str:
    """A device as text: ``cuda:0 (NVIDIA ...)``, or ``cpu``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def at_once(device: torch.device) -> int:
    """Observations that a frozen network is shown at once.

    On a CPU so few that what it computes on the way stays in the cache of a core: a quarter faster than 512
    (``docs/benchmarks.md``).
    """
    return 1024 if device.type == "cuda" else 64


def pick_pool(name: str, target: torch.device, memory: int) -> torch.device:
    """Where frames are held: ``auto`` is the GPU that trains if ``memory`` bytes are half of what is free there."""
    if name != "auto":
        return pick(name)
    if target.type == "cuda" and 2 * memory <= torch.cuda.mem_get_info(target)[0]:
        return target
    return torch.device("cpu")


def pick_precision(name: PrecisionChoice, device: torch.device) -> Precision:
    """``auto`` is bfloat16 on a GPU that multiplies it natively, else float32.

    On a CPU ``auto`` is always float32, so that the same steps give the same weights on processors with and without
    native bfloat16. Where it is not native a CPU emulates bfloat16 at half the speed of float32
    (``docs/benchmarks.md``).
    """
    if name != "auto":
        return name
    native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if native else "float32"


def autocast(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """The context of a training step: autocast to bfloat16, or nothing for float32. Weights stay float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """Within ``autocast``: computes in the precision of the inputs again."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def compiled(module: nn.Module, device: torch.device) -> nn.Module:
    """``torch.compile`` of a training step, whose first run compiles it. Raises ``TinyJEPAError`` where that needs a
    program that is not there."""
    compilers = [os.environ.get("CXX", "g++"), "clang++"] if device.type == "cpu" else ["cc", "gcc", "clang"]
    if not any(map(shutil.which, compilers)):
        raise TinyJEPAError(
            f"--compile needs a compiler, and none of {', '.join(compilers)} is here: install one, or leave it out"
        )
    if device.type == "cuda" and importlib.util.find_spec("triton") is None:
        raise TinyJEPAError("--compile needs triton on a GPU: pip install triton, or leave it out")
    return cast(nn.Module, torch.compile(module))


def adamw(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW; on a GPU one kernel for all parameters, with the rate in a tensor there (``set_rate``)."""
    trained = list(parameters)
    if not all(parameter.device.type == "cuda" for parameter in trained):
        return torch.optim.AdamW(trained, lr=learning_rate, weight_decay=weight_decay)
    rate = torch.tensor(learning_rate, device=trained[0].device)
    return torch.optim.AdamW(trained, lr=rate, weight_decay=weight_decay, fused=True)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all groups; in place where it is a tensor, which a CUDA graph of the step reads."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def cores() -> int:
    """CPU cores to use: as many as torch has threads (``OMP_NUM_THREADS``), or those that this process may run on."""
    return min(torch.get_num_threads(), len(os.sched_getaffinity(0)))


@contextlib.contextmanager
def at_most(threads: int) -> Iterator[None]:
    """No more CPU threads of torch and of numpy's linear algebra than these inside: one whose core is busy holds up
    the rest."""
    before = torch.get_num_threads()
    linear_algebra = ThreadpoolController().select(user_api="blas")
    torch.set_num_threads(min(threads, before))
    try:
        counts = [count for pool in linear_algebra.info() if (count := pool["num_threads"])]  # not every one tells
        with linear_algebra.limit(limits=min([threads, *counts])):
            yield
    finally:
        torch.set_num_threads(before)
