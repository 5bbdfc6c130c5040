"""One registry of impossible events: negatives and interventions share the principles of the worlds' violations."""

from __future__ import annotations

import pytest

from brain.evaluation.impossible import Impossible, register, registered
from brain.evaluation.interventions import INTERVENTIONS, Intervention
from brain.evaluation.negatives import HARD, KINDS, Negative
from shared.worlds import WORLDS, world_class
from shared.worlds.violations import PRINCIPLES


def test_every_event_says_what_it_shows_and_what_it_breaks() -> None:
    assert registered(Negative) is KINDS and registered(Intervention) is INTERVENTIONS
    assert {"teleport", "far", "frozen", "reversed", "wrong-action-1", *HARD} <= KINDS.keys()
    assert set(INTERVENTIONS) == {"teleport", "freeze", "reverse", "wrong-action"}
    events: list[Impossible] = [*KINDS.values(), *INTERVENTIONS.values()]
    for event in events:
        assert event.summary and event.principle in PRINCIPLES
    assert len({event.label[0] for event in INTERVENTIONS.values()}) == len(INTERVENTIONS), "a key of its own"
    assert KINDS["teleport"].principle == INTERVENTIONS["teleport"].principle == "continuity"


def test_the_violations_of_worlds_break_the_same_principles() -> None:
    for name in WORLDS:
        for violation in world_class(name).violations:
            assert violation.principle in PRINCIPLES and violation.summary


def test_names_are_taken_once_and_principles_are_stated() -> None:
    before = dict(INTERVENTIONS)
    teleport = INTERVENTIONS["teleport"]
    with pytest.raises(ValueError, match="called teleport already"):
        register(teleport)
    with pytest.raises(ValueError, match="luck is not in PRINCIPLES"):
        register(Intervention(name="luck", summary="x", principle="luck", label="Luck", play=teleport.play))  # type: ignore[arg-type]
    assert before == INTERVENTIONS
