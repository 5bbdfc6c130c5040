"""Ctrl-C and SIGTERM as a request to stop at the next good moment; a second one as an order to stop."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from types import FrameType, TracebackType
from typing import Any

from shared.cli.console import EXIT_INTERRUPTED
from shared.cli.runlog import LOG

GRACE_SECONDS = 5.0
"""From the second signal until the process ends where it is, whatever hangs in it."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While entered, the first SIGINT or SIGTERM is noted; ``check`` raises ``KeyboardInterrupt`` for it.

    A second signal raises ``KeyboardInterrupt`` wherever the program is and sets ``now``: stop without waiting.
    If that does not end the process within ``GRACE_SECONDS``, or a third signal comes, a thread ends it with exit
    code 130: an environment may hang in C, or catch everything. Outside the main thread, where Python cannot set
    handlers, this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self.now = False
        """A second signal has come."""
        self._before: dict[int, Any] = {}
        self._hear = self._tell = self._told_before = -1

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._hear, self._tell = os.pipe()
            os.set_blocking(self._tell, False)
            self._told_before = signal.set_wakeup_fd(self._tell, warn_on_full_buffer=False)
            threading.Thread(target=self._watch, args=(self._hear,), name="interrupt", daemon=True).start()
        self.install()
        return self

    def install(self) -> None:
        """Take the signals (again): ``ray.init`` sets a SIGTERM handler of its own."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            self._before.setdefault(number, signal.getsignal(number))
            signal.signal(number, self._note)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._tell >= 0:
            signal.set_wakeup_fd(self._told_before)
            tell, self._tell = self._tell, -1
            if not self.now:
                os.close(tell)  # ends the thread; after a second signal it sees to the end of the process

    def check(self) -> None:
        if self.requested:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            self.now = True
            raise KeyboardInterrupt
        self.requested = True
        print("\nstopping after the episodes in hand; once more stops at once", file=sys.stderr, flush=True)

    def _watch(self, hear: int) -> None:
        """Python writes the number of every signal into the pipe, even while the main thread is busy in C."""
        signals, due = 0, None
        while signals < 3:
            wait = None if due is None else max(0.0, due - time.monotonic())
            if not select.select([hear], [], [], wait)[0]:
                break
            if not (numbers := os.read(hear, 64)):
                os.close(hear)
                return
            signals += sum(number in SIGNALS for number in numbers)
            if signals >= 2 and due is None:
                due = time.monotonic() + GRACE_SECONDS
        line = "stopped where it was: something did not end by itself; what is committed stays"
        LOG.error("%s", line)
        with contextlib.suppress(OSError, ValueError):
            print(f"factory: {line}", file=sys.stderr, flush=True)
        os._exit(EXIT_INTERRUPTED)
