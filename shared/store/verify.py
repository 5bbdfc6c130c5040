"""Verification: every byte of a store is checked against its log."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from shared.errors import DamageError, StoreError
from shared.store import layout, lost, quarantine
from shared.store.files import sync_directory, write_file
from shared.store.log import CommittedStream
from shared.store.reader import Store
from shared.store.schema import FIRST, LAST, TERMINATED, TRUNCATED, EpisodeRef
from shared.store.shards import Chunk, CommittedFile, Shard

THREADS = 4
DOCUMENT = "zarr.json"


@dataclass(frozen=True)
class Fault:
    """A deviation from the log."""

    stream: str
    """Empty where the fault is not a stream's."""
    file: str
    """Relative to the store."""
    rows: tuple[int, int] | None
    """First and last row of the stream that are affected."""
    what: str
    shard: int | None = None
    """The shard that is worth nothing now, if it is one."""
    lost: bool = False
    """Log lines are lost that can be made anew from the shards."""

    def __str__(self) -> str:
        where = f"stream {self.stream}, " if self.stream else ""
        rows = f"rows {self.rows[0]}..{self.rows[1]}, " if self.rows else ""
        return f"{where}{rows}file {self.file}: {self.what}"


@dataclass
class Verdict:
    """What ``verify`` found."""

    faults: list[Fault] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    """Files that no log mentions, relative to the store: leftovers of killed writers, or somebody else's."""
    files: int = 0
    bytes: int = 0
    rows: int = 0
    episodes: int = 0
    broken_logs: dict[str, int] = field(default_factory=dict)
    """Streams with a damaged log, and how many of its bytes are good."""

    @property
    def lost_logs(self) -> list[str]:
        """Streams that lost their log, or its last lines: not made good by setting anything aside."""
        return sorted({fault.stream for fault in self.faults if fault.lost})


def verify(path: Path, progress: Callable[[int, int], None] = lambda done, total: None) -> Verdict:
    """Check the store at ``path``: dataset.json, logs, every committed file, Zarr documents, episode tables.

    ``progress`` is told bytes done and in all. Shards set aside are not looked at. Raises ``StoreError`` where there
    is no store, or dataset.json itself is damaged: nothing else can be judged then.
    """
    store = Store(path, on_corrupt="skip")
    verdict = Verdict(rows=sum(stream.rows for stream in store.streams.values()), episodes=len(store.episodes))
    for name in store.lost_logs:
        shown = lost.shown_rows(store.source, store.spec, name)
        rows = (0, shown - 1) if shown else None
        what = f"the log is lost, and complete shards stand without it: {lost.cure(name)}"
        verdict.faults.append(Fault(name, _relative(path, layout.log_file(path, name)), rows, what, lost=True))
    for name, what in store.damaged_logs.items():
        if name in store.lost_logs:
            continue
        log = layout.log_file(path, name)
        verdict.faults.append(Fault(name, _relative(path, log), None, what.partition(": ")[2] or what))
        verdict.broken_logs[name] = store.streams[name].good_bytes
    tasks = [
        (stream, number)
        for stream in store.streams.values()
        for number in range(stream.shards)
        if number not in store.set_aside.get(stream.name, ())
    ]
    total = sum(_size(store, stream, number) for stream, number in tasks)
    with ThreadPoolExecutor(THREADS) as pool:
        for (stream, number), faults in zip(tasks, pool.map(lambda task: list(_shard_faults(store, *task)), tasks)):
            verdict.faults += faults
            verdict.files += len(layout.fields(store.spec))
            verdict.bytes += _size(store, stream, number)
            progress(verdict.bytes, total)
    broken = {(fault.stream, fault.shard) for fault in verdict.faults if fault.shard is not None}
    for stream in store.streams.values():
        verdict.faults += _table_faults(store, stream, broken)
        if stream.name not in store.lost_logs:
            verdict.faults += _document_faults(path, store, stream)
    verdict.faults += _root_faults(path)
    verdict.unknown = sorted(_unknown(path, store, verdict.faults))
    return verdict


