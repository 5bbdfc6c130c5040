"""Polls Ray's head: if it dies, the collection ends with one line instead of being ended by Ray."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from shared.cli.console import EXIT_BAD_INPUT
from shared.cli.runlog import LOG
from shared.errors import TinyJEPAError

POLL_SECONDS = 1.0
"""Between two connections to the head's port."""
REFUSALS = 3
"""In a row: the machine answers but nothing listens, so the head is dead; a restarted one does not know us."""
SILENCE_SECONDS = 45.0
"""Without an answer: the network may recover, but after 60 s Ray ends this process."""
GRACE_SECONDS = 10.0
"""For the exit; calls into Ray without a head may hang, and then the process is ended."""


class Head:
    """Polls the head at ``host:port`` in its own thread until ``close``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lost = False
        host, _, port = address.rpartition(":")
        self._place = host.strip("[]"), int(port)
        self._over = threading.Event()
        threading.Thread(target=self._watch, name="ray-head", daemon=True).start()

    def check(self) -> None:
        """Raise ``TinyJEPAError`` once the head is lost."""
        if self.lost:
            raise self._error()

    def close(self) -> None:
        """Stop polling. If the head is lost, the process ends with code 2 within ``GRACE_SECONDS`` all the same."""
        self._over.set()

    def _error(self) -> TinyJEPAError:
        return TinyJEPAError(
            f"the Ray head at {self.address} is gone (killed, out of memory, or its box is away): start it again where "
            "nothing does so by itself, then rerun the command to resume; what is committed stays"
        )

    def _watch(self) -> None:
        refusals, heard = 0, time.monotonic()
        while not self._over.wait(POLL_SECONDS):
            try:
                socket.create_connection(self._place, POLL_SECONDS).close()
            except ConnectionRefusedError:
                refusals += 1
            except OSError:
                refusals = 0
            else:
                refusals, heard = 0, time.monotonic()
            if refusals >= REFUSALS or time.monotonic() - heard > SILENCE_SECONDS:
                self.lost = True
                self._see_to_the_end()
                return

    def _see_to_the_end(self) -> None:
        told = self._over.wait(GRACE_SECONDS / 2)  # the main thread has raised our error, and it is told
        if not told:
            LOG.error("%s", self._error())
            print(f"factory: error: {self._error()}", file=sys.stderr, flush=True)
        else:
            time.sleep(GRACE_SECONDS / 2)
        os._exit(EXIT_BAD_INPUT)
