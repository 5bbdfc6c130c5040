"""``brain train --gpus N``: starts the processes that share a training, and ends them together."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import IO

from brain.distributed import LISTENER, PeerLost
from shared.errors import TinyJEPAError, brief
from shared.lifetime import end_with

EXIT_PEER = 3
"""Of a process that ends because another has."""
GRACE_SECONDS = 10.0
"""For the others to end by themselves when one has failed; then they are killed."""
DEFAULTS = {"GLOO_SOCKET_IFNAME": "lo", "TORCH_CPP_LOG_LEVEL": "ERROR"}
"""Environment where it says nothing else. On one machine no other network is needed."""
Process = subprocess.Popen[bytes]


def needed(count: int) -> bool:
    """Whether this process must start ``count`` others: not if it is one of them, or there is but one.

    Raises ``TinyJEPAError`` where ``torchrun`` started another number.
    """
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    if world_size > 1 and count != world_size:
        raise TinyJEPAError(f"--gpus {count}, but torchrun started {world_size} processes: leave --gpus out")
    return count > 1 and world_size == 1


@contextlib.contextmanager
def peer_lost() -> Iterator[None]:
    """Where ``launch`` started this process, end quietly when another one has failed: that one says why.

    What this one saw goes where ``launch`` shows it if no other says more.
    """
    try:
        yield
    except PeerLost as error:
        if LISTENER not in os.environ:
            raise
        if os.environ["RANK"] != "0":
            print(brief(error.__cause__ or error), file=sys.stderr)
        sys.exit(EXIT_PEER)


def launch(count: int, command: Sequence[str]) -> int:
    """Run a command, such as ``python -m brain train``, as ``count`` processes on this machine; the exit code.

    The first one has this terminal. What the others print is shown where one of them fails first. SIGINT and SIGTERM
    are passed on, and when one process fails all end. Raises ``TinyJEPAError`` where a signal has killed one.
    """
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        errors = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(count)]
        processes = [_start(number, count, command, listener, errors[number]) for number in range(count)]
        try:
            with _passing_on(processes):
                failed = _wait(processes)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        if failed is None:
            return 0
        code = processes[failed].returncode
        if code == EXIT_PEER:
            why = _last(errors)
            raise TinyJEPAError(f"the {count} processes have lost each other ({why}): rerun the command to resume")
        if failed and processes[0].returncode not in (code, -signal.SIGINT):
            errors[failed].seek(0)
            sys.stderr.write(errors[failed].read().decode(errors="replace"))
    if code < 0:
        raise TinyJEPAError(
            f"process {failed} of {count} was killed ({signal.Signals(-code).name}): rerun the command to resume"
        )
    return code


def _last(errors: Sequence[IO[bytes]]) -> str:
    """The last line that a process printed there, whichever did."""
    lines = []
    for file in errors:
        file.seek(0)
        lines += file.read().decode(errors="replace").splitlines()
    return lines[-1] if lines else "none says why"


def _start(number: int, count: int, command: Sequence[str], listener: socket.socket, errors: IO[bytes]) -> Process:
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": listener.getsockname()[1], LISTENER: listener.fileno()}
    return subprocess.Popen(
        command,
        env=DEFAULTS | os.environ | {name: str(value) for name, value in (place | meeting).items()},
        stdout=None if number == 0 else subprocess.DEVNULL,
        stderr=None if number == 0 else errors,
        pass_fds=[listener.fileno()],
        start_new_session=True,  # Ctrl-C comes through _passing_on alone, once
        preexec_fn=functools.partial(end_with, os.getpid()),
    )


def _wait(processes: Sequence[Process]) -> int | None:
    """Until all have ended, or the grace after a failure has; the number of the one that failed first, or None."""
    failures: list[int] = []
    deadline = float("inf")
    while True:
        running = any(process.poll() is None for process in processes)
        fresh = [n for n, process in enumerate(processes) if process.returncode and n not in failures]
        if fresh and not failures:
            deadline = time.monotonic() + GRACE_SECONDS
        failures += fresh
        if not running or time.monotonic() > deadline:
            causes = [n for n in failures if processes[n].returncode != EXIT_PEER]
            return next(iter(causes or failures), None)
        time.sleep(0.02)


@contextlib.contextmanager
def _passing_on(processes: Sequence[Process]) -> Iterator[None]:
    """SIGINT and SIGTERM of this process go to all."""

    def caught(number: int, frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    before = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
