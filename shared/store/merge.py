"""Merging stores of one world: hard links where the disk allows, copies elsewhere; no file is rewritten."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from shared.errors import StoreError
from shared.store import layout, lost, quarantine
from shared.store.dataset import create_store, load_spec
from shared.store.files import PARTIAL, publish_partial, remove, sync_directory, write_file, write_partial
from shared.store.gc import CHUNK
from shared.store.log import CommittedStream
from shared.store.reader import Store
from shared.store.schema import StoreSpec
from shared.store.source import DOCUMENT_BYTES, Opening, locate, open_inside


@dataclass
class Merged:
    """The result of a merge."""

    streams: int = 0
    """Streams added."""
    continued: int = 0
    """Streams of which less was present."""
    present: int = 0
    """Streams already present."""
    linked: int = 0
    copied: int = 0
    """Files."""
    copied_bytes: int = 0


def merge(sources: Sequence[Path], target: Path, say: Callable[[int, int], None] = lambda done, total: None) -> Merged:
    """Add every stream of the ``sources`` to the store at ``target``, which is created if need be.

    A stream appears when its log does, last of all and at once; what a killed merge left is made again by the same
    call. Of a stream whose writer is still open, what is committed now is taken, and the rest by a later call.
    Episodes that several stores hold count once, as in any store. What a source has set aside stays so. Of a stream
    that is there too, the log with more shards counts; it may have been made anew. ``say`` is told streams done and in
    all.

    Raises ``StoreError`` for a source that is missing, damaged, of schema 1, or of another world or layout, for a
    stream whose log is lost or damaged in the target, and for one that has other rows in two of the stores, or whose
    longer log has lost what the other knows of its episodes; nothing is changed then. ``OSError`` when the disk
    refuses; what is there stays readable.
    """
    stores = [Store(source) for source in sources]
    if not stores:
        raise StoreError("nothing to merge: name at least one store")
    first = load_spec(locate(stores[0].path))
    existing = load_spec(locate(target)) if (target / layout.DATASET).exists() else first
    for store in stores:
        if store.spec.schema_version < 2:
            raise StoreError(
                f"{store.path} has schema {store.spec.schema_version}, whose logs name no run: collect anew"
            )
        if load_spec(locate(store.path)).checksum != existing.checksum:
            with_which = target if existing is not first else stores[0].path
            difference = _difference(store.spec, existing.spec)
            raise StoreError(f"{store.path} cannot be merged with {with_which}: {difference}")
        if target.exists() and target.resolve() == Path(store.path).resolve():
            raise StoreError(f"{target} is a source and the target: leave it out of the sources")
    known = Store(target, on_corrupt="skip") if existing is not first else None
    jobs = [(store, stream) for store in stores for stream in store.streams.values() if stream.header]
    _refuse_unfit(jobs, known, target)
    create_store(target, first.spec)
    known = known or Store(target, on_corrupt="skip")
    aside = dict(known.set_aside)
    for store in stores:
        for name, numbers in store.set_aside.items():
            aside[name] = aside.get(name, frozenset()) | numbers
    if aside != known.set_aside:
        quarantine.save(target, aside)
    merged = Merged()
    for done, (store, stream) in enumerate(jobs, 1):
        log, absent = layout.log_file(target, stream.name), aside.get(stream.name, frozenset())
        data = _committed_log(store, stream)
        held = log.read_bytes() if log.exists() else b""
        if not log.exists():
            _add(store, stream, target, data, merged)
        elif (len(held) < len(data) and data.startswith(held)) or (
            not held.startswith(data) and _goes_on(store.path, stream, target, _held(known, stream.name))
        ):
            _continue(store, stream, target, data, absent, merged)
        else:
            if stream.closed and held == data:  # a merge may have been killed before it showed the rows
                _bring_missing(store, stream, target, absent, merged)
                _show_rows(store, stream, target)
            merged.present += 1
        say(done, len(jobs))
    return merged


def _refuse_unfit(jobs: Sequence[tuple[Store, CommittedStream]], known: Store | None, target: Path) -> None:
    """Raise ``StoreError`` for a stream that the target cannot take: before anything is changed."""
    there: dict[str, tuple[Path | str, CommittedStream]] = {}
    if known:
        there = {name: (target, stream) for name, stream in known.streams.items()}
    for store, stream in jobs:
        name = stream.name
        if known and name in known.lost_logs:
            raise StoreError(f"{target}: stream {name} has complete shards but no log: {lost.cure(name)}")
        if known and name in known.damaged_logs:
            raise StoreError(f"{known.damaged_logs[name]}, or repair it as factory verify {target} says")
        if name not in there and not layout.log_file(target, name).exists():
            _refuse_rows(store, stream, target)
        if name not in there or _goes_on(store.path, stream, *there[name]):
            there[name] = store.path, stream


def _goes_on(path: Path | str, stream: CommittedStream, other: Path | str, held: CommittedStream) -> bool:
    """Whether the stream has more shards at ``path`` than at ``other``; ``StoreError`` where it has different ones."""
    if not held.header or (held.shards < stream.shards and held.begins(stream, named=True)):
        return True
    if stream.begins(held):
        return False
    cure = "run factory verify on both, and leave out the one that is wrong"
    if held.begins(stream):
        log = layout.log_file(Path(other), stream.name)
        cure = (
            f"their seeds, policies or factors differ. If the log in {path} was made anew, put {log} in its place and "
            f"run factory verify {path} --rebuild-log {stream.name}"
        )
    raise StoreError(
        f"{path} cannot be merged with {other}: stream {stream.name} has other rows or episodes in each: {cure}"
    )


def _held(known: Store, name: str) -> CommittedStream:
    """A stream of the target as it is now; ``StoreError`` where its log is damaged."""
    stream = CommittedStream(known.source, name, load_spec(known.source))
    stream.poll()
    return stream


def _add(store: Store, stream: CommittedStream, target: Path, data: bytes, merged: Merged) -> None:
    """The stream's folder by one rename, then its log by one link."""
    path = Path(store.path)
    source, final = layout.stream_directory(path, stream.name), layout.stream_directory(target, stream.name)
    staging = final.with_name(f".{stream.name}{PARTIAL}")
    shutil.rmtree(staging, ignore_errors=True)
    shutil.rmtree(final, ignore_errors=True)  # of a merge that was killed
    staging.mkdir()
    group = _document(source / "zarr.json", path)
    write_file(staging / "zarr.json", [group])
    aside = store.set_aside.get(stream.name, frozenset())
    for name, field in layout.fields(store.spec).items():
        (staging / name).mkdir()
        write_file(staging / name / "zarr.json", [layout.array_document(field, store.spec, stream.rows)])
        for number in range(stream.shards):
            if number not in aside:
                file = source / name / field.chunk_key(number)
                _bring(file, staging / name / file.name, merged, path)
        sync_directory(staging / name)
    sync_directory(staging)
    log = layout.log_file(target, stream.name)
    partial = write_partial(log, [data])  # it tells readers that the folder without a log is a merge under way
    sync_directory(log.parent)
    try:
        staging.rename(final)
        sync_directory(final.parent)
        publish_partial(partial, log)
    except BaseException:
        if not log.exists():  # the folder would count as a stream that lost its log
            with contextlib.suppress(OSError):
                final.rename(staging)
        remove(partial)
        raise
    merged.streams += 1


