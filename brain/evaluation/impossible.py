"""The registry of impossible events: what should surprise a model, and the principle each event breaks.

There are three ways to show one. A *negative* is proposed to the model in place of the true next observation
(``brain.evaluation.negatives``), so that energies can be compared; an *intervention* is played on a world while it runs
(``brain.evaluation.interventions``), so that people can watch. Negatives and interventions go with every world: a new
one is one function and one ``register`` line in the file of its kind. A *violation* is made by the simulator of one
world, which declares it (``shared.worlds.violations``). All have a name, a summary and a principle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from shared.worlds.violations import PRINCIPLES, Principle


@dataclass(frozen=True, kw_only=True)
class Impossible:
    """An impossible event."""

    name: str
    summary: str
    """one line on what is shown"""
    principle: Principle


Kind = TypeVar("Kind", bound=Impossible)

_REGISTRY: dict[type[Impossible], dict[str, Impossible]] = {}


def register(event: Kind) -> Kind:
    """Add an event to those of its kind, in the order in which tables show them.

    Raises ``ValueError`` for a name that is taken or an unknown principle.
    """
    of_kind = _REGISTRY.setdefault(type(event), {})
    if event.name in of_kind:
        raise ValueError(f"there is a {type(event).__name__} called {event.name} already")
    if event.principle not in PRINCIPLES:
        raise ValueError(f"{event.name}: the principle {event.principle} is not in PRINCIPLES")
    of_kind[event.name] = event
    return event


def registered(kind: type[Kind]) -> dict[str, Kind]:
    """All events of one kind, by name. The dictionary grows with the registry."""
    return _REGISTRY.setdefault(kind, {})  # type: ignore[return-value]  # a key's events are of its type
