"""At the end: every committed row verified, the data set that of an undisturbed run, the training complete."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from deploy.rehearsal.stage import ROOT, Stage
from shared.store.reader import Store
from shared.store.verify import verify


class Watch:
    """The most rows that each stream was ever seen to have committed: none may be missing later."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._most: dict[str, int] = {}

    def look(self) -> None:
        for name, rows in self._stage.commits().items():
            self._most[name] = max(rows, self._most.get(name, 0))

    def lost(self) -> int:
        """Rows that were committed once and are not now."""
        now = self._stage.commits()
        return sum(max(0, rows - now.get(name, 0)) for name, rows in self._most.items())


def digest(path: Path) -> tuple[str, int, int]:
    """SHA-256 over all episodes in order, every field of each; how many episodes, and rows."""
    store = Store(path)
    total = hashlib.sha256()
    for ref in store.episodes:
        total.update(repr((ref.run, ref.index, ref.seed, ref.policy, ref.rows, ref.terminated)).encode())
        for name, values in sorted(store.read_episode(ref).items()):
            total.update(name.encode() + values.tobytes())
    return total.hexdigest(), len(store.episodes), sum(ref.rows for ref in store.episodes)


def undisturbed(stage: Stage) -> Path:
    """The same collection in one process on this box, at full speed."""
    path = stage.work / "undisturbed"
    command = [sys.executable, "-m", "factory.cli", *stage.collect_arguments(path), "--local", "--quiet"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, timeout=900)
    return path


def prove(stage: Stage, watch: Watch) -> list[tuple[str, bool, str]]:
    """(claim, whether it holds, figures)."""
    watch.look()
    verdict = verify(stage.store_path)
    claims = [("no committed row lost", watch.lost() == 0, f"{watch.lost()} of {verdict.rows:,} rows lost")]
    checked = f"{verdict.files:,} files, {verdict.rows:,} rows, {len(verdict.faults)} faults"
    claims.append(("every committed row verified", not verdict.faults, checked))
    ours, theirs = digest(stage.store_path), digest(undisturbed(stage))
    figures = f"{ours[1]:,} episodes, {ours[2]:,} rows, SHA-256 {ours[0][:16]} and {theirs[0][:16]}"
    claims.append(("data set that of an undisturbed run", ours == theirs, figures))
    done = stage.training.finished.is_set() and stage.last_file.exists()
    claims.append(("training run complete", done, stage.training.last_line()))
    return claims
