"""What the log of a stream says of the process that writes it.

A process number means something only in one pid namespace, such as a container's, of one machine until it is started
anew. The name of the machine tells neither: containers and other machines may have the same.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

BOOT = Path("/proc/sys/kernel/random/boot_id")
PID_NAMESPACE = Path("/proc/self/ns/pid")


def this_process() -> dict[str, Any]:
    """``host``, ``boot``, ``pid_namespace`` and ``pid`` of this process.

    ``boot`` and ``pid_namespace`` are empty where the system does not tell them.
    """
    try:
        boot, namespace = BOOT.read_text(encoding="ascii").strip(), str(PID_NAMESPACE.readlink())
    except (OSError, ValueError):
        boot = namespace = ""
    return {"host": socket.gethostname(), "boot": boot, "pid_namespace": namespace, "pid": os.getpid()}
