"""Errors that a user can cause or fix."""

from __future__ import annotations

import json


class TinyJEPAError(Exception):
    """Bad input or a bad environment. The message is one line that names the cause and the fix.

    The commands print it as ``factory: error: <message>`` and exit with code 2, without a traceback.
    """


def brief(error: BaseException) -> str:
    """Type and text of an error raised by third-party code, in one line of at most 300 characters."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def cause(error: Exception) -> str:
    """In a few words, why a JSON file is invalid; never quotes its contents."""
    if isinstance(error, UnicodeDecodeError):
        return "it is no text"
    if isinstance(error, json.JSONDecodeError | RecursionError):
        return "it is no JSON"
    if isinstance(error, KeyError):
        return f"{str(error.args[0])[:40]!r} is missing"
    if type(error) is ValueError:
        return str(error)[:80]
    return "its content has another form"


class StoreError(TinyJEPAError):
    """A store that is missing, foreign, of another schema, or whose bytes contradict its commit log."""


class MissingStoreError(StoreError):
    """There is no store at this place yet."""


class UnreachableError(StoreError):
    """A store whose disk or network does not answer now; a later try may succeed."""


class DamageError(StoreError):
    """Committed bytes of one shard are lost or altered; the rest of the store can be read."""

    CURE = "restore the file from a copy, or set it aside with factory verify --quarantine"
