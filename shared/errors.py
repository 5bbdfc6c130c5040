"""The errors a user can cause or mend."""

from __future__ import annotations


class TinyJEPAError(Exception):
    """Bad input or a bad environment. The message is one line that names the cause and the fix.

    The commands print it as ``factory: error: <message>`` and exit with code 2, without a traceback.
    """


class StoreError(TinyJEPAError):
    """A store that is missing, foreign, of another schema, or whose bytes contradict its commit log."""


class MissingStoreError(StoreError):
    """There is no store yet where one was looked for."""


class DamageError(StoreError):
    """Committed bytes of one shard are lost or altered; the rest of the store can be read."""

    CURE = "restore the file from a copy, or set it aside with factory verify --quarantine"
