"""The registry of policies that act while data is collected.

A policy lives for one episode: it is made after the reset, with the world and the episode's own random
generator, and draws everything it randomises from that generator. So an episode is a pure function of
(world, policy, seed, k).
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np

from factory.policies.base import has_centre_line, has_rooms
from shared.errors import TinyJEPAError
from shared.registry import Registry, closest
from shared.worlds.base import World, action_dim
from shared.worlds.policy import Policy

MIXED = "mixed"

POLICIES = Registry("policy")
POLICIES.register("uniform", "factory.policies.noise:Uniform", "uniform random action at every step")
POLICIES.register("uniform-held", "factory.policies.noise:UniformHeld", "uniform random action, held 2 to 16 steps")
POLICIES.register(
    "ornstein-uhlenbeck",
    "factory.policies.noise:OrnsteinUhlenbeck",
    "smooth random actions (Box actions only)",
)
POLICIES.register("pursuit", "factory.policies.pursuit:Pursuit", "pure-pursuit driver (worlds with a centre line)")
POLICIES.register(
    "pursuit-noise",
    "factory.policies.pursuit:PursuitNoise",
    "pursuit, Ornstein-Uhlenbeck noise on its actions",
)
POLICIES.register("pursuit-wander", "factory.policies.pursuit:PursuitWander", "pursuit, its lateral target wanders")
POLICIES.register(
    "pursuit-bursts",
    "factory.policies.pursuit:PursuitBursts",
    "pursuit, bursts of random action and recovery",
)
POLICIES.register(
    "pursuit-manoeuvres",
    "factory.policies.pursuit:PursuitManoeuvres",
    "pursuit, broken by hard braking, sharp steering, full gas or rolling",
)
POLICIES.register(
    "pursuit-race",
    "factory.policies.pursuit:PursuitRace",
    "pursuit at nearly the highest speed, rarely broken by bursts",
)
POLICIES.register("none", "factory.policies.none:NoAction", "no actions (worlds without actions)")
POLICIES.register("wander", "factory.policies.rooms:Wander", "steps whose heading wanders (worlds with rooms)")
POLICIES.register("crossing", "factory.policies.rooms:Crossing", "wander whose first 16 steps lead through the door")
POLICIES.register("charge", "factory.policies.rooms:Charge", "straight at the wall, a quarter at the door")
POLICIES.register("bump", "factory.policies.rooms:Bump", "straight runs at walls, door and borders")
POLICIES.register("expert", "factory.policies.rooms:Expert", "from one room to the other, through the door")

DRIVING_MIX = {
    "pursuit-noise": 0.40,
    "pursuit-bursts": 0.25,
    "pursuit-wander": 0.20,
    "uniform-held": 0.10,
    "ornstein-uhlenbeck": 0.05,
}
"""Shares of ``mixed`` on a world with a centre line."""

DRIVING_TOUR = {
    "pursuit-noise": 0.35,
    "pursuit-bursts": 0.15,
    "pursuit-wander": 0.15,
    "pursuit-manoeuvres": 0.20,
    "uniform-held": 0.10,
    "ornstein-uhlenbeck": 0.05,
}
"""Shares of ``mixed-driving``: the same, and what wheel and pedals do alone."""

ROOM_MIX = {"wander": 0.9, "crossing": 0.1}
"""Shares of ``mixed`` on a world with rooms."""

ROOM_TOUR = {"wander": 0.4, "crossing": 0.05, "charge": 0.2, "bump": 0.25, "expert": 0.1}
"""Shares of ``mixed-rooms``: free walks, runs at walls and doors, and ways through the door."""

CONTINUOUS_MIX = {"ornstein-uhlenbeck": 0.5, "uniform-held": 0.5}
"""Shares of ``mixed`` on any other world with Box actions."""

DISCRETE_MIX = {"uniform-held": 1.0}
"""Shares of ``mixed`` on a world with discrete actions."""


MIXES = {"mixed-rooms": ROOM_TOUR, "mixed-driving": DRIVING_TOUR}
"""Mixes with a name of their own."""

NO_MIX = {"none": 1.0}
"""Shares of ``mixed`` on a world without actions."""


def mix(world: World) -> dict[str, float]:
    """The policies that ``mixed`` draws from on this world, and their shares."""
    if action_dim(world.action_space) == 0:
        return NO_MIX
    if has_centre_line(world):
        return DRIVING_MIX
    if has_rooms(world):
        return ROOM_MIX
    return CONTINUOUS_MIX if isinstance(world.action_space, gym.spaces.Box) else DISCRETE_MIX


def check_policy(name: str, world: World) -> None:
    """Raise ``TinyJEPAError`` for an unknown policy, or one that cannot act in this world; it names those that can."""
    if name != MIXED and name not in POLICIES and name not in MIXES:
        able = [known for known in [*POLICIES, *MIXES] if _obstacle(known, world) is None]
        raise TinyJEPAError(closest(name, [*able, MIXED], "policy"))
    if (obstacle := _obstacle(name, world)) is not None:
        raise TinyJEPAError(f"policy '{name}' {obstacle}")


def _obstacle(name: str, world: World) -> str | None:
    """Why a policy cannot act in this world, to follow its name; None where it can."""
    acts = action_dim(world.action_space) > 0
    if acts != (name != "none") and name != MIXED:
        one, other = ("has", "another") if acts else ("has no", "none")
        return f"does not fit: the world {one} actions; use {other}, or mixed"
    if (name.startswith("pursuit") or name == "mixed-driving") and not has_centre_line(world):
        return "needs a world with a centre line and steer, gas and brake; use mixed"
    if name in ("wander", "crossing", "charge", "bump", "expert", "mixed-rooms") and not has_rooms(world):
        return "needs a world with rooms; use mixed"
    if name == "ornstein-uhlenbeck" and not isinstance(world.action_space, gym.spaces.Box):
        return f"needs continuous (Box) actions, not {world.action_space}; use mixed"
    return None


def make_policy(name: str, world: World, rng: np.random.Generator) -> tuple[str, Policy]:
    """A policy for one episode of a world that has been reset, and its resolved name (never ``mixed``)."""
    name = resolve_policy(name, world, rng)
    return name, POLICIES.get(name)(world, rng)


def resolve_policy(name: str, world: World, rng: np.random.Generator) -> str:
    """The name of an episode's policy, drawn where ``name`` is a mix; the first that is drawn from ``rng``."""
    if name != MIXED and name not in MIXES:
        return name
    shares = MIXES.get(name) or mix(world)
    return str(rng.choice(list(shares), p=list(shares.values())))
