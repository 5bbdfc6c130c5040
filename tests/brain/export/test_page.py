"""Which worlds the web page takes: those that its JavaScript simulates, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from brain import recipes
from brain.export.page import WORLDS, Exhibit, write_page
from brain.models.world_model import WorldModel
from shared.errors import TinyJEPAError
from shared.store.schema import StoreSpec


def exhibit(world: str, options: dict[str, Any], run: Path) -> Exhibit:
    actions = 0 if world == "bouncing-logo" else 2
    spec = StoreSpec(
        world=world, frame_shape=WORLDS[world], action_dim=actions, control_rate=10.0, state_names=("x", "y"),
        world_options=options,
    )  # fmt: skip
    torch.manual_seed(0)
    recipe = recipes.load("car-racing", ["encoder.dim=8", "encoder.width=8"])
    return Exhibit(run, WorldModel(recipe, spec), None, None)


@pytest.mark.parametrize(
    "world, options",
    [
        ("two-room", {"factors": {"door_width": 15, "wall_thickness": 6}}),
        ("two-room", {"vary": ["door_width"]}),
        ("two-room", {"walls": "held-out"}),
        ("two-room", {"collision": "slide"}),
        ("bouncing-logo", {"factors": {"speed": 2, "box": 0.5}}),
    ],
)
def test_a_world_with_other_options_is_refused(world: str, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TinyJEPAError, match="which the page cannot simulate"):
        write_page(tmp_path / "page", [exhibit(world, options, tmp_path)], None)


@pytest.mark.parametrize(
    "world, options", [("two-room", {}), ("two-room", {"walls": "seen", "collision": "stay"}), ("bouncing-logo", {})]
)
def test_a_world_as_it_comes_is_taken(world: str, options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(TinyJEPAError, match="so no threshold"):  # what is asked next
        write_page(tmp_path / "page", [exhibit(world, options, tmp_path)], None)
