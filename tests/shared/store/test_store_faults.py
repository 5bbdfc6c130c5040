"""Every single fault in a store's files raises and names the place; nothing damaged is served."""

from __future__ import annotations

import json
import random
import re
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from shared.errors import StoreError
from shared.store import reader
from shared.store.dataset import create_store
from shared.store.log import seal
from shared.store.reader import Store
from shared.store.schema import SCHEMA_VERSION
from shared.store.writer import StreamWriter
from tests.support.stores import FIELDS, RUN, noise_episode, read_everything, small_spec


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two streams, with two full shards and a short one each; never written to."""
    path = tmp_path_factory.mktemp("whole") / "store"
    spec = create_store(path, small_spec())
    for worker in range(2):
        with StreamWriter(path, spec, RUN, worker) as writer:
            for index in range(worker, 6, 2):
                writer.append(noise_episode(spec, index, 14))
    return path


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def chunk_files(path: Path) -> list[Path]:
    return sorted(path.glob("data.zarr/*/*/c.*"))


def flip(file: Path, rng: random.Random, place: int | None = None) -> int:
    """Flip one bit, of a random byte unless ``place`` is given; returns the byte's offset."""
    data = bytearray(file.read_bytes())
    place = rng.randrange(len(data)) if place is None else place % len(data)
    data[place] ^= 1 << rng.randrange(8)
    file.write_bytes(data)
    return place


def assert_names_the_place(error: StoreError, file: Path) -> None:
    """The line names the stream, the file and rows of the damaged shard."""
    text = str(error)
    assert "\n" not in text
    assert str(file) in text
    assert f"stream {file.parent.parent.name}" in text
    rows = re.search(r"rows (\d+)\.\.(\d+)", text)
    assert rows is not None
    shard = int(file.name.split(".")[1])
    assert 16 * shard <= int(rows[1]) <= int(rows[2]) < 16 * (shard + 1)


def test_every_bit_flip_in_the_data_raises(copy: Path) -> None:
    rng = random.Random(1)
    files = chunk_files(copy)
    assert len(files) == 2 * 3 * len(FIELDS)
    trials = [(file, place) for file in files for place in (0, -1, -5, None, None, None)]
    shard = next(file for file in files if file.parent.name == "frame")
    trials += [(shard, -place) for place in range(1, 100)]
    for file, wanted in trials:
        before = file.read_bytes()
        place = flip(file, rng, wanted)
        with pytest.raises(StoreError) as caught:
            read_everything(copy)
            pytest.fail(f"bit flip at byte {place} of {file} was served")
        assert_names_the_place(caught.value, file)
        file.write_bytes(before)
    check = read_everything(copy)
    assert len(check.episodes) == 6


def test_every_bit_flip_in_logs_and_description_raises(copy: Path) -> None:
    rng = random.Random(2)
    logs = sorted(copy.glob("log/*.jsonl"))
    trials: list[tuple[Path, int | None]] = [(file, None) for file in [*logs, copy / "dataset.json"] * 100]
    trials += [(log, place) for log in logs for place, byte in enumerate(log.read_bytes()) if byte == ord("\n")]
    for file, wanted in trials:
        before = file.read_bytes()
        place = flip(file, rng, wanted)
        if file.suffix == ".json" and loads(file) == loads_bytes(before):
            continue  # one kind of white space for another
        with pytest.raises(StoreError) as caught:
            read_everything(copy)
            pytest.fail(f"bit flip at byte {place} of {file} went unnoticed")
        assert str(file) in str(caught.value)
        assert file.suffix == ".json" or "line" in str(caught.value)
        file.write_bytes(before)


def loads(file: Path) -> object:
    return loads_bytes(file.read_bytes())


