"""Impossible events, all in one registry: what a model should be surprised by, and the principle it breaks.

There are several ways to show one. A *negative* is proposed to the model in place of the true next observation
(``brain.evaluation.negatives``), so that energies can be compared; an *intervention* is played on a world while it runs
(``brain.evaluation.interventions``), so that people can watch. A new event is one function and one ``register`` line in
the file of its kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

PRINCIPLES = {
    "continuity": "things move along a path: nothing is here now and elsewhere a moment later",
    "pace": "what moves gets as far in a step as its speed carries it",
    "motion": "what moves goes on moving",
    "direction of time": "a recording played backwards is no recording of the world",
    "causation": "an action has its own effects, not those of another",
}
"""What holds in every world, by name. An event names the one that it breaks."""


@dataclass(frozen=True, kw_only=True)
class Impossible:
    """An impossible event."""

    name: str
    summary: str
    """one line on what is shown"""
    principle: str
    """a key of ``PRINCIPLES``"""


Kind = TypeVar("Kind", bound=Impossible)

_REGISTRY: dict[type[Impossible], dict[str, Impossible]] = {}


def register(event: Kind) -> Kind:
    """Add an event to those of its kind, in the order in which tables show them.

    Raises ``ValueError`` for a name that is taken and for a principle that nobody has stated.
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
