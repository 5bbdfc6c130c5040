"""A world's violations while it runs: what is shown, what the model is told, and what goes on unseen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from brain.evaluation.interventions import INTERVENTIONS
from brain.live.loaded import Loaded
from brain.live.messages import scene_state
from brain.live.scene import Moment, Scene
from shared.worlds.frame_violations import FRAME_VIOLATIONS
from tests.support.living import opened


@pytest.fixture(scope="module")
def loaded(logo: Path) -> Loaded:
    return opened(logo, logo.parent / "store")


def watch(scene: Scene, frames: int) -> list[Moment]:
    return [scene.advance() for _ in range(frames)]


def test_every_world_has_its_own_beside_those_of_all(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=1)
    own = [name for name in scene.interventions if name not in INTERVENTIONS]
    declared = {violation.name for violation in loaded.world_violations}
    assert set(own) == declared - {"stops"}, "to stand still is Freeze"
    rows = {row[0]: row for row in scene_state(scene)["interventions"]}
    assert rows["leaves-the-box"][1:] == ["Leaves the box", "the logo passes through the border", None, True]
    assert rows["teleport"][4] is False


def test_the_logo_vanishes_and_the_true_course_goes_on_unseen(loaded: Loaded) -> None:
    scene, honest = Scene(loaded, seed=2), Scene(loaded, seed=2)
    watch(scene, 10), watch(honest, 10)
    assert scene.play("vanishes")
    shown, true = watch(scene, 20), watch(honest, 20)
    names = [moment.intervention for moment in shown]
    length = scene.intervention_frames
    assert names == ["vanishes"] * length + [None] * (20 - length)
    assert all(moment.frame.max() == 0 for moment in shown[:length]) and not any(moment.cut for moment in shown)
    for moment, other in zip(shown[length:], true[length:]):
        assert np.array_equal(moment.frame, other.frame)
    (event,) = scene.events
    assert (event.name, event.start, event.stop) == ("vanishes", 11, 11 + length)
    energies = [moment.energy or 0.0 for moment in shown[: length + 2]]
    assert event.peak == max(energies)


def test_a_violation_of_a_situation_is_led_up_to(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=4)
    watch(scene, 10)
    assert scene.play("leaves-the-box")
    shown = watch(scene, 60)
    names = [moment.intervention for moment in shown]
    first = names.index("leaves-the-box")
    assert shown[0].cut and first >= loaded.timing.history + loaded.timing.stride
    assert not any(names[:first]) and not any(moment.cut for moment in shown[1:first])
    last = shown[first + scene.intervention_frames - 1]
    assert names[first : first + scene.intervention_frames] == ["leaves-the-box"] * scene.intervention_frames
    assert last.frame.max() < shown[first].frame.max(), "it is out of the box, or nearly"


def test_every_intervention_can_be_played_and_ends(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=5)
    watch(scene, 5)
    for name in scene.interventions:
        if scene.why_not(name):
            continue
        assert scene.play(name)
        names = {moment.intervention for moment in watch(scene, 70)}
        assert names == {None, name}


def test_stored_episodes_are_changed_frame_by_frame(logo: Path) -> None:
    scene = Scene(opened(logo, logo.parent / "store", replay=True), seed=1)
    own = {name for name in scene.interventions if name not in INTERVENTIONS}
    assert own == {violation.name for violation in FRAME_VIOLATIONS if violation.framewise} and len(own) >= 5
    true = Scene(opened(logo, logo.parent / "store", replay=True), seed=1)
    watch(scene, 8), watch(true, 8)
    scene.play("is-mirrored")
    for moment, other in zip(watch(scene, 6), watch(true, 6)):
        assert moment.intervention == "is-mirrored" and np.array_equal(moment.frame, other.frame[:, ::-1])