def loads_bytes(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError:
        return None


@pytest.mark.parametrize("fault", ["missing", "empty", "half", "one byte short", "one byte long", "hole", "directory"])
def test_every_damaged_file_raises(copy: Path, fault: str) -> None:
    for file in chunk_files(copy)[:: 1 if fault == "missing" else 5]:
        before = file.read_bytes()
        if fault == "missing":
            file.unlink()
        elif fault == "directory":
            file.unlink()
            file.mkdir()
        else:
            file.write_bytes(
                {
                    "empty": b"",
                    "half": before[: len(before) // 2],
                    "one byte short": before[:-1],
                    "one byte long": before + b"\0",
                    "hole": bytes(len(before) // 2) + before[len(before) // 2 :],
                }[fault]
            )
        with pytest.raises(StoreError) as caught:
            read_everything(copy)
        assert_names_the_place(caught.value, file)
        if fault == "directory":
            file.rmdir()
        file.write_bytes(before)


def test_another_shard_of_the_same_size_raises(copy: Path) -> None:
    """Noise does not compress: every shard has the same size and index, and is valid by itself."""
    for field in FIELDS:
        one, other = sorted(copy.glob(f"data.zarr/*-w00-*/{field}/c.*"))[:2]
        shutil.copy(one, copy / "spare")
        if field in ("frame", "action", "reward", "state"):
            assert one.stat().st_size == other.stat().st_size
        shutil.copy(other, one)
        with pytest.raises(StoreError) as caught:
            read_everything(copy)
        assert_names_the_place(caught.value, one)
        shutil.copy(copy / "spare", one)
    read_everything(copy)


def test_the_rest_of_a_damaged_store_stays_readable(copy: Path) -> None:
    file = next(copy.glob("data.zarr/*-w00-*/frame/c.0.*"))
    flip(file, random.Random(3))
    store = Store(copy)
    stream = file.parent.parent.name
    for name, committed in store.streams.items():
        for field in FIELDS:
            start = 16 if (name, field) == (stream, "frame") else 0
            assert len(store.read(name, start, committed.rows, field)) == committed.rows - start


def log_lines(path: Path) -> tuple[Path, list[bytes]]:
    log = min(path.glob("log/*.jsonl"))
    return log, log.read_bytes().splitlines(keepends=True)


def test_a_lost_repeated_or_moved_log_line_raises(copy: Path) -> None:
    log, lines = log_lines(copy)
    assert len(lines) == 5
    for i in range(len(lines) - 1):
        lost = lines[:i] + lines[i + 1 :]
        repeated = lines[: i + 1] + lines[i:]
        moved = [*lines[:i], lines[i + 1], lines[i], *lines[i + 2 :]]
        for changed in (lost, repeated, moved):
            log.write_bytes(b"".join(changed))
            with pytest.raises(StoreError, match=rf"{log}, line \d+: the log is damaged"):
                Store(copy)


def test_a_half_written_line_waits_for_its_rest(copy: Path) -> None:
    log, lines = log_lines(copy)
    log.write_bytes(b"".join(lines[:3]))
    store = Store(copy)
    stream = store.streams[log.stem]
    assert stream.rows == 32
    known = len(store.episodes)
    for size in (1, len(lines[3]) // 2, len(lines[3]) - 1):
        log.write_bytes(b"".join(lines[:3]) + lines[3][:size])
        assert store.refresh() == 0
        assert stream.rows == 32
    log.write_bytes(b"".join(lines[:4]))
    assert store.refresh() == 6 - known
    assert stream.rows == 42
    assert not stream.closed
    log.write_bytes(b"".join(lines))
    assert store.refresh() == 0
    assert stream.closed


def test_a_damaged_log_keeps_what_was_known(copy: Path) -> None:
    log, lines = log_lines(copy)
    log.write_bytes(b"".join(lines[:3]))
    store = Store(copy)
    known = list(store.episodes)
    log.write_bytes(b"".join(lines[:3]) + lines[4])
    for _ in range(2):
        with pytest.raises(StoreError, match="line 4"):
            store.refresh()
    assert store.episodes == known
    log.write_bytes(b"".join(lines))
    store.refresh()
    assert len(store.episodes) == 6


def test_a_log_that_shrinks_or_vanishes_raises(copy: Path) -> None:
    log, lines = log_lines(copy)
    log.write_bytes(b"".join(lines[:4]))
    store = Store(copy)
    log.write_bytes(b"".join(lines[:3]))
    with pytest.raises(StoreError, match="shrank"):
        store.refresh()
    log.unlink()
    with pytest.raises(StoreError, match=str(log)):
        store.refresh()


def reseal(log: Path, change: dict[str, object], line: int) -> None:
    """Change fields of a line and make all checksums right again: what a newer or foreign program might write."""
    crc, out = 0, b""
    for n, text in enumerate(log.read_bytes().splitlines()):
        body = {key: value for key, value in json.loads(text).items() if key != "c"}
        sealed, crc = seal({**body, **(change if n == line else {})}, crc)
        out += sealed
    log.write_bytes(out)


@pytest.mark.parametrize(
    ("line", "change", "message"),
    [
        (0, {"schema_version": SCHEMA_VERSION + 1}, "newer"),
        (0, {"stream": "../../elsewhere-w00-00000000"}, "log of stream"),
        (0, {"dataset": 1}, "another dataset.json"),
        (1, {"i": 1}, "cannot follow"),
        (1, {"rows": 17}, "cannot follow"),
        (1, {"rows": 15}, "cannot follow"),
        (1, {"files": {}}, "frame"),
        (1, {"files": {field: [1, -1] for field in FIELDS}}, "negative"),
        (1, {"episodes": [[0, 0, "uniform", 3, 14, 0, 1, None]]}, "outside the committed rows"),
        (1, {"episodes": [[0]]}, "shorter"),
        (4, {"rows": 41}, "closed with 41 rows"),
    ],
)
def test_lines_that_contradict_each_other_raise(copy: Path, line: int, change: dict[str, object], message: str) -> None:
    log, _ = log_lines(copy)
    reseal(log, {}, line)
    read_everything(copy)
    reseal(log, change, line)
    with pytest.raises(StoreError, match=message) as caught:
        Store(copy)
    assert str(log) in str(caught.value)


def test_strange_names_in_the_log_folder_are_left_alone(copy: Path) -> None:
    for name in ("notes.txt", "evil.jsonl", "..-w00-00000000.jsonl", "a-w00-00000000.jsonl.bak"):
        (copy / "log" / name).write_text("not a log\n")
    assert len(read_everything(copy).streams) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is damaged .it is empty"),
        ("{", "is damaged"),
        ("\xff", "is damaged"),
        ("[1]", "another program"),
        ('{"codebase_version": "v2.1"}', "another program"),
        (f'{{"schema_version": {SCHEMA_VERSION + 1}, "new": 1}}', "update"),
        (f'{{"schema_version": {SCHEMA_VERSION}}}', "checksum"),
    ],
)
def test_dataset_json_of_all_sorts_gives_one_line(copy: Path, text: str, message: str) -> None:
    (copy / "dataset.json").write_bytes(text.encode("latin-1"))
    for attempt in (lambda: Store(copy), lambda: create_store(copy, small_spec())):
        with pytest.raises(StoreError, match=message) as caught:
            attempt()
        assert "\n" not in str(caught.value)
        assert str(copy) in str(caught.value)
    assert (copy / "dataset.json").read_bytes() == text.encode("latin-1")


def test_dataset_json_of_another_store_raises(copy: Path, tmp_path: Path) -> None:
    create_store(tmp_path / "other", small_spec(control_rate=25.0))
    shutil.copy(tmp_path / "other" / "dataset.json", copy)
    with pytest.raises(StoreError, match="belongs to another"):
        Store(copy)


def test_what_is_no_store_gives_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    for name, message in (("absent", "no store at"), ("folder", "not a store"), ("file", "not a store")):
        with pytest.raises(StoreError, match=message):
            Store(tmp_path / name)


def test_reads_that_make_no_sense(whole: Path) -> None:
    store = Store(whole)
    name = min(store.streams)
    for start, stop in ((0, 43), (-1, 3), (5, 4)):
        with pytest.raises(StoreError, match="42 committed rows"):
            store.read(name, start, stop, "frame")
    with pytest.raises(StoreError, match="no stream 'x'"):
        store.read("x", 0, 1, "frame")
    with pytest.raises(StoreError, match="no field 'image'"):
        store.read(name, 0, 1, "image")
    for out in (
        np.empty((2, 4, 5, 3), np.float32),
        np.empty((3, 4, 5, 3), np.uint8),
        np.empty((2, 8, 5, 3), np.uint8)[:, ::2],
    ):
        with pytest.raises(ValueError, match="out must be"):
            store.read(name, 0, 2, "frame", out)
    assert store.read(name, 3, 3, "frame").shape == (0, 4, 5, 3)


def test_threads_that_share_a_small_cache(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "OPEN_SHARDS", 1)
    monkeypatch.setattr(reader, "CACHED_CHUNK_BYTES", 100)
    store = Store(whole)
    single = {(ref.index, field): values for ref in store.episodes for field, values in store.read_episode(ref).items()}
    failures: list[object] = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(300):
                ref, field = rng.choice(store.episodes), rng.choice(FIELDS)
                start = rng.randrange(ref.rows)
                stop = rng.randrange(start, ref.rows) + 1
                found = store.read(ref.stream, ref.first + start, ref.first + stop, field)
                assert np.array_equal(found, single[ref.index, field][start:stop])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
