"""``make rehearsal``: three hosts on this box, a collection, a training, faults, and one table at the end.

python -m deploy.rehearsal [--short] [--keep FOLDER]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

from deploy.rehearsal.faults import FAULTS, SHORT, Outcome, well
from deploy.rehearsal.hosts import lacking
from deploy.rehearsal.proof import Watch, prove
from deploy.rehearsal.stage import Size, Stage

FULL_SIZE = Size(frames=24_000, pace=60)
SHORT_SIZE = Size(frames=2_500, pace=80, short=True)
FINISH_SECONDS = 600.0


class Log:
    """Lines to the terminal and to a file, with the time since the start."""

    def __init__(self, file: Path) -> None:
        self._file, self._started = file, time.monotonic()

    def __call__(self, line: str) -> None:
        stamped = f"{time.monotonic() - self._started:6.1f} s  {line}"
        print(stamped, flush=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.write(stamped + "\n")


def rehearse(work: Path, short: bool, log: Log) -> bool:
    """Play it; whether everything was survived and nothing lost."""
    stage = Stage(work, SHORT_SIZE if short else FULL_SIZE)
    outcomes: list[Outcome] = []
    over = threading.Event()
    try:
        log("three hosts, joined at 1 Gbit/s; the store of factory-1 mounted on factory-2 and brain by sshfs")
        if not short:
            stage.start_ray()
        stage.start_collecting()
        stage.start_training()
        watch = Watch(stage)
        watcher = threading.Thread(target=_watch, args=(watch, over), daemon=True)
        watcher.start()
        hosts = len(stage.collecting_hosts)
        stage.wait(lambda: sum(map(bool, stage.commits().values())) >= hosts, 120, "commits of the factory")
        stage.wait(lambda: stage.steps() > 2, 180, "the first steps of the trainer")
        log(f"{' and '.join(stage.collecting_hosts)} commit, and the trainer trains: the faults begin")
        for fault in SHORT if short else FAULTS:
            try:
                well(stage)
                outcome = fault(stage)
            except TimeoutError as error:
                outcome = Outcome(getattr(fault, "__name__", "fault"), f"NOT SURVIVED: {error}", float("nan"), "")
            outcomes.append(outcome)
            log(f"{outcome.fault}: {outcome.seen}; {outcome.what} after {outcome.seconds:.1f} s")
        for what, service in (("the collection", stage.collecting), ("the training", stage.training)):
            seconds = stage.wait(service.finished.is_set, FINISH_SECONDS, f"the end of {what}")
            log(f"{what} is complete, {seconds:.0f} s later; it was started {service.starts} times")
        over.set()
        watcher.join()
        claims = prove(stage, watch)
    finally:
        over.set()
        stage.close()
    _table(outcomes, claims, log)
    return all(outcome.what for outcome in outcomes) and all(holds for _, holds, _ in claims)


def _watch(watch: Watch, over: threading.Event) -> None:
    while not over.wait(1.0):
        watch.look()


def _table(outcomes: list[Outcome], claims: list[tuple[str, bool, str]], log: Log) -> None:
    log("")
    log(f"{'fault':<26} {'went on after':>13}  seen")
    for outcome in outcomes:
        log(f"{outcome.fault:<26} {outcome.seconds:>11.1f} s  {outcome.seen}; then: {outcome.what}")
    log("")
    for claim, holds, figures in claims:
        log(f"{claim:<37} {'yes' if holds else 'NO':<4} {figures}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make rehearsal", description=__doc__)
    parser.add_argument("--short", action="store_true", help="one cut link and one kill, in about a minute")
    parser.add_argument("--keep", type=Path, help="folder for the logs and the data; it must not exist")
    arguments = parser.parse_args()
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    why = lacking()
    if why:
        print(f"rehearsal: not on this box: {why}", file=sys.stderr)
        return 2
    if arguments.keep is not None and arguments.keep.exists():
        print(f"rehearsal: error: {arguments.keep} exists: name a new folder", file=sys.stderr)
        return 2
    work = (arguments.keep or Path(tempfile.mkdtemp(prefix="rehearsal-"))).absolute()
    work.mkdir(parents=True, exist_ok=True)
    survived = rehearse(work, arguments.short, Log(work / "rehearsal.log"))
    if survived and arguments.keep is None:
        shutil.rmtree(work)
    else:
        print(f"logs: {work}")
    return 0 if survived else 1


if __name__ == "__main__":
    sys.exit(main())
