"""Child processes that end with their parent, however it ends."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform.startswith("linux") else None


def end_with(parent: int) -> None:
    """Have the kernel kill this process when its parent process ``parent`` dies; call it first.

    Where ``parent`` is gone already, this process ends here. Needs Linux (``prctl(2)``); elsewhere only that check is
    made. What a writer has committed stays, as after any kill.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
