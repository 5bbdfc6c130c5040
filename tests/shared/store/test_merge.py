"""``factory merge``: all episodes, once each, and no byte copied where a link will do."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from factory.cli import cli
from shared.cli.console import run
from shared.errors import StoreError
from shared.store import merge as merging
from shared.store import quarantine
from shared.store.dataset import create_store
from shared.store.gc import leftovers
from shared.store.merge import merge
from shared.store.reader import Store
from shared.store.schema import RunSpec
from shared.store.verify import verify
from shared.store.writer import StreamWriter
from tests import ROOT
from tests.support.stores import RUN, check_episodes, noise_episode, small_spec

OTHER = replace(RUN, seed=RUN.seed + 1)


def fill(path: Path, indices: range, run_spec: RunSpec = RUN, close: bool = True) -> StreamWriter:
    spec = create_store(path, small_spec())
    writer = StreamWriter(path, spec, run_spec, 0)
    for index in indices:
        writer.append(noise_episode(spec, index))
    if close:
        writer.close()
    return writer


def test_runs_and_episodes_come_together_by_links(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, c = (tmp_path / name for name in "abc")
    fill(a, range(4))
    fill(a, range(2), OTHER)
    fill(b, range(2, 7))
    assert run(cli, "factory", ["merge", str(a), str(b), "--into", str(c)]) == 0
    assert "9 episodes of 2 run(s); 3 streams added" in capsys.readouterr().out
    store = Store(c)
    keys = [(ref.run.seed, ref.index) for ref in store.episodes]
    assert keys == [*((RUN.seed, k) for k in range(7)), (OTHER.seed, 0), (OTHER.seed, 1)]
    check_episodes(store)
    assert not verify(c).faults and not verify(c).unknown
    files = list(c.rglob("c.*"))
    assert files and all(file.stat().st_nlink == 2 for file in files)
    before = {file: file.stat().st_mtime_ns for file in c.rglob("*")}
    assert run(cli, "factory", ["merge", str(a), "--into", str(c)]) == 0
    assert "0 streams added, 2 already there" in capsys.readouterr().out
    assert {file: file.stat().st_mtime_ns for file in c.rglob("*")} == before
    spec = create_store(c, small_spec())
    with StreamWriter(c, spec, RUN, 5) as writer:
        writer.append(noise_episode(spec, 7))
    assert len(Store(c).episodes) == 10 and len(Store(a).episodes) == 6, "a merged store is a store; sources stay"


def test_an_open_stream_is_taken_as_far_as_it_is_committed(tmp_path: Path) -> None:
    writer = fill(tmp_path / "a", range(5), close=False)
    merge([tmp_path / "a"], tmp_path / "c")
    taken = Store(tmp_path / "c")
    count = len(taken.episodes)
    assert 0 < count < 6
    for index in range(5, 9):
        writer.append(noise_episode(small_spec(), index))
    writer.close()
    taken.refresh()
    assert len(taken.episodes) == count, "the copy of its log does not grow"
    check_episodes(Store(tmp_path / "c"))
    assert not verify(tmp_path / "c").faults


def test_the_rest_of_an_open_stream_comes_with_the_next_merge(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    writer = fill(tmp_path / "a", range(5), close=False)
    merge([tmp_path / "a"], tmp_path / "early")
    for end in (9, 12):
        for index in range(end - 4, end):
            writer.append(noise_episode(small_spec(), index))
        if end == 12:
            writer.close()
        merge([tmp_path / "a"], tmp_path / "late")
    command = ["merge", str(tmp_path / "early"), str(tmp_path / "a"), "--into"]
    for target in ("new", "early"):
        target_first = [*command[:1], *command[2:]] if target == "early" else command
        assert run(cli, "factory", [*target_first, str(tmp_path / target)]) == 0
        assert "1 continued" in capsys.readouterr().out
    for target in ("early", "late", "new"):
        store = Store(tmp_path / target)
        assert [ref.index for ref in store.episodes] == [ref.index for ref in Store(tmp_path / "a").episodes]
        check_episodes(store)
        assert not verify(tmp_path / target).faults and not verify(tmp_path / target).unknown
        done = merge([tmp_path / "late"], tmp_path / target) if target != "late" else None
        assert done is None or (done.continued, done.present) == (0, 1)


@pytest.mark.parametrize(("place", "calls"), [("_bring", 3), ("_show_rows", 1)])
def test_a_merge_that_was_killed_while_it_continued_is_made_again(
    place: str, calls: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the log, and before the rows that plain Zarr readers see."""
    a, c = tmp_path / "a", tmp_path / "c"
    writer = fill(a, range(5), close=False)
    merge([a], c)
    before = len(Store(c).episodes)
    for index in range(5, 12):
        writer.append(noise_episode(small_spec(), index))
    writer.close()
    real, made = getattr(merging, place), []

    def stop(*given: Any) -> None:
        made.append(given)
        if len(made) == calls:
            raise KeyboardInterrupt
        real(*given)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(merging, place, stop)
        merge([a], c)
    store = Store(c)
    check_episodes(store)
    assert len(store.episodes) == (before if place == "_bring" else 12)
    done = merge([a], c)
    assert (done.continued, done.present) == ((1, 0) if place == "_bring" else (0, 1))
    assert len(Store(c).episodes) == 12 and not verify(c).faults


