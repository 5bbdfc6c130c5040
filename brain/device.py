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

from shared.cores import usable_cores
from shared.errors import TinyJEPAError

VISIBLE = ("HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES") if torch.version.hip else ("CUDA_VISIBLE_DEVICES",)
"""Environment variables with the GPUs that a process may use; the first that is set counts."""

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


def visible_gpus(name: str) -> list[str]:
    """The GPUs of a device name as ``pick`` takes it, each as the variables of ``VISIBLE`` name it; none for the CPU.

    ``auto`` and ``cuda`` are all that this process may use. Raises what ``pick`` raises.
    """
    target, count = pick(name), torch.cuda.device_count()
    if target.type == "cpu":
        return []
    given = next((set_to for variable in VISIBLE if (set_to := os.environ.get(variable))), None)
    names = [name.strip() for name in given.split(",")] if given else [str(number) for number in range(count)]
    return names[:count] if target.index is None else [names[target.index]]


def describe(device: torch.device) -> str:
    """A device as text: ``cuda:0 (NVIDIA ...)``, or ``cpu``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws of torch on the CPU inside begin with ``seed``; after it they go on as before."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def at_once(device: torch.device) -> int:
    """Observations that a frozen network is shown at once.

    On a CPU so few that what it computes on the way stays in the cache of a core: a quarter faster than 512
    (``docs/benchmarks.md``).
    """
    return 1024 if device.type == "cuda" else 64


def pick_pool(name: str, target: torch.device, memory: int) -> torch.device:
    """Where frames are held: ``auto`` is the GPU that trains if ``memory`` bytes are half of what is free there,
    ``cuda`` that GPU in any case.

    Raises ``TinyJEPAError`` for a device that is not there, and for a GPU that does not train.
    """
    if name != "auto":
        held = target if name == target.type else pick(name)
        if held.type == "cuda" and (target.type, target.index or 0) != ("cuda", held.index or 0):
            raise TinyJEPAError(f"frames cannot be held on {held} while {target} trains: use --pool-device cpu or auto")
        return held
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
    return "bfloat16" if device.type == "cuda" and native_bfloat16(device) else "float32"


def native_bfloat16(device: torch.device) -> bool:
    """Whether a GPU multiplies bfloat16 itself."""
    with torch.cuda.device(device):
        return torch.cuda.is_bf16_supported(including_emulation=False)


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
    return min(torch.get_num_threads(), usable_cores())


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
