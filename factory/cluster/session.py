"""Ray itself: starting it here, or joining a cluster."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import secrets
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from factory.cluster.head import Head
from factory.cluster.interrupt import Interrupt
from shared.cli.secrets import token_file
from shared.cores import usable_cores
from shared.errors import TinyJEPAError

CONNECT_SECONDS = 5.0
LONGEST_TEMPORARY = 37
"""Letters of the path of Ray's temporary folder: a Unix socket's name has 107 at most, and Ray adds up to 70."""
OBJECT_STORE_BYTES = 100 << 20
"""Only small records pass through Ray."""


def ray_runs() -> bool:
    """Whether this process has a Ray already."""
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


@contextlib.contextmanager
def ray_session(workers: int | None, address: str | None, interrupt: Interrupt) -> Iterator[Head | None]:
    """Ray for the length of a collection: the one of this process, the cluster at ``address``, or a new one.

    Yields its head, watched; None for a Ray that was there before, whose owner sees to it.

    Raises ``TinyJEPAError`` when Ray is not installed, does not start, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _guard(address)
    try:
        import ray
    except ImportError:
        raise TinyJEPAError("Ray is not installed: pip install 'tinyjepa[factory]', or simulate with --local") from None
    if ray.is_initialized():
        yield None
        return
    check_listening(address)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address is None:
            cpus = max(workers or 1, usable_cores())
            quiet |= {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
            quiet["_temp_dir"] = _temporary()
        with _hushed():
            ray.init(address=address or "local", **quiet)
    except Exception as error:  # Ray raises plain ``Exception`` too, for example where it starts too slowly
        if address:
            raise _no_cluster(address, error) from error
        raise TinyJEPAError(f"Ray does not start ({' '.join(str(error).split())}); simulate with --local") from error
    interrupt.install()
    head = Head(ray.get_runtime_context().gcs_address)
    try:
        with contextlib.redirect_stdout(sys.stderr):  # where Ray prints when an actor dies
            yield head
    finally:
        head.close()
        if not head.lost:  # without one, Ray waits for it
            ray.shutdown()


def check_listening(address: str | None) -> None:
    """Fail at once if nothing listens at ``host:port``; ``ray.init`` would try for minutes."""
    host, _, port = (address or "").rpartition("//")[2].rpartition(":")
    if not address or not host or not port.isdigit():
        return
    if ":" in host.strip("[]") and not host.startswith("["):
        raise TinyJEPAError(f"--address {address}: write an IPv6 address in brackets, as in [{host}]:{port}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except (OSError, ValueError) as error:  # a name that cannot be one is a UnicodeError
        raise _no_cluster(address, error) from error


def _has_token() -> bool:
    """Whether this user has a Ray token, in one of the places where Ray looks."""
    file = token_file()
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or (file is not None and file.exists())


def is_loopback(address: str) -> bool:
    """Whether ``host:port`` can be reached from this box only; ``auto`` and ``local`` can."""
    host = address.rpartition("//")[2].rpartition(":")[0].strip("[]")
    if not host or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _guard(address: str | None) -> None:
    """Use this user's token and make it private; Ray itself writes it world-readable.

    Raises ``TinyJEPAError`` for a cluster beyond this box without a token, unless ``RAY_AUTH_MODE`` says so.
    """
    if "RAY_AUTH_MODE" in os.environ or (address is None and "ray" in sys.modules):
        return  # Ray reads its mode when it is imported, and a local session listens to this box only
    file = token_file()
    if not _has_token() and address is None:
        _make_token(file)
    if _has_token():
        os.environ["RAY_AUTH_MODE"] = "token"
        if file is not None:
            with contextlib.suppress(OSError):
                if file.stat().st_mode & 0o077:
                    file.chmod(0o600)
    elif address and not is_loopback(address):
        raise TinyJEPAError(
            f"no token for the Ray cluster at {address}: copy ~/.ray/auth_token from its head, or set "
            "RAY_AUTH_MODE=disabled if it was started without one (then everyone who can reach it can run code on it)"
        )


def _make_token(file: Path | None) -> None:
    """A token for every Ray of this user in ``file``; one for this process alone where that cannot be written."""
    token = secrets.token_hex(32)
    try:
        if file is None:
            raise FileNotFoundError
        file.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            os.write(fd, token.encode())
            os.close(fd)
    except OSError:
        os.environ["RAY_AUTH_TOKEN"] = token


def _temporary() -> str:
    """A folder for Ray's files and sockets: its own choice, else one that is short enough and can be written.

    Raises ``TinyJEPAError`` where there is none.
    """
    named = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    own = f"ray-{os.getuid()}"
    choices = [
        Path(named, "ray"),
        *(Path(place, name) for place in ("/tmp", "/var/tmp", "/dev/shm") for name in ("ray", own)),
    ]
    for choice in choices:
        if len(os.fsencode(choice)) <= LONGEST_TEMPORARY:
            with contextlib.suppress(OSError):
                choice.mkdir(parents=True, exist_ok=True)
                if os.access(choice, os.W_OK | os.X_OK):
                    return str(choice)
    raise TinyJEPAError(
        f"Ray finds no folder for its sockets: set RAY_TMPDIR to one that can be written, with a path of at most "
        f"{LONGEST_TEMPORARY - len('/ray')} letters, or simulate with --local"
    )


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep Ray's C++ parts, which write to the file descriptor, from adding lines to an error of ours."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)


def _no_cluster(address: str, error: Exception) -> TinyJEPAError:
    reason = " ".join(str(error).split())
    return TinyJEPAError(
        f"no Ray cluster answers at {address} ({reason}): check the address and, where the cluster asks for a token, "
        "that ~/.ray/auth_token or RAY_AUTH_TOKEN has it; or simulate with --local"
    )
