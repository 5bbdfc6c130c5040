"""Training on a store that grows: everything committed is drawn from, in an order that a kill does not change."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from brain import recipes
from brain.data.blocks import select
from brain.data.follow import Follower, look, wait_for_frames
from brain.runs import checkpoint
from brain.runs.folder import Run
from brain.training.loop import OpenBudget
from brain.training.options import Data, Effort
from brain.training.train import train
from shared.cli.runlog import LOG
from shared.errors import StoreError, UnreachableError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.writer import StreamWriter
from tests import ROOT
from tests.support.collecting import small_run
from tests.support.dots import RUN, dot_episode, dot_spec
from tests.support.following import BATCH, expected_prints, open_stream, prints
from tests.support.training import ENVIRONMENT, RECIPE

FRAMES = 4000
MEMORY = 2 * 600 * 16 * 16 * 3  # two pools of 600 frames


def start(*arguments: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ended(process: subprocess.Popen[bytes]) -> bytes:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    return output


@pytest.mark.system
def test_a_killed_reader_of_a_growing_store_goes_on_exactly(tmp_path: Path) -> None:
    """Collectors write; the reader is killed twice. No batch is ever drawn in two ways, none is left out."""
    store = tmp_path / "store"
    job = small_run()
    writer = StreamWriter(store, create_store(store, job.spec), job.run, 9)  # while it is open, more may come
    reading = ("tests.support.following", store, tmp_path, MEMORY)
    reader = start(*reading)  # before there is a store
    collector = start("tests.support.collecting", store, FRAMES // 2, 1)
    for lines in (6, 63):
        drawn = tmp_path / "drawn.jsonl"
        deadline = time.monotonic() + 60
        while not drawn.exists() or drawn.read_bytes().count(b"\n") < lines:
            assert reader.poll() is None, reader.communicate()[1].decode()
            assert time.monotonic() < deadline, "the reader draws nothing"
            time.sleep(0.01)
        reader.send_signal(signal.SIGKILL)
        reader.communicate()
        reader = start(*reading)
    ended(collector)
    ended(start("tests.support.collecting", store, FRAMES, 1))
    writer.close()
    ended(reader)

    batches: dict[int, tuple[int, list[int]]] = {}
    again, most_behind = 0, 0
    for line in (tmp_path / "drawn.jsonl").read_text().splitlines():
        number, epoch, behind, windows = json.loads(line)
        if number in batches:
            again += 1
            assert batches[number] == (epoch, windows), f"batch {number} was drawn in two ways"
        batches[number] = epoch, windows
        most_behind = max(most_behind, behind)
    assert again, "no kill lost a batch: the test proves nothing"
    assert sorted(batches) == list(range(len(batches)))
    assert most_behind > 0 and behind == 0

    everything = expected_prints(Store(store))
    last = max(epoch for epoch, _ in batches.values())
    seen = Counter(window for epoch, windows in batches.values() if epoch == last for window in windows)
    assert not seen - everything, "the last epoch shows a window twice, or one that is not in the store"
    assert everything.total() - seen.total() < BATCH * everything.total() / 300, "the last epoch leaves windows out"
    assert not Counter(set().union(*(windows for _, windows in batches.values()))) - everything


def test_training_follows_a_collection_to_its_end(tmp_path: Path) -> None:
    """Started before there is anything, killed in the middle, ended by the end of the collection."""
    recipe, store, run = tmp_path / "small.toml", tmp_path / "store", tmp_path / "run"
    recipe.write_text(RECIPE)
    arguments = (
        "brain.cli", "train", "--store", store, "--recipe", recipe, "--run", run, "--stage", "encoder",
        "--device", "cpu", "--set", "objective.steps=20", "--follow", "--min-frames", 300, "--poll", "0.05",
        "--checkpoint-every", "0.1s",
    )  # fmt: skip
    trainer = start(*arguments)
    assert trainer.stderr is not None
    assert trainer.stderr.readline().startswith(b"waiting for a store at ")
    collector = start("tests.support.collecting", store, FRAMES, 1)
    path = Run(run).checkpoint("encoder")
    deadline = time.monotonic() + 60
    while not path.exists():
        assert trainer.poll() is None and time.monotonic() < deadline, "no checkpoint"
        time.sleep(0.01)
    trainer.send_signal(signal.SIGKILL)
    trainer.communicate()
    assert ended(start(*arguments)).startswith(b"encoder: trained")
    ended(collector)
    facts = checkpoint.load(Run(run).encoder)[1]
    frames = {stream.name: len(stream.episodes) for stream in Store(store).streams.values()}
    assert facts["stream"]["known"] == frames, "not every episode was learnt from"
    assert facts["step"] == max(20, facts["stream"]["end"])


@pytest.fixture
def growing(tmp_path: Path) -> tuple[Path, StreamWriter]:
    spec = create_store(tmp_path / "store", dot_spec())
    writer = StreamWriter(tmp_path / "store", spec, RUN, 0)
    for index in range(10):
        writer.append(dot_episode(index))
    return tmp_path / "store", writer


def test_an_abandoned_stream_ends_the_collection(growing: tuple[Path, StreamWriter]) -> None:
    path, _writer = growing
    follower = Follower(Store(path), poll=0.05, idle=1)
    assert not follower.finished
    deadline = time.monotonic() + 20
    while not follower.finished and time.monotonic() < deadline:
        time.sleep(0.05)
    assert follower.finished
    follower.close()


def test_a_pause_between_two_streams_is_not_the_end(growing: tuple[Path, StreamWriter]) -> None:
    """As between the process that simulates while Ray starts and the first worker: seconds, several polls."""
    path, writer = growing
    follower = Follower(Store(path), poll=2, idle=300)
    writer.close()
    time.sleep(5)
    assert not follower.finished, "two polls later"
    second = StreamWriter(path, follower.store.spec, RUN, 1)
    for index in range(10, 20):
        second.append(dot_episode(index))
    second.close()
    follower._pause = 0.1
    deadline = time.monotonic() + 60
    while not follower.finished and time.monotonic() < deadline:
        time.sleep(0.05)
    assert follower.finished and len(follower.store.episodes) == 20
    follower.close()


def test_a_complete_store_is_finished_at_once(growing: tuple[Path, StreamWriter]) -> None:
    path, writer = growing
    writer.close()
    store = Store(path)
    for stream in store.streams.values():
        stream.updated -= 3600  # as it was closed an hour ago
    follower = Follower(store, poll=0.05)
    deadline = time.monotonic() + 10
    while not follower.finished and time.monotonic() < deadline:
        time.sleep(0.01)
    assert follower.finished
    follower.close()


def test_a_collection_too_small_to_begin_is_begun_when_it_has_finished(growing: tuple[Path, StreamWriter]) -> None:
    path, writer = growing
    writer.close()
    lines: list[str] = []
    store, follower = wait_for_frames(path, "train", 1_000_000, poll=0.02, say=lines.append)
    assert len(store.episodes) == 10 and follower.finished
    assert lines and lines[0].startswith("waiting for 1,000,000 train frames in ")
    follower.close()


def test_a_log_that_breaks_while_it_is_followed_reaches_the_trainer(growing: tuple[Path, StreamWriter]) -> None:
    path, _writer = growing
    store = Store(path)
    follower = Follower(store, poll=0.02)
    stream = open_stream(store, follower, 1 << 28)
    with next(path.glob("log/*.jsonl")).open("ab") as log:
        log.write(b'{"i":99}\n')
    with pytest.raises(StoreError, match=r"jsonl, line \d+: the log is damaged"):
        for number in range(10_000):
            stream.batch(number)
            time.sleep(0.001)
    stream.close()
    follower.close()


class Seen(logging.Handler):
    """The lines of the log."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_an_outage_is_waited_for_but_not_for_ever(
    growing: tuple[Path, StreamWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, writer = growing
    seen = Seen()
    LOG.addHandler(seen)
    try:
        follower = Follower(Store(path), poll=0.02)
        deadline = time.monotonic() + 60
        (path / "log").rename(path / "away")  # as under a mount that is gone
        while not any("it is part of the store: tried again" in line for line in seen.lines):
            assert time.monotonic() < deadline, "no poll failed"
            time.sleep(0.01)
        follower.check()
        (path / "away").rename(path / "log")
        for index in range(10, 20):
            writer.append(dot_episode(index))
        while len(follower.store.episodes) <= 10:
            assert time.monotonic() < deadline, "it no longer follows"
            time.sleep(0.01)
        follower.check()
        follower.close()

        monkeypatch.setattr("brain.data.follow.OUTAGE_SECONDS", -1)
        follower = Follower(Store(path), poll=0.02)
        (path / "log").rename(path / "away")
        with pytest.raises(UnreachableError, match="it is part of the store"):
            while time.monotonic() < deadline:
                follower.check()
                time.sleep(0.01)
        follower.close()
    finally:
        LOG.removeHandler(seen)


class Broken(Store):
    """A store with a fault of ours, from the second look on."""

    looks = 0

    def refresh(self) -> int:
        self.looks += 1
        if self.looks > 1:
            raise ZeroDivisionError("a fault")
        return super().refresh()


def test_whatever_ends_the_thread_reaches_the_trainer(growing: tuple[Path, StreamWriter]) -> None:
    path, _writer = growing
    store = Broken(path)
    follower = Follower(store, poll=0.02)
    deadline = time.monotonic() + 60
    with pytest.raises(ZeroDivisionError, match="a fault"):
        while time.monotonic() < deadline:
            look(store, follower, "plan")
            time.sleep(0.01)
    follower.close()


def test_a_followed_store_stands_still_while_it_is_judged(growing: tuple[Path, StreamWriter], tmp_path: Path) -> None:
    path, _writer = growing
    (tmp_path / "small.toml").write_text(RECIPE)
    running: list[str] = []
    train(
        path, tmp_path / "run", recipes.load(str(tmp_path / "small.toml")),
        data=Data(follow=True, min_frames=300), effort=Effort(steps=2), device="cpu", quiet=True,
        judge=lambda model, store, run: running.extend(thread.name for thread in threading.enumerate()),
    )  # fmt: skip
    assert running and "follow" not in running


def test_an_order_is_kept_although_the_store_has_grown(growing: tuple[Path, StreamWriter]) -> None:
    """A run that is not followed goes on with the episodes it began with."""
    path, writer = growing
    first = open_stream(Store(path), None, 1 << 28)
    number = 3
    state = json.loads(json.dumps(first.state(number)))
    for index in range(10, 20):
        writer.append(dot_episode(index))
    grown = Store(path)
    second, fresh = open_stream(grown, None, 1 << 28, state), open_stream(grown, None, 1 << 28)
    assert fresh.windows > second.windows == first.windows
    for number in range(3, 3 + 2 * first.windows // BATCH):
        assert prints(first.batch(number)) == prints(second.batch(number))
    for stream in (first, second, fresh):
        stream.close()
    state["known"][next(iter(state["known"]))] += 1000
    with pytest.raises(StoreError, match=r"the run was trained on \d+: restore the store"):
        open_stream(grown, None, 1 << 28, state)


@pytest.mark.parametrize("count", [3, 1000])
def test_what_a_run_was_trained_on_and_the_store_has_lost(growing: tuple[Path, StreamWriter], count: int) -> None:
    """A stream that is gone, as after collecting anew, or shorter: refused, or left out where damage is skipped."""
    path, _writer = growing
    first = open_stream(Store(path), None, 1 << 28)
    state = json.loads(json.dumps(first.state(3)))
    name = next(iter(state["known"])) if count == 1000 else "gone"
    state["added"] = [[1, {name: count}]]
    with pytest.raises(StoreError, match=rf"stream {name} has \d+ episodes, the run was trained on {count}: restore"):
        open_stream(Store(path), None, 1 << 28, state)
    with pytest.raises(StoreError, match=rf"stream {name} has \d+ episodes, the run was trained on {count}: restore"):
        select(Store(path), {name: count}, "train")
    skipping = Store(path, "skip")
    second = open_stream(skipping, None, 1 << 28, state)
    assert second.batch(3).frames.shape == first.batch(3).frames.shape
    assert len(select(skipping, {name: count}, None)) == (len(skipping.episodes) if count == 1000 else 0)
    for stream in (first, second):
        stream.close()


def test_the_learning_rate_of_an_open_budget_falls_when_the_end_is_known() -> None:
    ends: list[int | None] = [None]
    budget = OpenBudget(steps=100, end=lambda: ends[0])
    assert budget.rate(0, 0) == 0.01 and budget.rate(5, 0) == 0.5
    assert budget.rate(10, 0) == budget.rate(5000, 0) == 1.0
    assert budget.fraction(5000, 0) < 1
    ends[0] = 9000
    budget.fraction(5000, 0)
    assert budget.rate(5000, 0) == 1.0 and 0 < budget.rate(8900, 0) < 0.01
    assert budget.fraction(8999, 0) < 1 <= budget.fraction(9000, 0)
