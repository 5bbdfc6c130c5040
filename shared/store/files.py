"""Atomic, durable writes: a file is either complete or absent."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path

from shared.errors import TinyJEPAError

PARTIAL = ".partial"
"""Suffix of files that are still being written. Readers never open them."""


def unfinished(path: Path, source: Path) -> Path:
    """Where what becomes ``path`` is written: hidden, beside it. What an interrupted writer left there may be removed.

    Raises ``TinyJEPAError`` where the store at ``source`` lies there.
    """
    place = path.with_name(f".{path.name}{PARTIAL}")
    if place.resolve() in (source.resolve(), *source.resolve().parents):
        raise TinyJEPAError(f"{source} is where {path} would be written first: rename it, or choose another name")
    return place


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file name to an ``OSError`` (``write`` and ``fsync`` do not know it)."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def write_all(fd: int, data: bytes) -> None:
    """Call ``write(2)`` until every byte is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def write_partial(path: Path, parts: Iterable[bytes], *, sync: bool = True) -> Path:
    """Write ``<path>.<nonce>.partial`` and return its path; it is removed again when anything fails.

    With ``sync`` the bytes are on the disk (fsync) when this returns. Errors that a network file system
    reports only at ``close`` are raised too. Raises ``OSError`` with ``filename`` set.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    with naming(partial):
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            try:
                for part in parts:
                    write_all(fd, part)
                if sync:
                    os.fsync(fd)
            finally:
                os.close(fd)
        except BaseException:
            remove(partial)
            raise
    return partial


def write_file(path: Path, parts: Iterable[bytes], *, sync: bool = True) -> None:
    """Write a file so that ``path`` is at every moment absent, the old file or the whole new one."""
    partial = write_partial(path, parts, sync=sync)
    try:
        partial.rename(path)
    except BaseException:
        remove(partial)
        raise


def publish(path: Path, data: bytes) -> bool:
    """Write a file unless it exists; if several processes race, exactly one returns True."""
    return publish_partial(write_partial(path, [data]), path)


def publish_partial(partial: Path, path: Path) -> bool:
    """The second half of ``publish``: give what ``write_partial`` wrote its name, unless that exists."""
    try:
        try:
            os.link(partial, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK):
                raise
            partial.rename(path)  # no hard links here (FAT, some FUSE): the race is then not excluded
    finally:
        remove(partial)
    sync_directory(path.parent)
    return True


def sync_directory(path: Path) -> None:
    """fsync a directory: renames and new names in it survive a power loss."""
    with naming(path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # some network file systems know no fsync of directories
                raise
        finally:
            os.close(fd)


def remove(path: Path) -> None:
    """Remove a file if possible; used to clean up after an error, which takes precedence."""
    with contextlib.suppress(OSError):
        path.unlink()
