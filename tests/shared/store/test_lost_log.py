"""A log that is gone is a fault, its shards stay, and it can be made anew from them."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from factory.cli import cli
from shared.cli.console import run
from shared.errors import StoreError
from shared.store import layout
from shared.store.dataset import create_store
from shared.store.gc import leftovers, remove
from shared.store.merge import merge
from shared.store.reader import Store
from shared.store.rebuild import Found, rebuild_log
from shared.store.schema import RunSpec
from shared.store.verify import set_damaged_aside, verify
from shared.store.writer import StreamWriter
from tests.support.stores import RUN, Body, check_episodes, noise_episode, rewrite_log, small_spec

pytestmark = pytest.mark.usefixtures("this_machine")


def make(path: Path, episodes: range = range(6), close: bool = True) -> str:
    """A store of one stream, and that stream's name. Without ``close`` its writer is as good as killed."""
    spec = create_store(path, small_spec())
    writer = StreamWriter(path, spec, RUN, 0)
    for index in episodes:
        writer.append(noise_episode(spec, index))
    if close:
        writer.close()
    return writer.name


def identify(run: RunSpec, k: int) -> tuple[int, str]:
    assert run == RUN
    episode = noise_episode(small_spec(), k)
    return episode.seed, episode.policy


def never(found: Found) -> RunSpec:
    raise AssertionError("the run stands in zarr.json")


def of_a_dead_writer(log: Path) -> None:
    """Let the log's header name a process that is gone: the log is written anew with the same content."""
    from shared.store.log import seal

    crc, lines = 0, []
    for line in log.read_bytes().splitlines():
        body = json.loads(line)
        del body["c"]
        if "pid" in body:
            body["pid"] = (1 << 22) + 1
        sealed, crc = seal(body, crc)
        lines.append(sealed)
    log.write_bytes(b"".join(lines))


@pytest.mark.parametrize("how", ["deleted", "empty", "half a line"])
def test_a_lost_log_is_a_fault_and_nobody_reads_less_silently(tmp_path: Path, how: str) -> None:
    name = make(tmp_path)
    make(tmp_path, range(6, 9))
    log = layout.log_file(tmp_path, name)
    log.unlink() if how == "deleted" else log.write_bytes(b"" if how == "empty" else b'{"stream":"half')
    with pytest.raises(StoreError) as caught:
        Store(tmp_path)
    assert f"stream {name} has complete shards but no log" in str(caught.value) and "\n" not in str(caught.value)
    assert f"--rebuild-log {name}" in str(caught.value) and f"gc --stream {name}" in str(caught.value)
    skipping = Store(tmp_path, on_corrupt="skip")
    assert skipping.lost_logs == [name] and name in skipping.damaged_logs
    assert [ref.index for ref in skipping.episodes] == [6, 7, 8]
    with pytest.raises(StoreError, match=name):
        merge([tmp_path], tmp_path.with_name("merged"))
    verdict = verify(tmp_path)
    (fault,) = verdict.faults
    assert (fault.stream, fault.file) == (name, f"log/{name}.jsonl") and "the log is lost" in fault.what
    assert verdict.lost_logs == [name] and verdict.unknown == []


def test_gc_keeps_the_shards_unless_they_are_named(tmp_path: Path) -> None:
    name = make(tmp_path)
    other = make(tmp_path, range(6, 9))
    layout.log_file(tmp_path, name).unlink()
    assert leftovers(tmp_path, 0) == []
    with pytest.raises(StoreError, match=f"'{other}' did not lose its log.*{name}"):
        leftovers(tmp_path, 0, [other])
    found = leftovers(tmp_path, 0, [name])
    assert [leftover.path for leftover in found] == [layout.stream_directory(tmp_path, name)]
    assert remove(found) > 0
    assert not verify(tmp_path).faults and [ref.index for ref in Store(tmp_path).episodes] == [6, 7, 8]


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("how", ["deleted", "empty"])
def test_the_log_is_made_anew_as_it_was(tmp_path: Path, how: str, close: bool) -> None:
    name = make(tmp_path, close=close)
    before = Store(tmp_path)
    assert len(before.episodes) >= 3 and before.streams[name].shards >= 3
    log = layout.log_file(tmp_path, name)
    log.unlink() if how == "deleted" else log.write_bytes(b"")
    back = rebuild_log(tmp_path, name, identify, never)
    after = Store(tmp_path)
    assert after.episodes == before.episodes and back.episodes == len(before.episodes) and not back.ends
    check_episodes(after)
    mine, theirs = after.streams[name], before.streams[name]
    assert (mine.rows, mine.shards, mine.bytes_on_disk) == (theirs.rows, theirs.shards, theirs.bytes_on_disk)
    for field in layout.fields(after.spec):
        assert [mine.file(field, i) for i in range(mine.shards)] == [theirs.file(field, i) for i in range(mine.shards)]
    assert not verify(tmp_path).faults