def _refuse_rows(store: Store, stream: CommittedStream, target: Path) -> None:
    """Raise ``StoreError`` where the folder of a stream without a log has shards that are nowhere else.

    A killed merge leaves a folder, but an unfinished log too, and the source has all of its shards.
    """
    folder, log = layout.stream_directory(target, stream.name), layout.log_file(target, stream.name)
    names = (CHUNK.fullmatch(file.name) for file in folder.glob("*/c.*"))
    numbers = {int(match[1]) for match in names if match}
    if any(log.parent.glob(f"{log.name}.*{PARTIAL}")):
        numbers = {number for number in numbers if number >= stream.shards}
    if any(lost.has_shard(locate(target), store.spec, stream.name, number) for number in numbers):
        raise StoreError(f"{target}: stream {stream.name} has complete shards but no log: {lost.cure(stream.name)}")


def _continue(
    store: Store, stream: CommittedStream, target: Path, data: bytes, absent: Collection[int], merged: Merged
) -> None:
    """The shards that the target lacks, then the longer log in the place of its beginning, then the shown rows."""
    log = layout.log_file(target, stream.name)
    partial = write_partial(log, [data])  # it tells gc that the shards will be committed
    try:
        _bring_missing(store, stream, target, absent, merged)
        partial.rename(log)
    except BaseException:
        remove(partial)
        raise
    sync_directory(log.parent)
    _show_rows(store, stream, target)
    merged.continued += 1


def _bring_missing(
    store: Store, stream: CommittedStream, target: Path, absent: Collection[int], merged: Merged
) -> None:
    """The stream's shards that the target lacks, without those set aside."""
    path = Path(store.path)
    source, final = layout.stream_directory(path, stream.name), layout.stream_directory(target, stream.name)
    for name, field in layout.fields(store.spec).items():
        for number in range(stream.shards):
            file = final / name / field.chunk_key(number)
            if number not in absent and not file.exists():
                _bring(source / name / file.name, file, merged, path)
        sync_directory(final / name)


def _show_rows(store: Store, stream: CommittedStream, target: Path) -> None:
    """Tell plain Zarr readers of the target how many rows there are.

    Documents that show more stay: log lines are lost there, and only the documents tell that.
    """
    if lost.shown_rows(locate(target), store.spec, stream.name) > stream.rows:
        return
    for name, field in layout.fields(store.spec).items():
        file = layout.stream_directory(target, stream.name) / name / "zarr.json"
        document = layout.array_document(field, store.spec, stream.rows)
        if file.read_bytes() != document:
            write_file(file, [document])
            sync_directory(file.parent)


def _committed_log(store: Store, stream: CommittedStream) -> bytes:
    """The stream's log up to its last good line."""
    with Opening(layout.log_file(Path(store.path), stream.name), Path(store.path)) as fd:
        return os.pread(fd, stream.good_bytes, 0)


def _document(file: Path, root: Path) -> bytes:
    """A small file of the store at ``root``; ``OSError`` where a symbolic link would lead elsewhere."""
    with Opening(file, root) as fd:
        return os.pread(fd, DOCUMENT_BYTES, 0)


def _bring(source: Path, target: Path, merged: Merged, root: Path) -> None:
    """A hard link, or a durable copy where links fail. Committed files never change, so both are as good."""
    os.close(open_inside(source, root))
    try:
        os.link(source, target)
        merged.linked += 1
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS):
            raise
        data = source.read_bytes()
        write_file(target, [data])
        merged.copied += 1
        merged.copied_bytes += len(data)


def _difference(ours: StoreSpec, theirs: StoreSpec) -> str:
    other = theirs.model_dump()
    for name, value in ours.model_dump().items():
        if other[name] != value:
            return f"its {name} is {value}, not {other[name]}"
    raise AssertionError("equal specs have equal checksums")
