"""The worlds: a registry of our own, and every installed gymnasium id.

Importing this module also registers ``tinyjepa/CarRacing-v0`` and its like with gymnasium.
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Mapping
from typing import Any

import gymnasium as gym

from shared.errors import TinyJEPAError
from shared.registry import Registry
from shared.worlds.base import World
from shared.worlds.finding import check_trusted, full_id

__all__ = [
    "WORLDS",
    "World",
    "canonical_name",
    "check_world",
    "gymnasium_id",
    "make_world",
    "stored_world",
    "world_class",
]

os.environ.setdefault("SDL_NO_SIGNAL_HANDLERS", "1")  # pygame would turn SIGTERM into an event that nobody reads
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # more threads cost CPU time and save none

MIN_FRAME_SIZE, MAX_FRAME_SIZE = 8, 1024

WORLDS = Registry("world")
WORLDS.register(
    "car-racing",
    "shared.worlds.car_racing:CarRacing",
    "gymnasium's CarRacing: the same physics, drawn straight to the frame, with privileged state",
)
WORLDS.register(
    "bouncing-logo", "shared.worlds.bouncing_logo:BouncingLogo", "a logo bounces in a 16x16 box; nobody acts"
)
WORLDS.register(
    "double-pendulum", "shared.worlds.double_pendulum:DoublePendulum", "a chaotic pendulum; nobody acts, or two torques"
)
WORLDS.register(
    "two-room", "shared.worlds.two_room:TwoRoom", "a dot, two rooms, a door: the wall world of PLDM and eb_jepa"
)

IMPORTED = "imported/"
"""How the names of worlds begin that are known by imported episodes alone."""

VECTORISED = {"two-room": "shared.worlds.two_room:TwoRoomBatch"}
"""Worlds that also come as one array program for many episodes."""


def gymnasium_id(name: str) -> str:
    """The gymnasium id of a registered world: ``car-racing`` is ``tinyjepa/CarRacing-v0``."""
    return f"tinyjepa/{''.join(word.capitalize() for word in name.split('-'))}-v0"


for _name in WORLDS:
    gym.register(
        gymnasium_id(_name),
        entry_point=WORLDS.path(_name),
        vector_entry_point=VECTORISED.get(_name),
        max_episode_steps=World.max_episode_steps,
    )


def canonical_name(name: str) -> str:
    """The name a store keeps: the registry's for our own worlds, else the gymnasium id.

    An id that an installed package registers gets that package's module in front (``ale_py:ALE/Pong-v5``).
    Raises ``TinyJEPAError`` with the closest match for a name that is neither.
    """
    own = {gymnasium_id(known): known for known in WORLDS}
    if name in WORLDS:
        return name
    if name in own:
        return own[name]
    if name.startswith(IMPORTED):
        raise TinyJEPAError(f"world '{name}' has no simulator: its episodes were imported")
    return full_id(name, [*WORLDS])


NO_OPTIONS = {"name", "frame_size", "id"}
"""What ``make_world`` and ``gymnasium.make`` are told otherwise."""


def make_world(name: str, frame_size: int | None = None, **options: Any) -> World:
    """Make a world by registry name, ``tinyjepa/...`` id or gymnasium id.

    Its observations are uint8 ``(frame_size, frame_size, C)``, by default of the world's own size. ``options``
    go to the world's constructor (for a gymnasium id, to ``gymnasium.make``).

    Raises ``TinyJEPAError`` for an unknown name or option, a bad
    value, or a world that cannot be shown as frames.
    """
    name = canonical_name(name)
    if frame_size is not None and not MIN_FRAME_SIZE <= frame_size <= MAX_FRAME_SIZE:
        raise TinyJEPAError(f"frame size {frame_size} is not between {MIN_FRAME_SIZE} and {MAX_FRAME_SIZE} pixels")
    if name not in WORLDS:
        from shared.worlds.adapter import GymnasiumWorld

        return GymnasiumWorld(name, frame_size or World.default_frame_size, **options)
    try:
        world = WORLDS.get(name)
    except ImportError as error:
        raise TinyJEPAError(f"world '{name}' needs a package that is not installed: {error}") from error
    parameters = dict(inspect.signature(world).parameters)
    del parameters["frame_size"]
    known = [*parameters]
    for key, value in options.items():
        if key not in known:
            match = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f" Did you mean '{match[0]}'?" if match else ""
            raise TinyJEPAError(f"unknown option '{key}' of world '{name}'.{hint} Choices: {', '.join(known)}")
        default = parameters[key].default
        if isinstance(default, bool | int | float) and not _same_kind(value, default):
            raise TinyJEPAError(
                f"option '{key}' of world '{name}' is {value!r}; give a {type(default).__name__} such as {default}"
            )
    try:
        made: World = world(frame_size=frame_size or world.default_frame_size, **options)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value}" for key, value in options.items())
        raise TinyJEPAError(f"world '{name}' refuses its options ({given}): {error}") from error
    return made


def stored_world(name: str, frame_size: int, options: Mapping[str, Any], *, trust: bool = False) -> World:
    """Make the world that a store names, with the store's world options.

    A store may come from a stranger: without ``trust``, a module that it names is imported only if it belongs to an
    installed package that registers environments. Raises ``TinyJEPAError`` otherwise, and what ``make_world`` raises.
    """
    check_trusted(name, trust)
    if taken := NO_OPTIONS & options.keys():
        raise TinyJEPAError(f"the store's world options set {', '.join(sorted(taken))}, which no world takes there")
    return make_world(name, frame_size, **options)


def world_class(name: str) -> type[World]:
    """What is declared of a world, by the name that stores keep: its class.

    ``World`` itself, with its defaults, for a gymnasium id, a world that is no longer registered, and one that cannot
    be imported here.
    """
    if name not in WORLDS:
        return World
    try:
        found: type[World] = WORLDS.get(name)
    except ImportError:
        return World
    return found


def check_world(world: World, twin: World | None = None) -> None:
    """Check a world of your own against the contract of ``World``, as gymnasium's ``check_env`` does.

    It is reset and stepped. ``twin`` is a second instance, made in the same way: with it, episodes must not depend on
    the instance either. Checked are gymnasium's own rules; frames, states and actions of the shapes and types that the
    class declares; that what it declares of its states and axes exists; and that an episode depends on its seed alone.
    Raises ``TinyJEPAError``, one line on the first rule that is broken.
    """
    from shared.worlds.check import check_world as check

    check(world, twin)


def _same_kind(value: object, default: bool | int | float) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    return isinstance(value, int) or (isinstance(default, float) and isinstance(value, float))