@pytest.mark.parametrize("lines", [1, 2, 3])
def test_lines_lost_at_the_end_are_a_fault_and_come_back(tmp_path: Path, lines: int) -> None:
    name = make(tmp_path)
    before, log = Store(tmp_path), layout.log_file(tmp_path, name)
    of_a_dead_writer(log)
    kept = log.read_bytes().splitlines(keepends=True)[:lines]
    log.write_bytes(b"".join(kept))
    (fault,) = verify(tmp_path).faults
    assert fault.stream == name and "its last lines are lost" in fault.what and fault.lost
    assert leftovers(tmp_path, 0) == [], "shards that only lost lines can have committed stay"
    assert set_damaged_aside(tmp_path, verify(tmp_path)) == [] and verify(tmp_path).faults, "not mended by that"
    rebuild_log(tmp_path, name, identify, never)
    assert log.read_bytes().startswith(b"".join(kept)), "good lines stay"
    assert (tmp_path / "quarantine" / log.name).read_bytes() == b"".join(kept)
    assert Store(tmp_path).episodes == before.episodes and Store(tmp_path).streams[name].closed
    assert not verify(tmp_path).faults


def test_a_damaged_line_is_made_anew_too(tmp_path: Path) -> None:
    name = make(tmp_path)
    before, log = Store(tmp_path), layout.log_file(tmp_path, name)
    of_a_dead_writer(log)
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    rebuild_log(tmp_path, name, identify, never)
    assert Store(tmp_path).episodes == before.episodes and not verify(tmp_path).faults


def damage_line(log: Path, number: int) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    lines[number] = lines[number].replace(b'"rows":', b'"rOws":')
    log.write_bytes(b"".join(lines))


def test_quarantine_leaves_a_damaged_log_whose_rows_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the shards would count as never committed, and gc would remove them."""
    name = make(tmp_path)
    other = make(tmp_path, range(6, 9))
    before = Store(tmp_path)
    of_a_dead_writer(layout.log_file(tmp_path, name))
    damage_line(layout.log_file(tmp_path, name), 2)
    damage_line(layout.log_file(tmp_path, other), -1)
    kept = {file: file.read_bytes() for file in tmp_path.rglob("*") if name in str(file) and file.is_file()}
    for arguments in ([], ["--quarantine"], ["--quarantine"]):
        assert run(cli, "factory", ["verify", str(tmp_path), "--quiet", *arguments]) == 1
        assert f"use --rebuild-log {name}" in capsys.readouterr().out
    assert run(cli, "factory", ["gc", str(tmp_path), "--older-than", "0"]) == 0
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if name in str(file) and file.is_file()} == kept
    assert {fault.stream for fault in verify(tmp_path).faults} == {name}, "the other log is repaired"
    rebuild_log(tmp_path, name, identify, never)
    assert not verify(tmp_path).faults and Store(tmp_path).episodes == before.episodes


def test_no_copy_of_a_log_is_overwritten(tmp_path: Path) -> None:
    name = make(tmp_path)
    log, copies = layout.log_file(tmp_path, name), []
    of_a_dead_writer(log)
    for lines in (4, 3, 2):
        log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:lines]))
        copies.append(log.read_bytes())
        rebuild_log(tmp_path, name, identify, never)
    damage_line(log, -1)
    copies.append(log.read_bytes())
    set_damaged_aside(tmp_path, verify(tmp_path))
    kept = [tmp_path / "quarantine" / f"{log.name}{number}" for number in ("", ".1", ".2", ".3")]
    assert [file.read_bytes() for file in kept] == copies


def test_a_damaged_log_without_a_whole_shard_after_it_is_cut(tmp_path: Path) -> None:
    """Neither way brings the shard back, and the store must open all the same."""
    name = make(tmp_path)
    make(tmp_path, range(6, 9))
    log = layout.log_file(tmp_path, name)
    of_a_dead_writer(log)
    lines = log.read_bytes().splitlines(keepends=True)
    damage_line(log, 3)
    damaged = log.read_bytes()
    shard = layout.stream_directory(tmp_path, name) / "frame" / "c.2.0.0.0"
    shard.write_bytes(shard.read_bytes()[:-9])
    back = rebuild_log(tmp_path, name, identify, never)
    assert back.shards == 0 and "shard 2 is damaged" in back.ends
    assert log.read_bytes() == b"".join(lines[:3])
    assert (tmp_path / "quarantine" / log.name).read_bytes() == damaged
    check_episodes(Store(tmp_path))
    assert leftovers(tmp_path, 0) == [] and {fault.stream for fault in verify(tmp_path).faults} == {name}


@pytest.mark.parametrize("change", [{"boot": "another"}, {"pid_namespace": "pid:[1]"}, {"host": "elsewhere"}, {}])
def test_a_writer_that_may_be_at_work_elsewhere_is_left_alone(tmp_path: Path, change: dict[str, str]) -> None:
    """``{}``: an earlier version's log, which tells neither; its number is that of no process here."""
    name = make(tmp_path)
    log = layout.log_file(tmp_path, name)

    def elsewhere(number: int, body: Body) -> None:
        body["time"] -= 1200 * (number > 0)
        if number == 0:
            body |= {"pid": (1 << 22) + 1, **change}
            if not change:
                body.pop("boot", None), body.pop("pid_namespace", None)

    rewrite_log(log, elsewhere)
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:3]))
    before = log.read_bytes()
    with pytest.raises(StoreError, match=r"may still be at work.*end that first") as caught:
        rebuild_log(tmp_path, name, identify, never)
    assert log.read_bytes() == before and "\n" not in str(caught.value)
    then = time.time() - 1200
    folder = layout.stream_directory(tmp_path, name)
    for inner in [folder, *folder.rglob("*")]:
        os.utime(inner, (then, then))
    rebuild_log(tmp_path, name, identify, never)
    assert not verify(tmp_path).faults


