"""The registry of worlds. A new world is one new file and one line here."""

from __future__ import annotations

from typing import Any

from shared.registry import Registry
from shared.worlds.base import World

WORLDS = Registry("world")
WORLDS.register("car-racing", "shared.worlds.car_racing:CarRacing", "gymnasium's CarRacing physics, fast frames")


def make_world(name: str, frame_size: int = 64, **options: Any) -> World:
    """Make a registered world, or any installed gymnasium id with an image, as a ``World``.

    ``frame_size`` is the height and width of the square frames in pixels. ``options`` are the world's own
    constructor arguments, JSON values only, because the store keeps them. Raises ``TinyJEPAError`` for an
    unknown name (with the closest match), an unknown option, or an environment without a picture.
    """
    raise NotImplementedError
