"""Standard output for results only: what simulations print, from Python or C, goes to standard error."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from typing import TextIO


@contextlib.contextmanager
def results_alone() -> Iterator[TextIO]:
    """Yield our standard output; inside, ``sys.stdout`` and file descriptor 1 lead to standard error.

    Processes that are started inside inherit that. What C code has buffered is flushed on the way out, before
    descriptor 1 is what it was. Blocks may be nested: the outer one's output is then standard error.
    """
    python = sys.stdout
    python.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # standard output or error is closed: there is nothing to keep apart
        with contextlib.redirect_stdout(sys.stderr):
            yield python
        return
    ours = python if _descriptor(python) != 1 else os.fdopen(os.dup(kept), "w", encoding="utf-8", buffering=1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield ours
    finally:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)
        os.dup2(kept, 1)
        os.close(kept)
        if ours is not python:
            with contextlib.suppress(BrokenPipeError):
                ours.close()


def _descriptor(stream: TextIO) -> int | None:
    """The descriptor it writes to; None for a stream in memory."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None
