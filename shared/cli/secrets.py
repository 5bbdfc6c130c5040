"""Redaction of tokens, keys and passwords in files that others may read."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from shared.home import home

SECRET_NAME = re.compile(r"token|secret|passw|credential|apikey|(?:^|_)key(?:$|_)", re.I)
"""Of an environment variable; those that end in ``_PATH`` or ``_FILE`` only hold a location."""
SHORTEST = 6
"""Minimum length of a value that is redacted everywhere; shorter values would match ordinary words."""
BLACK = "***"
TOKEN_FILE_BYTES = 4096

_USER = re.compile(r"\b([a-z][a-z0-9+.-]*://)[^\s@'\"]+@", re.I)
_QUERY = re.compile(r"\b([a-z][a-z0-9+.-]*://[^\s?#'\"]*)[?#][^\s'\"]*", re.I)
_NAMED = re.compile(
    r"""(?P<name>[\w.-]*(?:token|secret|passw(?:or)?d|credentials?|api_?key|access_?key(?:_?id)?|private_?key)[\w.-]*)
        (?P<join>["']?\s*[=:]\s*["']?|\s+)(?P<value>[^\s"',;)&]{4,})""",
    re.I | re.X,
)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.I)
_AWS = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b")


def known_secrets() -> list[str]:
    """Values of this process's secret environment variables, and this user's Ray token; the longest first."""
    found = {
        value
        for name, value in os.environ.items()
        if SECRET_NAME.search(name) and not name.upper().endswith(("_PATH", "_FILE"))
    }
    file = token_file()
    if file is not None:
        with contextlib.suppress(OSError), file.open(encoding="utf-8", errors="replace") as opened:
            found.add(opened.read(TOKEN_FILE_BYTES).strip())
    return sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True)


def token_file() -> Path | None:
    """Where Ray keeps this user's token; None for a user without a home directory."""
    named, own = os.environ.get("RAY_AUTH_TOKEN_PATH"), home()
    return Path(named) if named else own and own / ".ray" / "auth_token"


def without_secrets(text: str, known: list[str]) -> str:
    """``text`` with ``known`` values and everything that looks like a secret replaced by ``***``.

    Redacted: user and password in a URL, everything after its ``?`` or ``#``, the value after a name such as
    ``token=`` or ``--password``, bearer tokens, and AWS key ids.
    """
    for value in known:
        text = text.replace(value, BLACK)
    text = _USER.sub(rf"\1{BLACK}@", text)
    text = _QUERY.sub(rf"\1?{BLACK}", text)
    text = _BEARER.sub(rf"\1 {BLACK}", text)
    text = _AWS.sub(BLACK, text)
    return _NAMED.sub(_black, text)


def _black(found: re.Match[str]) -> str:
    joined = found["join"]
    if joined.isspace() and not found["name"].startswith("-"):
        return found[0]  # an English sentence: "the token keeps strangers out"
    return f"{found['name']}{joined}{BLACK}"