def test_it_ends_at_a_damaged_shard_and_says_so(tmp_path: Path) -> None:
    name = make(tmp_path)
    before = Store(tmp_path)
    whole = before.streams[name].shards - 1
    shard = layout.stream_directory(tmp_path, name) / "frame" / f"c.{whole}.0.0.0"
    data = bytearray(shard.read_bytes())
    data[10] ^= 1
    shard.write_bytes(data)
    layout.log_file(tmp_path, name).unlink()
    back = rebuild_log(tmp_path, name, identify, never)
    assert back.shards == whole and f"shard {whole} is damaged" in back.ends
    kept = Store(tmp_path).episodes
    assert kept == before.episodes[: len(kept)] and 0 < len(kept) < len(before.episodes)
    check_episodes(Store(tmp_path))
    assert [fault.stream for fault in verify(tmp_path).faults] == [name], "what is missing stays a fault"


def test_shards_of_two_streams_do_not_become_one(tmp_path: Path) -> None:
    name, other = make(tmp_path), make(tmp_path, range(10, 16))
    for field in ("flags", "episode"):
        chunk = "c.1"
        source = layout.stream_directory(tmp_path, other) / field / chunk
        shutil.copyfile(source, layout.stream_directory(tmp_path, name) / field / chunk)
    layout.log_file(tmp_path, name).unlink()
    assert rebuild_log(tmp_path, name, identify, never).shards == 1


def test_what_cannot_be_made_anew_is_refused_and_left_alone(tmp_path: Path) -> None:
    name = make(tmp_path)
    with pytest.raises(StoreError, match="is whole"):
        rebuild_log(tmp_path, name, identify, never)
    for wrong in ("nobody", "../log", f"{name}x"):
        with pytest.raises(StoreError, match="has no stream"):
            rebuild_log(tmp_path, wrong, identify, never)
    open_one = make(tmp_path, range(6, 10), close=False)
    of_a_dead_writer(layout.log_file(tmp_path, open_one))
    with pytest.raises(StoreError, match="no complete shard that its log lacks"):
        rebuild_log(tmp_path, open_one, identify, never)
    writer = StreamWriter(tmp_path, small_spec(), RUN, 0)
    with pytest.raises(StoreError, match=f"its writer, process {os.getpid()}, is still at work"):
        rebuild_log(tmp_path, writer.name, identify, never)


def test_the_run_in_a_document_counts_only_with_its_checksum(tmp_path: Path) -> None:
    short = next(k for k in range(100) if noise_episode(small_spec(), k).rows <= 16)
    name = make(tmp_path, range(short, short + 5))
    document = layout.stream_directory(tmp_path, name) / "zarr.json"
    found = json.loads(document.read_text())
    assert layout.run_of_document(document.read_bytes()) == RUN
    found["attributes"]["run"]["seed"] += 1
    document.write_text(json.dumps(found))
    assert layout.run_of_document(document.read_bytes()) is None
    layout.log_file(tmp_path, name).unlink()
    asked: list[Found] = []

    def prove(one: Found) -> RunSpec:
        asked.append(one)
        return RUN

    rebuild_log(tmp_path, name, identify, prove)
    (one,) = asked
    episode = noise_episode(small_spec(), one.index)
    assert one.rows == episode.rows and (one.columns["frame"] == episode.frame).all()
    check_episodes(Store(tmp_path))
