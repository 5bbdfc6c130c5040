"""``factory verify``: no fault passes, none is invented, and what is set aside can be made again."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.cli import cli
from factory.collecting.collect import collect
from shared.cli.console import run
from shared.errors import StoreError
from shared.store import quarantine
from shared.store.dataset import create_store
from shared.store.log import seal
from shared.store.reader import Store
from shared.store.verify import set_damaged_aside, verify
from shared.store.writer import StreamWriter
from tests.factory.test_collect import assert_same_episodes
from tests.support.collecting import small_run
from tests.support.stores import RUN, noise_episode, read_everything, small_spec


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "store"
    spec = create_store(path, small_spec())
    for worker in range(2):
        with StreamWriter(path, spec, RUN, worker) as writer:
            for index in range(4):
                writer.append(noise_episode(spec, 10 * worker + index, 13))
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def flip(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    file.write_bytes(data)


def truncate(file: Path, rng: random.Random) -> None:
    file.write_bytes(file.read_bytes()[: rng.randrange(1, file.stat().st_size)])


def hole(file: Path, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    start = rng.randrange(len(data))
    stop = min(len(data), start + rng.randrange(1, 200))
    data[start:stop] = bytes(stop - start)
    if bytes(data) == file.read_bytes():
        data[start] ^= 1
    file.write_bytes(data)


def swap(file: Path, rng: random.Random) -> None:
    """For another committed file: of another shard, stream or field of as many dimensions."""
    root = file.parents[3]
    others = [other for other in root.rglob("c.*") if other.read_bytes() != file.read_bytes()]
    alike = [other for other in others if other.name.count(".") == file.name.count(".")]
    shutil.copy(rng.choice(alike), file)


FAULTS: dict[str, Callable[[Path, random.Random], None]] = {
    "flip": flip,
    "truncate": truncate,
    "hole": hole,
    "swap": swap,
    "empty": lambda file, rng: file.write_bytes(b"") and None,
    "missing": lambda file, rng: file.unlink(),
}


def test_a_sound_store_is_sound(whole: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told: list[tuple[int, int]] = []
    verdict = verify(whole, lambda done, total: told.append((done, total)))
    assert not verdict.faults and not verdict.unknown
    assert verdict.bytes == Store(whole).bytes_on_disk == told[-1][0] == told[-1][1]
    assert (verdict.rows, verdict.episodes) == (104, 8)
    assert run(cli, "factory", ["verify", str(whole)]) == 0
    assert "every byte is as the log says" in capsys.readouterr().out
    assert run(cli, "factory", ["verify", str(whole / "nowhere")]) == 2


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_reported_and_never_read(whole: Path, tmp_path: Path, kind: str) -> None:
    """``python -m benchmarks.store_faults`` does the same a thousand times over."""
    for seed in range(8):
        rng = random.Random(f"{kind}-{seed}")
        path = tmp_path / str(seed)
        shutil.copytree(whole, path)
        file = rng.choice(sorted(path.rglob("c.*")))
        FAULTS[kind](file, rng)
        name = file.relative_to(path).as_posix()
        faults = verify(path).faults
        assert faults and {fault.file for fault in faults} == {name}, (name, faults)
        assert all(fault.stream == file.parents[1].name and fault.rows for fault in faults)
        with pytest.raises(StoreError, match=file.name):
            read_everything(path)


def test_exit_code_and_line_name_the_place(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stream = sorted(Store(copy).streams)[1]
    file = copy / "data.zarr" / stream / "frame" / "c.1.0.0.0"
    flip(file, random.Random(0))
    assert run(cli, "factory", ["verify", str(copy)]) == 1
    output = capsys.readouterr().out
    assert f"WRONG stream {stream}, rows " in output and "frame/c.1.0.0.0" in output and "1 fault(s)" in output
    assert run(cli, "factory", ["verify", str(copy), "--json"]) == 1
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert fault["stream"] == stream and 16 <= fault["rows"][0] <= fault["rows"][1] < 32


def test_documents_tables_and_strangers_are_seen(copy: Path) -> None:
    stream = min(Store(copy).streams)
    group = copy / "data.zarr" / stream
    (group / "reward" / "zarr.json").write_text((group / "flags" / "zarr.json").read_text())
    (group / "zarr.json").unlink()
    (copy / "data.zarr" / "zarr.json").write_text("{}")
    (group / "frame" / "c.99.0.0.0").write_bytes(b"leftover")
    (copy / "note.txt").write_text("mine")
    for name in ("collect-box.lan.log", "collect-box.lan.log.1", "log/collect-box.log"):
        (copy / name).write_text("2026-01-01 started")
    verdict = verify(copy)
    wrong = {fault.file.removeprefix(f"data.zarr/{stream}/") for fault in verdict.faults}
    assert wrong == {"reward/zarr.json", "zarr.json", "data.zarr/zarr.json"}
    assert verdict.unknown == [f"data.zarr/{stream}/frame/c.99.0.0.0", "log/collect-box.log", "note.txt"]


def test_documents_that_a_power_cut_emptied_are_mended_from_the_log(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted((copy / "data.zarr").rglob("zarr.json"))
    before = {file: file.read_bytes() for file in files}
    assert len(files) > 8
    for file in files:
        file.write_bytes(b"")
    assert run(cli, "factory", ["verify", str(copy)]) == 1
    assert f"{len(files)} fault(s): restore the files, or repair the store with --quarantine" in capsys.readouterr().out
    assert run(cli, "factory", ["verify", str(copy), "--quarantine"]) == 1
    assert "repaired from the log: no row is missing" in capsys.readouterr().out
    assert run(cli, "factory", ["verify", str(copy)]) == 0
    assert {file: file.read_bytes() for file in files} == before


def test_a_log_that_lies_about_its_episodes_is_found(copy: Path) -> None:
    """Well-sealed lines, wrong content: rows that belong to another episode than the columns say."""
    log = sorted((copy / "log").iterdir())[0]
    crc, lines = 0, []
    for line in log.read_bytes().splitlines():
        body = json.loads(line)
        del body["c"]
        for entry in body.get("episodes", []):
            entry[0] += 100
        sealed, crc = seal(body, crc)
        lines.append(sealed)
    log.write_bytes(b"".join(lines))
    assert any("disagree with episode 10" in fault.what for fault in verify(copy).faults)


@pytest.mark.parametrize("place", ["shard", "log"])
def test_what_is_set_aside_is_collected_again(tmp_path: Path, place: str) -> None:
    whole, path = tmp_path / "whole", tmp_path / "store"
    collect(whole, small_run(), 600)
    shutil.copytree(whole, path)
    stream = min(Store(path).streams)
    if place == "shard":
        flip(path / "data.zarr" / stream / "frame" / "c.2.0.0.0", random.Random(1))
        (path / "data.zarr" / stream / "reward" / "c.4").unlink()
    else:
        log = path / "log" / f"{stream}.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        log.write_bytes(b"".join(lines[:4]) + lines[4].replace(b'"rows":', b'"rOws":') + b"".join(lines[5:]))
        with pytest.raises(StoreError, match="log is damaged"):
            Store(path)
        assert set_damaged_aside(path, verify(path)) == [] and verify(path).lost_logs == [stream]
        (path / "data.zarr" / stream / "reward" / "c.3").unlink()  # what follows cannot be brought back
    before = Store(path, on_corrupt="skip").episodes
    lost = set_damaged_aside(path, verify(path))
    store = Store(path)
    assert len(store.episodes) < len(Store(whole).episodes)
    if place == "shard":
        assert lost and len(store.episodes) == len(before) - len(lost)
        assert len(list((path / "quarantine" / stream).rglob("c.*"))) == 2 * 6 - 1, "all that is left of two shards"
    for ref in store.episodes:
        store.read_episode(ref)
    after = verify(path)
    assert not after.faults
    collect(path, small_run(), 600)
    assert_same_episodes(path, whole)
    assert not verify(path).faults


def test_what_is_written_meanwhile_is_no_fault(tmp_path: Path) -> None:
    """Each commit between the look at the log and that at the documents."""
    spec = create_store(tmp_path, small_spec())
    with StreamWriter(tmp_path, spec, RUN, 0) as writer:
        writer.append(noise_episode(spec, 0, 40))
        commits = []

        def go_on(done: int, total: int) -> None:
            before = writer.rows_committed
            writer.append(noise_episode(spec, len(commits) + 1, 40))
            commits.append(writer.rows_committed - before)

        for _ in range(3):
            assert not verify(tmp_path, go_on).faults
        assert any(commits)

    def end(done: int, total: int) -> None:
        last.close()

    with StreamWriter(tmp_path, spec, RUN, 1) as last:
        last.append(noise_episode(spec, 100, 40))
        assert not verify(tmp_path, end).faults
    assert not verify(tmp_path).faults


def test_a_damaged_list_is_refused(copy: Path) -> None:
    quarantine.save(copy, {min(Store(copy).streams): frozenset({0})})
    remaining = Store(copy)
    assert 0 < len(remaining.episodes) < 8
    for ref in remaining.episodes:
        assert np.array_equal(remaining.read_episode(ref)["frame"], noise_episode(remaining.spec, ref.index, 13).frame)
    text = (copy / "quarantine.json").read_text()
    (copy / "quarantine.json").write_text(text.replace("0", "1", 1))
    with pytest.raises(StoreError, match=r"quarantine\.json is damaged"):
        Store(copy)
