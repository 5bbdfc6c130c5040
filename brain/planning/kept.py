"""Played episodes on disk: without frames, so that an interrupted evaluation goes on, or recorded into a store."""

from __future__ import annotations

import contextlib
import json
import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from brain.planning.agent import Decision
from brain.planning.evaluation import Played
from brain.planning.planners.base import Plan
from brain.runs.folder import write_whole
from shared.lifetime import sigterm_interrupts
from shared.store.claim import Claim
from shared.store.dataset import create_store
from shared.store.files import naming
from shared.store.reader import Store
from shared.store.schema import Episode, RunSpec, StoreSpec
from shared.store.writer import StreamWriter
from shared.worlds.episode import Recording
from shared.worlds.tasks import Case, fingerprint


class Kept:
    """Episodes of one evaluation by their number, a line each in ``plan-episodes-<8 hex>.jsonl``.

    Each is on the disk when ``add`` returns. Lines that were cut off or damaged are dropped.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        """``identity``: of whatever decides how the episodes go. Raises ``OSError`` where nothing can be written."""
        self._path = folder / f"plan-episodes-{identity[:8]}.jsonl"
        self._identity = identity
        self._lines: dict[int, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        text = self._path.read_text(encoding="utf-8", errors="replace") if self._path.exists() else ""
        for line in text.split("\n")[:-1]:  # after the last newline stands what was cut off
            with contextlib.suppress(ValueError, KeyError, TypeError):
                found = json.loads(line)
                if found["identity"] == identity:
                    self._lines[found["number"]] = found
        write_whole(self._path, "".join(json.dumps(found) + "\n" for found in self._lines.values()))

    def get(self, number: int, case: Case) -> tuple[Played, list[bool]] | None:
        """An episode without frames, states and imagined latents, and whether each of its plans is impossible."""
        line = self._lines.get(number)
        if line is None or line["case"] != fingerprint([case]):
            return None
        reward = np.array(line["reward"], np.float32)
        nothing = np.zeros((len(reward), 0), np.float32)
        terminated, truncated = line["ends"]
        recording = Recording(nothing[:0], nothing, reward, nothing, terminated, truncated, {})
        decisions = [Decision(step, Plan(Tensor(), Tensor(), cost), *spent) for step, cost, *spent in line["decisions"]]
        return Played(case, recording, None, np.array(line["distances"]), decisions), line["impossible"]

    def add(self, number: int, played: Played, impossible: list[bool]) -> None:
        recording = played.recording
        line = {
            "identity": self._identity,
            "number": number,
            "case": fingerprint([played.case]),
            "reward": recording.reward.tolist(),
            "ends": [bool(recording.terminated), bool(recording.truncated)],
            "distances": played.distances.tolist(),
            "decisions": [
                [one.step, float(one.plan.cost), one.seconds, one.core_seconds, int(one.predictor_steps)]
                for one in played.decisions
            ],
            "impossible": [bool(one) for one in impossible],
        }
        with naming(self._path), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def forget(self) -> None:
        """Remove the file: the evaluation's results are written."""
        self._path.unlink(missing_ok=True)


class Keeper:
    """Writes played episodes into a store, as a run of their own.

    A context manager: leaving it, also by Ctrl-C or SIGTERM, commits what was written. Entering raises
    ``TinyJEPAError`` where another process writes this run.
    """

    def __init__(self, path: Path, spec: StoreSpec, run: RunSpec, policy: str) -> None:
        """``policy``: of each episode."""
        self._path, self._spec = path, create_store(path, spec)
        self._run, self._policy = run, policy
        self._writer: StreamWriter | None = None
        self._claim = Claim(path, self._run)
        self._held = ExitStack()

    def __enter__(self) -> Keeper:
        self._held.enter_context(self._claim)
        self._store = Store(self._path)
        self._there = {ref.index: ref for ref in self._store.episodes if ref.run == self._run}
        self._held.enter_context(sigterm_interrupts())
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if self._writer:
                self._writer.close()
        finally:
            self._held.close()

    def read(self, number: int) -> Recording | None:
        """An episode that was recorded before, without frames and factors; None where there is none of this number."""
        if (ref := self._there.get(number)) is None:
            return None
        found = self._store.read_episode(ref, "action", "reward", "state")
        nothing = np.zeros((0, *self._spec.frame_shape), np.uint8)
        return Recording(nothing, found["action"], found["reward"], found["state"], ref.terminated, ref.truncated, {})

    def write(self, number: int, played: Played) -> None:
        self._writer = self._writer or StreamWriter(self._path, self._spec, self._run, 0)
        fields = played.recording._asdict()
        self._writer.append(Episode(index=number, seed=played.case.seed, policy=self._policy, **fields))
