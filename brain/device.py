"""Which device trains, and which precision helps there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from shared.errors import TinyJEPAError


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
    """A device in words: ``cuda:0 (NVIDIA ...)``, or ``cpu``."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def pick_pool(name: str, target: torch.device, memory: int) -> torch.device:
    """Where frames are held: ``auto`` is the GPU that trains if ``memory`` bytes are half of what is free there."""
    if name != "auto":
        return pick(name)
    if target.type == "cuda" and 2 * memory <= torch.cuda.mem_get_info(target)[0]:
        return target
    return torch.device("cpu")


def autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """bfloat16 autocast where the device multiplies it natively; no change elsewhere.

    Without AVX512-BF16 a CPU emulates it at half the speed of float32 (``docs/benchmarks.md``).
    """
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.autocast(device.type, torch.bfloat16) if fast else contextlib.nullcontext()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """One CPU thread inside: the predictors are so small that more gain nothing, and lose much on busy cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
