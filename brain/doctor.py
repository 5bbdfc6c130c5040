"""Checks of the GPU: a matching PyTorch build, a driver, and correct bfloat16 results."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import torch

from brain.device import native_bfloat16
from shared.doctor.finding import Finding

PAGE = "see deploy/README.md"


def gpu_findings() -> Iterator[Finding]:
    """The torch build, the GPUs it sees, and whether bfloat16 works there."""
    build = f"CUDA {torch.version.cuda}" if torch.version.cuda else ""
    build = f"ROCm {torch.version.hip}" if torch.version.hip else build or "CPU only"
    here = _hardware()
    if not torch.cuda.is_available():
        yield _no_gpu(f"{torch.__version__}, built for {build}", here)
        yield bfloat16(torch.device("cpu"))
        return
    yield Finding("torch", "ok", f"{torch.__version__}, built for {build}")
    for index in range(torch.cuda.device_count()):
        device = torch.device("cuda", index)
        yield _gpu(device)
        yield bfloat16(device)


def _no_gpu(found: str, here: str) -> Finding:
    if not here:
        return Finding("torch", "warning", f"{found}; no GPU here", "training on a CPU: fine for the stock recipes")
    if torch.version.cuda or torch.version.hip:
        advice = "the driver does not answer this build: update it, check /dev/nvidia* or /dev/kfd, " + PAGE
    else:
        advice = "install the torch build for this GPU, " + PAGE
    return Finding("torch", "bad", f"{found}, sees no GPU; this box has {here}", advice)


def _hardware() -> str:
    """The GPU's driver as the system shows it, without torch; empty when there is none."""
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        try:
            done = subprocess.run(query, capture_output=True, text=True, timeout=30)
        except subprocess.TimeoutExpired:
            return "an NVIDIA GPU whose driver does not answer nvidia-smi"
        if done.returncode == 0 and done.stdout.strip():
            name, _, driver = done.stdout.strip().splitlines()[0].partition(", ")
            return f"{name}, driver {driver}"
    if Path("/dev/kfd").exists():
        version = Path("/sys/module/amdgpu/version")
        return f"an AMD GPU, amdgpu {version.read_text().strip() if version.exists() else 'of the kernel'}"
    return ""


def _gpu(device: torch.device) -> Finding:
    properties = torch.cuda.get_device_properties(device)
    try:
        free, total = torch.cuda.mem_get_info(device)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        advice = "another program has it for itself, or the torch build does not fit it, " + PAGE
        return Finding("GPU", "bad", f"{device}: {properties.name}: {reason}", advice)
    name = getattr(properties, "gcnArchName", "") or f"sm_{properties.major}{properties.minor}"
    found = f"{device}: {properties.name} ({name}), {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    driver = _hardware()
    found += f"; {driver}" if driver else ""
    if free < total // 2:
        return Finding("GPU", "warning", found, "another program holds its memory: end it, or use another GPU")
    return Finding("GPU", "ok", found)


def bfloat16(device: torch.device) -> Finding:
    """A product and its gradient in bfloat16, against float32."""
    try:
        torch.manual_seed(0)
        a, b = (torch.randn(256, 256, device=device, requires_grad=True) for _ in range(2))
        exact = (a @ b).square().mean()
        gradient = torch.autograd.grad(exact, a)[0]
        with torch.autocast(device.type, torch.bfloat16):
            rough = (a @ b).float().square().mean()
        rough_gradient = torch.autograd.grad(rough, a)[0]
        error = float(((rough_gradient - gradient).norm() / gradient.norm()).detach())
    except RuntimeError as error_:
        reason = str(error_).strip().splitlines()[0]
        return Finding("bfloat16", "bad", f"{device}: {reason}", "the torch build does not fit this GPU, " + PAGE)
    if not error < 0.05:
        advice = "the torch build or the driver is broken here: try another pair, " + PAGE
        return Finding("bfloat16", "bad", f"{device}: off by {error:.0%}", advice)
    if device.type == "cuda":
        native = native_bfloat16(device)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    found = f"{device}: right to {error:.1%}"
    return Finding("bfloat16", "ok", found if native else f"{found}, emulated: training uses float32 here")
