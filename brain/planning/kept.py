"""Played episodes kept on disk, without their frames, so that an interrupted evaluation goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from brain.planning.agent import Decision
from brain.planning.evaluation import Played
from brain.planning.planners.base import Plan
from shared.worlds.episode import Recording
from shared.worlds.tasks import Case, fingerprint

FILE = "plan-episodes.jsonl"


class Kept:
    """Episodes by their number, in ``plan-episodes.jsonl``: a line that says what is evaluated, then one each.

    Each is on the disk when ``add`` returns. A file of another evaluation is replaced, a last line that was cut off
    dropped.
    """

    def __init__(self, folder: Path, identity: str) -> None:
        """``identity``: whatever decides how the episodes go. Raises ``OSError`` where the folder cannot be written."""
        self._path = folder / FILE
        self._lines: dict[int, dict[str, Any]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        first = json.dumps({"evaluated": identity})
        whole = []
        if self._path.exists():
            head, *lines = self._path.read_text(encoding="utf-8", errors="replace").split("\n")
            whole = lines[:-1] if head == first else []  # after the last newline stands what was cut off
        for line in whole:
            found = json.loads(line)
            self._lines[found["number"]] = found
        self._path.write_text("\n".join([first, *whole, ""]), encoding="utf-8")

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
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def forget(self) -> None:
        """Remove the file: the evaluation's results are written."""
        self._path.unlink(missing_ok=True)
