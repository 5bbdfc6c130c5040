"""Registries of parts: a name and the import path of its class.

A part is registered by one line with its import path as a string, so that listing the choices
imports nothing, and a box without a part's dependencies can still name it.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from typing import Any

from shared.errors import TinyJEPAError


def closest(name: str, choices: list[str], kind: str) -> str:
    """The error line for an unknown ``name`` of a ``kind``, with the closest match and all choices."""
    match = difflib.get_close_matches(name, choices, n=1, cutoff=0.5)
    hint = f" Did you mean '{match[0]}'?" if match else ""
    return f"unknown {kind} '{name}'.{hint} Choices: {', '.join(choices)}"


class Registry:
    """Names to lazily imported parts.

    >>> WORLDS = Registry("world")
    >>> WORLDS.register("car-racing", "shared.worlds.car_racing:CarRacing", "gymnasium's CarRacing")
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._paths: dict[str, str] = {}
        self._summaries: dict[str, str] = {}

    def register(self, name: str, path: str, summary: str) -> None:
        """Add a part: ``path`` is ``"module:attribute"``; ``summary`` is the line that listings show."""
        self._paths[name] = path
        self._summaries[name] = summary

    def get(self, name: str) -> Any:
        """The part called ``name``; raises ``TinyJEPAError`` with the closest match when there is none."""
        if name not in self._paths:
            raise TinyJEPAError(closest(name, self.names(), self.kind))
        module, _, attribute = self._paths[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def names(self) -> list[str]:
        """All names, in the order of registration."""
        return list(self._paths)

    def summary(self, name: str) -> str:
        """The line on a part that listings show."""
        return self._summaries[name]

    def path(self, name: str) -> str:
        """The import path, ``"module:attribute"``."""
        return self._paths[name]

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)