def set_damaged_aside(path: Path, verdict: Verdict) -> list[EpisodeRef]:
    """Cut damaged logs to their good part, set damaged shards aside, and write damaged Zarr documents anew.

    Logs and documents of the streams in ``lost_logs`` stay as they are: ``rebuild_log`` brings their rows back, and
    only the documents tell that there are any. Returns the episodes that are lost by it.
    """
    before = Store(path, on_corrupt="skip")
    broken = {stream: good for stream, good in verdict.broken_logs.items() if stream not in verdict.lost_logs}
    for stream, good in broken.items():
        quarantine.cut_log(path, stream, good)
    shards: dict[str, set[int]] = {}
    for fault in verdict.faults:
        if fault.shard is not None:
            shards.setdefault(fault.stream, set()).add(fault.shard)
    quarantine.set_aside(path, before.spec, before.set_aside, shards)
    after = Store(path, on_corrupt="skip")
    wrong = {fault.stream for fault in verdict.faults if fault.file.endswith(DOCUMENT)}
    for stream in sorted((wrong | set(broken)) - set(verdict.lost_logs)):
        _write_documents(path, after, stream)
    left = {(ref.run, ref.index) for ref in after.episodes}
    return [ref for ref in before.episodes if (ref.run, ref.index) not in left]


def _write_documents(path: Path, store: Store, stream: str) -> None:
    """The Zarr documents of a stream, or of the whole where ``stream`` is empty, as the log has it."""
    if not stream:
        write_file(path / layout.DATA / DOCUMENT, [layout.root_document()])
        return
    folder = layout.stream_directory(path, stream)
    if (run := store.streams[stream].run) is not None:  # else the document knows it better than the log
        write_file(folder / DOCUMENT, [layout.stream_document(store.spec, stream, run)])
    for name, described in layout.fields(store.spec).items():
        document = layout.array_document(described, store.spec, store.streams[stream].rows)
        write_file(folder / name / DOCUMENT, [document])
        sync_directory(folder / name)


def _size(store: Store, stream: CommittedStream, number: int) -> int:
    return sum(stream.file(name, number)[0] for name in layout.fields(store.spec))


