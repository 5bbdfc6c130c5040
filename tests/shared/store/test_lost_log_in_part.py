"""Where a log cannot be made anew in full, or not yet: nothing of its stream is lost, and the store opens."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from factory.cli import cli
from shared.cli.console import run
from shared.errors import StoreError
from shared.store import layout
from shared.store.gc import leftovers
from shared.store.reader import Store
from shared.store.rebuild import rebuild_log
from shared.store.verify import verify
from tests.shared.store.test_lost_log import damage_line, identify, make, never, of_a_dead_writer
from tests.support.stores import check_episodes, rewrite_log

pytestmark = pytest.mark.usefixtures("this_machine")


@pytest.mark.parametrize("ahead", ["log", "files", "both"])
def test_a_clock_that_is_ahead_makes_no_living_writer_a_dead_one(tmp_path: Path, ahead: str) -> None:
    """A sign from the future does not count, unless there is no other."""
    name = make(tmp_path)
    log, folder = layout.log_file(tmp_path, name), layout.stream_directory(tmp_path, name)

    def times(log_ago: float, files_ago: float) -> None:
        rewrite_log(log, lambda number, body: body.update(host="elsewhere", time=round(time.time() - log_ago, 3)))
        then = time.time() - files_ago
        for inner in [folder, *folder.rglob("*")]:
            os.utime(inner, (then, then))

    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    for now_too in (60.0, -1200.0) if ahead == "both" else (60.0,):
        times(-1200.0 if ahead != "files" else now_too, -1200.0 if ahead != "log" else now_too)
        with pytest.raises(StoreError, match="may still be at work"):
            rebuild_log(tmp_path, name, identify, never)
    if ahead != "both":
        times(*((-1e9, 1200.0) if ahead == "log" else (1200.0, -1e9)))
        rebuild_log(tmp_path, name, identify, never)
        assert not verify(tmp_path).faults


def test_it_ends_at_a_missing_shard_and_gc_keeps_those_after_it(tmp_path: Path) -> None:
    name = make(tmp_path, range(12))
    log, folder = layout.log_file(tmp_path, name), layout.stream_directory(tmp_path, name)
    before, last = Store(tmp_path), (folder / "reward" / "c.3").read_bytes()
    of_a_dead_writer(log)
    damage_line(log, 2)
    (folder / "reward" / "c.3").unlink()
    back = rebuild_log(tmp_path, name, identify, never)
    assert back.shards == 2 and back.ends == "shard 3 is missing"
    assert not Store(tmp_path).streams[name].closed and leftovers(tmp_path, 0) == []
    assert {fault.stream for fault in verify(tmp_path).faults} == {name}, "what is missing stays a fault"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:4]) + b"damaged\n")
    back = rebuild_log(tmp_path, name, identify, never)
    assert back.shards == 0 and Store(tmp_path).streams[name].shards == 3, "it is cut, so that the store opens"
    assert leftovers(tmp_path, 0) == []
    (folder / "reward" / "c.3").write_bytes(last)
    assert rebuild_log(tmp_path, name, identify, never).ends == ""
    assert Store(tmp_path).episodes == before.episodes and not verify(tmp_path).faults


def test_a_damaged_log_that_cannot_be_made_anew_is_cut_on_request(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store opens then, and nothing is lost: the shards stay."""
    name = make(tmp_path)
    make(tmp_path, range(6, 9))
    log = layout.log_file(tmp_path, name)
    before = Store(tmp_path).episodes
    command = ["verify", str(tmp_path), "--quiet", "--cut-log", name]
    assert run(cli, "factory", command) == 2
    assert "is not damaged" in capsys.readouterr().err
    damage_line(log, 3)
    assert run(cli, "factory", command) == 2, "the writer is this process"
    assert "is still at work" in capsys.readouterr().err
    of_a_dead_writer(log)
    damaged = log.read_bytes()
    assert run(cli, "factory", command[:3]) == 1
    assert f"use --rebuild-log {name}, or where that fails --cut-log {name}" in capsys.readouterr().out
    assert run(cli, "factory", command) == 1
    assert "the log is cut to 32 rows" in capsys.readouterr().out
    assert (tmp_path / "quarantine" / log.name).read_bytes() == damaged
    assert {6, 7, 8} <= {ref.index for ref in Store(tmp_path).episodes} and leftovers(tmp_path, 0) == []
    check_episodes(Store(tmp_path))
    assert log.read_bytes().count(b"\n") == 3
    rebuild_log(tmp_path, name, identify, never)
    assert Store(tmp_path).episodes == before and not verify(tmp_path).faults
    for wrong in ("nobody", "../log"):
        assert run(cli, "factory", [*command[:4], wrong]) == 2
        assert "has no stream" in capsys.readouterr().err
