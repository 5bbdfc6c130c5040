"""Log files of long runs: the start, progress, warnings and the end, for people who look later.

``keep`` opens one for a command; modules log to ``LOG``, which is silent without it. Secrets are redacted
(``shared.cli.secrets``). Errors of the log file never stop the run: lines that cannot be written are counted, and
logging continues when it can.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
import logging.handlers
import os
import platform
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from shared.cli.console import WORDS
from shared.cli.secrets import known_secrets, without_secrets
from shared.cores import usable_cores
from shared.errors import TinyJEPAError

LOG = logging.getLogger("tinyjepa")
LOG.addHandler(logging.NullHandler())
LOG.propagate = False

FILE_BYTES = 1_000_000
OLDER_FILES = 4
"""``NAME.1`` (the newest) to ``NAME.4``: 5 MB in all, about a month of lines a minute."""
EVERY_SECONDS = 60.0
"""Between two progress lines."""
MOST_WAITING = 1_000
"""Lines buffered until the log has its file."""
LIBRARIES = ("numpy", "zarr", "gymnasium", "ray", "torch")


class RunLog:
    """The log of one command. Lines are buffered until ``open`` names the file; no unchecked folder is written to."""

    def __init__(self) -> None:
        self._handler: _File | None = None
        self._waiting = _Waiting()
        LOG.addHandler(self._waiting)
        self._level = LOG.level
        LOG.setLevel(logging.INFO)

    def open(self, path: Path) -> None:
        """Append to ``path`` from now on, starting with the buffered lines. Does not raise for errors of the file."""
        if self._handler is not None:
            return
        self._handler = _File(path)
        LOG.removeHandler(self._waiting)
        for record in self._waiting.records:
            self._handler.handle(record)
        LOG.addHandler(self._handler)

    def close(self) -> None:
        for handler in (self._waiting, self._handler):
            if handler is not None:
                LOG.removeHandler(handler)
                handler.close()
        LOG.setLevel(self._level)


@contextlib.contextmanager
def keep() -> Iterator[RunLog]:
    """The log of the running command: its start, Python's warnings, its end. Raises what its body raises."""
    log = RunLog()
    started = time.monotonic()
    _say_start()
    try:
        with _warnings_too():
            yield log
    except KeyboardInterrupt:
        LOG.warning("interrupted after %s; what is committed stays, rerun the command to resume", _span(started))
        raise
    except TinyJEPAError as error:
        LOG.error("ended after %s: %s", _span(started), error, exc_info=error.__cause__ and error)
        raise
    except BaseException as error:
        LOG.critical("ended after %s by an error: %s", _span(started), type(error).__name__, exc_info=True)
        raise
    else:
        LOG.info("ended well after %s", _span(started))
    finally:
        log.close()


class Minutes:
    """Tells when the next progress line is due: every ``EVERY_SECONDS``."""

    def __init__(self) -> None:
        self._due = time.monotonic() + EVERY_SECONDS

    def due(self) -> bool:
        now = time.monotonic()
        if now < self._due:
            return False
        self._due = now + EVERY_SECONDS
        return True


def _say_start() -> None:
    LOG.info("started: %s", " ".join(WORDS.get() or [Path(sys.argv[0]).name, *sys.argv[1:]]))
    versions = [f"Python {platform.python_version()}"]
    for name in ("tinyjepa", *LIBRARIES):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    LOG.info("versions: %s", ", ".join(versions))
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    LOG.info(
        "machine: %s, %s %s, %s cores, %.0f GB memory, process %s in %s",
        *(platform.node(), platform.system(), platform.release()),
        *(usable_cores(), gigabytes, os.getpid(), Path.cwd()),
    )


def _span(started: float) -> str:
    seconds = int(time.monotonic() - started)
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@contextlib.contextmanager
def _warnings_too() -> Iterator[None]:
    """Python's warnings go to the log as well as where they went before."""
    before = warnings.showwarning

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        LOG.warning("%s: %s (%s:%s)", category.__name__, message, filename, lineno)
        before(message, category, filename, lineno, file, line)

    warnings.showwarning = show
    try:
        yield
    finally:
        if warnings.showwarning is show:
            warnings.showwarning = before


class _Waiting(logging.Handler):
    """Keeps the newest records."""

    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=MOST_WAITING)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class _Lines(logging.Formatter):
    """``2026-01-31T12:00:00Z INFO words``; what follows in the same entry is indented."""

    def __init__(self) -> None:
        super().__init__("%(asctime)sZ %(levelname)-8s %(message)s", "%Y-%m-%dT%H:%M:%S")
        self.converter = time.gmtime
        self._known = known_secrets()

    def format(self, record: logging.LogRecord) -> str:
        text = without_secrets(super().format(record), self._known)
        lines = text.splitlines() or [""]
        return "\n    ".join("".join(c if c.isprintable() else "?" for c in line.expandtabs()) for line in lines)


class _File(logging.handlers.RotatingFileHandler):
    """Appends, rotates, follows no symbolic link, and never raises."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, maxBytes=FILE_BYTES, backupCount=OLDER_FILES, encoding="utf-8", delay=True)
        self.setFormatter(_Lines())
        self._lost = 0

    def _open(self) -> io.TextIOWrapper:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.baseFilename, flags, 0o640)
        try:
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                os.write(descriptor, b"\n")  # after the half line of a killed process or a full disk
            return io.TextIOWrapper(io.FileIO(descriptor, "a"), encoding="utf-8", errors="backslashreplace")
        except BaseException:
            os.close(descriptor)
            raise

    def emit(self, record: logging.LogRecord) -> None:
        lost, self._lost = self._lost, 0
        if lost:
            words = f"{lost} lines before this could not be written"
            note = logging.LogRecord(LOG.name, logging.WARNING, "", 0, words, None, None)
            super().emit(note)
            if self._lost:
                self._lost += lost
                return
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """The disk is full, read-only or gone: drop the line, and reopen the file for the next."""
        self._lost += 1
        stream: Any = self.stream
        self.stream = None  # its parent opens another for the next line
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().close()
