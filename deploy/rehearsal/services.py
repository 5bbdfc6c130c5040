"""Commands that are kept running as the systemd units of ``deploy/systemd`` do: started again after a failure."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from deploy.rehearsal.hosts import Host

RESTART_SECONDS = 3.0


class Service:
    """A command on a host, started again ``RESTART_SECONDS`` after it failed; it is over when it ends with 0."""

    def __init__(self, host: Host, name: str, command: list[str], environment: Mapping[str, str], logs: Path) -> None:
        self.host, self.name = host, name
        self.log = logs / f"{name}.log"
        self.starts = 0
        self.exits: list[tuple[float, int]] = []
        """(monotonic seconds, exit code) of each end."""
        self._command, self._environment = host.command(*command), {**os.environ, **environment}
        self._wanted = True
        self._process: subprocess.Popen[bytes] | None = None
        self.finished = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=name, daemon=True)
        self._thread.start()

    def _keep(self) -> None:
        while self._wanted:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    start_new_session=True,
                )  # fmt: skip
                self.starts += 1
                code = self._process.wait()
            self.exits.append((time.monotonic(), code))
            if code == 0:
                self.finished.set()
                return
            time.sleep(RESTART_SECONDS)

    def kill(self) -> None:
        """``kill -9`` of the command itself; it is started again."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End it for good."""
        self._wanted = False
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
        self._thread.join(RESTART_SECONDS + 5)

    def last_line(self) -> str:
        """The newest line it printed to its log that is no JSON."""
        if not self.log.exists():
            return ""
        lines = self.log.read_text(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip() and not line.startswith("{")), "")
