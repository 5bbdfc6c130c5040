"""The progress of a training run, from its run folder, for ``brain status``. Needs no torch."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brain.runs.metrics import newest
from shared.cli.watch import Facts, duration
from shared.errors import TinyJEPAError
from shared.links import refuse_links

STALLED_SECONDS = 60.0
STAGES = {"encoder": "encoder.safetensors", "predictor": "predictor.safetensors", "energy": "judge.json"}


def look(run: Path) -> Facts:
    """Stage, step, loss, effective rank, progress, seconds left, age of it all, GPU use; None for what is not known.

    Raises ``TinyJEPAError`` where ``run`` is no run folder.
    """
    if not (run / "run.json").exists():
        raise TinyJEPAError(f"{run} is no run folder (run.json is missing): give the --run of a brain train")
    refuse_links(run)
    metrics, progress = newest(run / "metrics.jsonl"), _document(run / "progress.json")
    stamp = metrics.get("time")
    return {
        "stage": metrics.get("stage"),
        "step": metrics.get("step"),
        "loss": metrics.get("loss"),
        "effective_rank": metrics.get("effective_rank"),
        "embedding_std": metrics.get("embedding_std"),
        "learning_rate": metrics.get("lr"),
        "steps_per_second": progress.get("steps_per_second"),
        "fraction": progress.get("fraction"),
        "seconds_left": progress.get("seconds_left"),
        "frames_behind": progress.get("frames_behind"),
        "seconds_since_step": max(0.0, time.time() - stamp) if stamp else None,
        "stages_finished": sum((run / name).exists() for name in STAGES.values()),
        "free_bytes": shutil.disk_usage(run).free,
        **gpu(),
    }


def lines(run: Path, facts: Facts) -> Iterator[str]:
    """The figures for people."""
    finished = [stage for stage, name in STAGES.items() if (run / name).exists()]
    yield f"{run}: {time.strftime('%H:%M:%S')}, finished: {', '.join(finished) or 'no stage yet'}"
    if facts["stage"] is None:
        yield "  no step yet"
        return
    done = "" if facts["fraction"] is None else f", {facts['fraction']:.0%}"
    yield f"  {facts['stage']:<11} step {facts['step']:,}{done}, {_text(facts['steps_per_second'], '.1f')} steps/s"
    yield f"  loss        {_text(facts['loss'], '.4f')}, learning rate {_text(facts['learning_rate'], '.2e')}"
    rank, spread = _text(facts["effective_rank"], ".1f"), _text(facts["embedding_std"], ".3f")
    yield f"  latents     effective rank {rank}, standard deviation {spread}"
    if facts["frames_behind"] is not None:
        yield f"  behind      {facts['frames_behind']:,} frames"
    age = facts["seconds_since_step"]
    quiet = age is not None and age > STALLED_SECONDS
    if quiet and len(finished) == len(STAGES):
        yield f"  at rest     all stages are finished; the last step was {duration(age)} ago"
    else:
        yield f"  time left   {duration(facts['seconds_left'])} of this stage"
    if "gpu_busy" in facts:
        yield f"  GPU         {facts['gpu_busy']:.0%} busy, {facts.get('gpu_memory_bytes', 0) / 1e9:.1f} GB used"
    if quiet and len(finished) < len(STAGES):
        yield f"  QUIET       for {duration(age)}: it waits for data, judges, or has ended"
    yield f"  free        {facts['free_bytes'] / 1e9:,.1f} GB"


def gpu() -> Facts:
    """How busy the first GPU is (0 to 1) and the bytes in use on it; nothing where none can be asked.

    One of NVIDIA comes first: beside it, one of AMD is a processor's.
    """
    if shutil.which("nvidia-smi"):
        query = ["nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits"]
        with contextlib.suppress(OSError, ValueError, IndexError, subprocess.TimeoutExpired):
            out = subprocess.run(query, capture_output=True, text=True, timeout=10).stdout
            percent, megabytes = out.splitlines()[0].split(",")
            return {"gpu_busy": int(percent) / 100, "gpu_memory_bytes": int(megabytes) << 20}
    busy = next(Path("/sys/class/drm").glob("card*/device/gpu_busy_percent"), None)
    with contextlib.suppress(OSError, ValueError):
        if busy is not None:
            used = int((busy.parent / "mem_info_vram_used").read_text())
            return {"gpu_busy": int(busy.read_text()) / 100, "gpu_memory_bytes": used}
    return {}


def _document(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {k: v for k, v in found.items() if isinstance(v, int | float)} if isinstance(found, dict) else {}


def _text(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)
