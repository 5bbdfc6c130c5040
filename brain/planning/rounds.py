"""Rounds: an agent plans and its episodes are recorded, a new model learns from the grown store, and plans in turn."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brain.runs.folder import Run, write_whole
from brain.runs.settings import keep_or_refuse
from shared.errors import TinyJEPAError
from shared.lifetime import end_with


@dataclass(frozen=True)
class Rounds:
    """What is repeated. Each step is a ``brain`` process of its own."""

    first: Path
    """the run folder that acts in round 1"""
    store: Path
    """the store that grows"""
    out: Path
    """folder of the rounds: ``round-0`` holds the first run's ``plan.json``, the others are run folders"""
    count: int
    episodes: int
    """recorded in each round"""
    evaluated: int | None
    """episodes of the task's fixed list that each model plays; None: all"""
    acting: Sequence[str] = ()
    """arguments of ``brain plan``: options, costs, task"""
    training: Sequence[str] = ()
    """arguments of ``brain train``: ``--steps`` or ``--budget``"""
    planner: str | None = None
    """None: the one that ``brain plan`` takes for the first run, in every round"""
    device: str = "auto"
    trust_world: bool = False
    """whether to import the module that the store names for its world"""

    def play(self, say: Callable[[str], None]) -> list[dict[str, Any]]:
        """Do what is missing, and return the rounds' lines, which are written to ``rounds.json`` too.

        Raises ``TinyJEPAError`` with its last line where a process fails. What it was doing is done again, from where
        it stood, by the next call.
        """
        Run(self.first).recipe()
        begun = (self.out / "round-0" / "plan.json").exists()
        keep_or_refuse(self.out, str(self.store.resolve()), self._settings(), begun)
        recipe = str(self.first / "recipe.toml")
        lines = []
        for number in range(self.count + 1):
            folder = self.out / f"round-{number}"
            if number and not (folder / "judge.json").exists():
                say(f"round {number}: records {self.episodes} episodes")
                self._record(number)
                say(f"round {number}: trains on the grown store")
                self._brain("train", folder, "--recipe", recipe, "--seed", str(number), *self.training)
            if not (folder / "plan.json").exists():
                say(f"round {number}: plays the fixed list")
                count = [] if self.evaluated is None else ["--episodes", str(self.evaluated)]
                where = ["--out", str(folder), "--no-baselines", *count]
                self._brain("plan", self._run(number), *where, *self._acting())
            lines.append(self._line(number, folder))
            write_whole(self.out / "rounds.json", json.dumps(lines, indent=1) + "\n")
        return lines

    def _settings(self) -> dict[str, Any]:
        """All that decides what is in ``out`` but the number of rounds, by the names of the options."""
        return {
            "--run": str(self.first.resolve()),
            "--episodes": self.episodes,
            "--evaluated": self.evaluated,
            "--planner": self.planner,
            "planning": " ".join(self.acting),
            "training": " ".join(self.training),
        }

    def _run(self, number: int) -> Path:
        return self.out / f"round-{number}" if number else self.first

    def _record(self, number: int) -> None:
        """Those of the round that the store does not hold yet."""
        where = ["--record", str(self.store), "--out", str(self.out / f"recorded-{number}"), "--shown", "0"]
        drawn = ["--episodes", str(self.episodes), "--seed", str(number)]
        self._brain("plan", self._run(number - 1), *where, *drawn, *self._acting())

    def _acting(self) -> list[str]:
        planner = self._planner()
        return [*(["--planner", planner] if planner else []), *self.acting]

    def _planner(self) -> str | None:
        """The one chosen, or that round 0 was played with; None before it."""
        played = self.out / "round-0" / "plan.json"
        if self.planner is None and played.exists():
            kind: str = json.loads(played.read_text(encoding="utf-8"))["planner"]["kind"]
            return kind
        return self.planner

    def _line(self, number: int, folder: Path) -> dict[str, Any]:
        figures = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
        measure = {key: figures[key] for key in ("success", "score", "groups") if key in figures}
        return {
            "round": number,
            "run": str(self._run(number)),
            "episodes": figures["episodes"],
            **measure,
        }

    def _brain(self, command: str, run: Path, *arguments: str) -> None:
        """Run a ``brain`` command; its last line is the error where it fails. An interrupt reaches it too."""
        line = [sys.executable, "-m", "brain.cli", command, "--run", str(run), "--store", str(self.store), "--quiet"]
        line += ["--device", self.device, *(["--trust-world"] if self.trust_world and command == "plan" else [])]
        process = subprocess.Popen(
            [*line, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=functools.partial(end_with, os.getpid()),
        )
        try:
            _, said = process.communicate()
        except KeyboardInterrupt:
            process.wait()
            raise
        if process.returncode:
            last = (said.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
            raise TinyJEPAError(f"brain {command}: {last.removeprefix('brain: error: ')}")