def _shard_faults(store: Store, stream: CommittedStream, number: int) -> Iterator[Fault]:
    """Every wrong file of a shard, every wrong inner chunk of its frames."""
    spec, first = store.spec, number * store.spec.shard_rows
    rows = range(first, min(first + spec.shard_rows, stream.rows))
    for name, described in layout.fields(spec).items():
        size, crc = stream.file(name, number)
        parts = (layout.DATA, stream.name, name, described.chunk_key(number))

        def fault(error: StoreError, at: range, file: str = "/".join(parts)) -> Fault:
            what = str(error).partition(f"{file}: ")[2].removesuffix(": " + DamageError.CURE)
            return Fault(stream.name, file, (at.start, at.stop - 1), what or str(error), number)

        try:
            opened = CommittedFile(store.source, size, stream.name, rows, *parts)
            if not described.sharded:
                Chunk(opened, crc, np.empty((spec.shard_rows, *described.shape), described.dtype))
                continue
            inner = spec.inner_rows
            shard = Shard(opened, crc, spec.shard_rows // inner, inner)
        except StoreError as error:
            yield fault(error, rows)
            continue
        frames = np.empty((inner, *described.shape), described.dtype)
        for start in range(0, len(rows), inner):
            try:
                shard.read(start, start + inner, frames)
            except StoreError as error:
                yield fault(error, range(first + start, min(first + start + inner, rows.stop)))


def _table_faults(store: Store, stream: CommittedStream, broken: set[tuple[str, int]]) -> Iterator[Fault]:
    """Episodes of the log against the flags and episode columns; an open stream may end within an episode."""
    log = f"{layout.LOG}/{stream.name}.jsonl"
    aside = store.set_aside.get(stream.name, frozenset())
    expected = 0
    for ref in stream.episodes:
        if ref.first != expected:
            yield Fault(stream.name, log, (expected, ref.first), f"episode {ref.index} does not follow the one before")
        expected = ref.first + ref.rows
        shards = range(ref.first // store.spec.shard_rows, (expected - 1) // store.spec.shard_rows + 1)
        if any((stream.name, shard) in broken or shard in aside for shard in shards):
            continue
        flags = store.read(stream.name, ref.first, expected, "flags")
        numbers = store.read(stream.name, ref.first, expected, "episode")
        wanted = np.zeros(ref.rows, np.uint8)
        wanted[0] |= FIRST
        wanted[-1] |= LAST | TERMINATED * ref.terminated | TRUNCATED * ref.truncated
        if not np.array_equal(flags, wanted) or (numbers != ref.index).any():
            what = f"its columns flags and episode disagree with episode {ref.index} of the log"
            yield Fault(stream.name, log, (ref.first, expected - 1), what)
    if stream.closed and expected != stream.rows:
        yield Fault(stream.name, log, (expected, stream.rows - 1), "closed with rows of no episode")


def _document_faults(path: Path, store: Store, stream: CommittedStream) -> Iterator[Fault]:
    """The Zarr documents of a stream. Their shape may lag: only a closed stream must show all its rows.

    They are read before the log is read again: a writer may have gone on, and writes the log first.
    """
    directory = layout.stream_directory(path, stream.name)
    if gone := _lost_rows(store, stream):
        cure = lost.cure(stream.name, lines=True)
        what = f"its last lines are lost, and complete shards stand without them: {cure}"
        rows = stream.rows, stream.rows + gone - 1
        yield Fault(stream.name, _relative(path, layout.log_file(path, stream.name)), rows, what, lost=True)
        return  # the documents are what tells
    for name, described in layout.fields(store.spec).items():
        file = directory / name / DOCUMENT
        try:
            written_on = not stream.closed
            found = json.loads(file.read_bytes())
            shown = int(found["shape"][0])
            if shown > stream.rows:
                _read_on(stream)
            wanted = json.loads(layout.array_document(described, store.spec, shown))
            right = found == wanted and (shown == stream.rows or (written_on and shown < stream.rows))
            what = f"it shows {shown} rows of {stream.rows}" if found == wanted else "it does not describe this field"
        except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
            right, what = False, f"it cannot be read ({error.__class__.__name__})"
        if not right:
            yield Fault(stream.name, _relative(path, file), None, what)
    if stream.header:
        yield from _group_fault(path, directory / DOCUMENT, stream.name)


def _lost_rows(store: Store, stream: CommittedStream) -> int:
    """Rows that the stream shows and its log does not have, however far its writer is."""
    while gone := lost.lost_lines(store.source, store.spec, stream.name, stream.shards, stream.rows):
        if not _read_on(stream):
            break
    return gone


def _read_on(stream: CommittedStream) -> bool:
    """Whether the log has more rows than before; a damaged one, which is told elsewhere, has not."""
    before = stream.rows
    with contextlib.suppress(StoreError):
        stream.poll()
    return stream.rows > before


def _root_faults(path: Path) -> Iterator[Fault]:
    yield from _group_fault(path, path / layout.DATA / DOCUMENT, "")


def _group_fault(path: Path, file: Path, stream: str) -> Iterator[Fault]:
    try:
        found = json.loads(file.read_bytes())
        right = (found["zarr_format"], found["node_type"]) == (3, "group")
    except (OSError, ValueError, KeyError, TypeError):
        right = False
    if not right:
        yield Fault(stream, _relative(path, file), None, "it is no Zarr group")


def _unknown(path: Path, store: Store, faults: list[Fault]) -> Iterator[str]:
    """Files that no log mentions; without those of streams whose log is at fault."""
    known = {path / layout.DATASET, path / layout.DATA / DOCUMENT, path / quarantine.LIST}
    for stream in store.streams.values():
        directory = layout.stream_directory(path, stream.name)
        known |= {layout.log_file(path, stream.name), directory / DOCUMENT}
        for name, described in layout.fields(store.spec).items():
            known.add(directory / name / DOCUMENT)
            known |= {directory / name / described.chunk_key(number) for number in range(stream.shards)}
    lost_ones = {fault.stream for fault in faults if fault.lost}
    for folder, _, files in os.walk(path):
        inside = Path(folder).relative_to(path).parts
        if inside[:1] in ((quarantine.FOLDER,), ("preview",)) or (inside[1:2] and inside[1] in lost_ones):
            continue
        for name in files:
            if not inside and layout.COLLECT_FILE.fullmatch(name):
                continue
            if Path(folder) / name not in known:
                yield _relative(path, Path(folder) / name)


def _relative(path: Path, file: Path) -> str:
    return file.relative_to(path).as_posix()
