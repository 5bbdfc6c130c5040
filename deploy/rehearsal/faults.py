"""The injected faults. Each waits until work has resumed, and measures how long that took."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.rehearsal.services import Service
from deploy.rehearsal.stage import Stage

PATIENCE = 180.0
"""Seconds after which a fault counts as not survived."""
CUT_SECONDS = 30.0
FULL_SECONDS = 10.0


@dataclass(frozen=True)
class Outcome:
    """One line of the table."""

    fault: str
    seen: str
    seconds: float
    """From the end of the fault, where it has one, until work went on."""
    what: str
    """Which work."""


def node_killed(stage: Stage) -> Outcome:
    """kill -9 of all that computes on factory-2: raylet, simulator, its service's command; which starts again."""
    before = stage.commits()
    killed = stage.factory_2.kill()
    others = stage.wait(lambda: _rows(stage, "factory-1") > _of(before, "factory-1"), PATIENCE, "a commit of factory-1")
    seconds = others + stage.wait(
        lambda: _fresh(stage, before, "factory-2"),
        PATIENCE,
        "a commit of factory-2",
    )
    seen = f"{killed} processes killed; factory-1 committed after {others:.0f} s; {_starts(stage.node, 'node')}"
    return Outcome("factory-2 killed and back", seen, seconds, "factory-2 commits again")


def link_cut(stage: Stage, cut_seconds: float = CUT_SECONDS) -> Outcome:
    """No packet to or from brain for half a minute."""
    stage.switch.cut(stage.brain)
    cut, before = time.time(), stage.steps()
    time.sleep(cut_seconds)
    meanwhile = stage.steps() - before
    stage.switch.restore(stage.brain)
    restored = time.time()
    seconds = stage.wait(lambda: _brain_reads(stage), PATIENCE, "the shared directory on brain")
    seconds += stage.wait(lambda: stage.newest_metric() > restored + seconds, PATIENCE, "a step of the trainer")
    seen = f"{cut_seconds:.0f} s without a packet, {meanwhile} metric lines meanwhile; {_ends(stage.training, cut)}"
    return Outcome("link of brain cut", seen, seconds, "brain reads the newest line and trains")


def trainer_killed(stage: Stage) -> Outcome:
    """kill -9 of the trainer, which its service starts again."""
    killed = time.time()
    stage.training.kill()
    seconds = stage.wait(lambda: stage.newest_metric() > killed + 0.5, PATIENCE, "a step of the trainer")
    resumed = [line for line in stage.training.log.read_text(errors="replace").splitlines() if "resumes" in line]
    return Outcome("trainer killed", resumed[-1] if resumed else "started anew", seconds, "the trainer logs a step")


def disk_full(stage: Stage) -> Outcome:
    """The shared directory without a free byte, until it has some again."""
    before = len(stage.collecting.exits)
    filler = stage.shared / "filler"
    _fill(filler)
    with contextlib.suppress(TimeoutError):
        stage.wait(lambda: len(stage.collecting.exits) > before, 60, "an error of the collection")
    time.sleep(FULL_SECONDS)
    said = stage.collecting.last_line()
    known = stage.commits()
    filler.unlink()
    seconds = stage.wait(lambda: _fresh(stage, known, "factory"), PATIENCE, "a commit")
    ends = len(stage.collecting.exits) - before
    seen = f"collect ended {ends} times: {_short(said)}"
    return Outcome("shared directory full", seen, seconds, "a new writer commits")


def head_killed(stage: Stage) -> Outcome:
    """kill -9 of Ray's head and what runs under it on factory-1; the collection's own process is spared."""
    ends, known = len(stage.collecting.exits), stage.commits()
    started = time.monotonic()
    killed = stage.factory_1.kill(spare=["factory.cli"])
    said = "did not end"
    with contextlib.suppress(TimeoutError):
        noticed = stage.wait(lambda: len(stage.collecting.exits) > ends, PATIENCE, "an error of the collection")
        said = f"ended after {noticed:.0f} s: {_short(stage.collecting.last_line())}"
    for host in ("factory-1", "factory-2"):
        stage.wait(lambda host=host: _fresh(stage, known, host), PATIENCE, f"a commit of {host}")  # type: ignore[misc]
    seconds, seen = time.monotonic() - started, f"{killed} processes killed; collect {said}"
    return Outcome("Ray head killed", seen, seconds, "both factory hosts commit again")


FAULTS: tuple[Callable[[Stage], Outcome], ...] = (node_killed, link_cut, trainer_killed, disk_full, head_killed)
SHORT: tuple[Callable[[Stage], Outcome], ...] = (trainer_killed, lambda stage: link_cut(stage, 5.0))
"""One link, one kill."""


def well(stage: Stage) -> None:
    """Wait until the factory has committed and the trainer has trained since now, unless they are done."""
    before, now = stage.commits(), time.time()

    def commits(host: str) -> bool:
        return stage.collecting.finished.is_set() or _rows(stage, host) > _of(before, host)

    for host in stage.collecting_hosts:
        stage.wait(lambda host=host: commits(host), PATIENCE, f"a commit of {host}")  # type: ignore[misc]
    done = stage.training.finished
    stage.wait(lambda: done.is_set() or stage.newest_metric() > now, PATIENCE, "a step of the trainer")


def _fresh(stage: Stage, known: dict[str, int], host: str) -> bool:
    """Whether a writer on ``host`` that was not ``known`` has committed."""
    return any(name.startswith(host) and name not in known and rows for name, rows in stage.commits().items())


def _rows(stage: Stage, host: str) -> int:
    return _of(stage.commits(), host)


def _of(commits: dict[str, int], host: str) -> int:
    return sum(rows for name, rows in commits.items() if name.startswith(host))


def _brain_reads(stage: Stage) -> bool:
    """Whether brain sees as much of every log as the disk has; asked of a process that may be left behind, blocked."""
    logs = {log.name: log.stat().st_size for log in (stage.store_path / "log").iterdir()}
    command = stage.brain.command("sh", "-c", f"cd {stage.store_path}/log && stat -c '%n %s' *.jsonl")
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        out, _ = process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        return False
    seen = {line.split()[0]: int(line.split()[1]) for line in out.splitlines()}
    return all(seen.get(name, -1) >= size for name, size in logs.items())


def _fill(filler: Path) -> None:
    with filler.open("wb") as file:
        size = 1 << 20
        while size:
            try:
                os.write(file.fileno(), b"x" * size)
            except OSError:
                size //= 2


def _starts(service: Service, what: str) -> str:
    return f"the {what} was started {service.starts} times in all"


def _ends(service: Service, since: float) -> str:
    late = [code for when, code in service.exits if when > time.monotonic() - (time.time() - since)]
    return f"the trainer ended with {late} and was started again" if late else "the trainer stayed"


def _short(text: str, letters: int = 110) -> str:
    return text if len(text) <= letters else text[: letters - 1] + "…"