def test_gc_leaves_what_a_merge_is_bringing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even of a stream whose writer has ended; and the next merge brings what is missing after all."""
    a, c = tmp_path / "a", tmp_path / "c"
    writer = fill(a, range(5), close=False)
    merge([a], c)
    for index in range(5, 12):
        writer.append(noise_episode(small_spec(), index))
    writer.close()
    brought = merging._bring

    def bring(*given: Any) -> None:
        brought(*given)
        assert not leftovers(c, older_than=0) or all(
            one.path.parent.name == "log" for one in leftovers(c, older_than=0)
        )

    with monkeypatch.context() as patched:
        patched.setattr(merging, "_bring", bring)
        patched.setattr("shared.store.gc.lives", lambda pid: False)
        merge([a], c)
    assert not verify(c).faults and len(Store(c).episodes) == 12
    files = sorted(c.rglob("frame/c.*"))
    for file in files[-2:]:
        file.unlink()
    assert merge([a], c).linked == 2 and not verify(c).faults


def test_what_is_set_aside_stays_so(tmp_path: Path) -> None:
    fill(tmp_path / "a", range(6))
    store = Store(tmp_path / "a")
    quarantine.set_aside(tmp_path / "a", store.spec, {}, {min(store.streams): {1}})
    merge([tmp_path / "a"], tmp_path / "c")
    assert [ref.index for ref in Store(tmp_path / "c").episodes] == [
        ref.index for ref in Store(tmp_path / "a").episodes
    ]
    check_episodes(Store(tmp_path / "c"))


def test_what_does_not_fit_is_refused_and_nothing_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fill(tmp_path / "a", range(2))
    create_store(tmp_path / "b", small_spec(action_dim=3))
    create_store(tmp_path / "c", small_spec(shard_rows=32))
    for other, words in (("b", "its action_dim is 3, not 2"), ("c", "its shard_rows is 32, not 16"), ("d", "no store")):
        arguments = ["merge", str(tmp_path / "a"), str(tmp_path / other), "--into", str(tmp_path / "into")]
        assert run(cli, "factory", arguments) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1 and not (tmp_path / "into").exists()
    with pytest.raises(StoreError, match="schema 1"):
        merge([ROOT / "tests" / "support" / "data" / "store-schema-1"], tmp_path / "into")
    with pytest.raises(StoreError, match="source and the target"):
        merge([tmp_path / "a"], tmp_path / "a")


@pytest.mark.system
def test_a_killed_merge_leaves_a_store_and_is_made_again(tmp_path: Path) -> None:
    for index in range(30):
        fill(tmp_path / "a", range(index, index + 1))
    rng = random.Random(0)
    command = [sys.executable, "-m", "factory.cli", "merge", str(tmp_path / "a"), "--into", str(tmp_path / "c")]
    sizes = set()
    for _ in range(6):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            before = len(list((tmp_path / "c").glob("log/*")))
            while len(list((tmp_path / "c").glob("log/*"))) == before and process.poll() is None:
                time.sleep(0.001)
            time.sleep(rng.uniform(0, 0.02))
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
        if (tmp_path / "c" / "dataset.json").exists():
            store = Store(tmp_path / "c")
            check_episodes(store)
            sizes.add(len(store.episodes))
    assert len(sizes) > 1, "it was killed at different places"
    merge([tmp_path / "a"], tmp_path / "c")
    assert [ref.index for ref in Store(tmp_path / "c").episodes] == list(range(30))
    assert not verify(tmp_path / "c").faults
