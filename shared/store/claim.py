"""Locks that are released when their owner ends, however it ends: one collection at a time for each run of a store."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from shared.errors import TinyJEPAError
from shared.store.files import naming
from shared.store.schema import RunSpec

_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


class Lock:
    """A file that one process at a time holds; a context manager.

    It is held by ``flock(2)``: that ends with its process, by ``kill -9`` too, and on NFS with its client, so that no
    file that was left behind blocks a restart. On a file system without locks a line in the log says that nothing keeps
    two processes apart.

    ``refusal`` makes a message of the words on who holds it, which may be none. Entering raises it as a
    ``TinyJEPAError`` while another process holds the file, and ``OSError`` where the file cannot be made.
    """

    def __init__(self, file: Path, refusal: Callable[[str], str]) -> None:
        self._file, self._refusal = file, refusal
        self._fd = -1

    def __enter__(self) -> Self:
        while True:
            with naming(self._file):
                fd = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                owner = os.pread(fd, 4096, 0)
                os.close(fd)
                if error.errno in _NO_LOCKS:
                    logging.getLogger("tinyjepa").warning(
                        "%s: no locks here: let no two processes make the same run at once", self._file
                    )
                    return self
                raise self._taken(owner) from None
            if self._is_there(fd):
                break
            os.close(fd)  # its last owner has just removed it
        self._fd = fd
        who = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M:%S %Z")}
        with naming(self._file):
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps(who).encode() + b"\n", 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd >= 0:
            self._file.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def _is_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self._file.lstat())
        except FileNotFoundError:
            return False

    def _taken(self, owner: bytes) -> TinyJEPAError:
        try:
            found = json.loads(owner)
            who = f" (process {int(found['pid'])} on {str(found['host'])[:60]!r}, since {str(found['since'])[:40]})"
        except (ValueError, KeyError, TypeError, RecursionError):
            who = ""
        return TinyJEPAError(self._refusal(who))


class Claim(Lock):
    """Entered by whoever makes episodes of ``run`` for the store at ``path``: ``collect-<run>.lock``.

    Without locks two collections make everything twice, which does no harm. Raises ``TinyJEPAError`` when another
    process makes this run.
    """

    def __init__(self, path: Path, run: RunSpec) -> None:
        cure = "wait for its end, or stop it and run this again"
        super().__init__(
            path / f"collect-{run.checksum:08x}.lock",
            lambda who: f"another collection makes this run in {path}{who}: {cure}",
        )
