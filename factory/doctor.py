"""Checks of Ray: it is installed, a cluster answers, and it refuses clients without the token."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from factory.cluster.session import check_listening, is_loopback
from shared.cli.secrets import token_file
from shared.doctor.finding import Finding
from shared.errors import TinyJEPAError

HEALTH_SECONDS = 30.0


def ray_findings(address: str | None) -> Iterator[Finding]:
    """Ray's token on this box, and whether the cluster at ``address`` (``host:port``) answers, and to whom."""
    yield _token(address)
    if address is None:
        return
    try:
        check_listening(address)
    except TinyJEPAError as error:
        yield Finding("Ray cluster", "bad", str(error), "start it there: ray start --head --port=6379; open the port")
        return
    mode = os.environ.get("RAY_AUTH_MODE") or ("token" if _has_token() else "disabled")
    why = _health(address, mode)
    if why:
        advice = "the same ~/.ray/auth_token and the same ray version on every node"
        yield Finding("Ray cluster", "bad", f"{address} refuses this box: {why}", advice)
    else:
        yield Finding("Ray cluster", "ok", f"{address} answers")
    if _health(address, "disabled"):
        yield Finding("Ray access", "ok", f"{address} refuses clients without a token")
    elif is_loopback(address):
        yield Finding("Ray access", "ok", f"{address} asks for no token, and is seen from this box only")
    else:
        advice = "ray get-auth-token --generate, chmod 600 ~/.ray/auth_token, RAY_AUTH_MODE=token, start Ray again"
        yield Finding("Ray access", "bad", f"{address} requires no token: all who reach it can run code on it", advice)


def _token(address: str | None) -> Finding:
    file = token_file()
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        far = address is not None and not is_loopback(address)
        advice = "unset RAY_AUTH_MODE, or set it to token"
        return Finding("Ray token", "bad" if far else "warning", "RAY_AUTH_MODE=disabled on this box", advice)
    if os.environ.get("RAY_AUTH_TOKEN"):
        return Finding("Ray token", "ok", "in RAY_AUTH_TOKEN")
    if file is None or not file.exists():
        advice = "for a cluster: ray get-auth-token --generate && chmod 600 ~/.ray/auth_token, the same on every box"
        bad = address is not None and not is_loopback(address)
        return Finding(
            "Ray token", "bad" if bad else "warning", f"none in {file or 'a home directory: HOME is not set'}", advice
        )
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        found = f"{file} can be read by other users of this box (mode {mode:o})"
        return Finding("Ray token", "bad" if address else "warning", found, f"chmod 600 {file}")
    return Finding("Ray token", "ok", f"in {file}, mode {mode:o}")


def _has_token() -> bool:
    file = token_file()
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or (file is not None and file.exists())


def _health(address: str, mode: str) -> str:
    """Why the cluster does not answer a client in this authentication mode; empty when it does."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    environment = {**os.environ, "RAY_AUTH_MODE": mode}
    if mode == "disabled":
        environment.pop("RAY_AUTH_TOKEN", None)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=HEALTH_SECONDS, cwd=Path.cwd().anchor
        )
    except subprocess.TimeoutExpired:
        return f"no answer in {HEALTH_SECONDS:.0f} s"
    if done.returncode == 0:
        return ""
    last = (done.stderr.strip().splitlines() or ["it gave no reason"])[-1]
    return last.partition(": ")[2].partition(". ")[0] or last
