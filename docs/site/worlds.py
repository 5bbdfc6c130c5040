"""A page for each registered world."""

from __future__ import annotations

import inspect
from typing import Any

import cv2
import gymnasium as gym
import numpy as np

from docs.site.text import cell, code, doc, table
from shared.video import as_rgb
from shared.worlds import WORLDS, gymnasium_id, make_world, world_class
from shared.worlds.actions import RandomActions
from shared.worlds.base import World
from shared.worlds.factors import text

SHOWN, EVERY, PIXELS = 6, 12, 192
"""Frames of a picture, steps between them, and their least side in pixels."""


def nav() -> list[str]:
    return [f"worlds/{name}.md" for name in WORLDS]


def pages() -> dict[str, str | bytes]:
    """Page and picture of every world."""
    made: dict[str, str | bytes] = {}
    for name in WORLDS:
        made[f"worlds/{name}.md"] = page(name)
        made[f"worlds/{name}.png"] = picture(name)
    return made


def page(name: str) -> str:
    """Everything that a world declares of itself."""
    kind, world = world_class(name), make_world(name)
    world.close()
    parts = [
        f"# {name}\n\n{WORLDS.summary(name)[0].upper()}{WORLDS.summary(name)[1:]}.\n",
        f"![{SHOWN} frames of an episode]({name}.png){{ .frames }}\n",
        f"*{SHOWN} frames, {EVERY} steps apart, of the episode with seed 0 under random actions, drawn by the world "
        "while this page was made.*\n",
        f"```\nfactory collect --world {name}\n```\n",
        table(["Property", "Value"], facts(name, kind, world)),
        doc(kind) + "\n",
        section(
            "Options", "For `factory collect --option KEY=VALUE`, or keyword arguments of `shared.make_world`.",
            world_options(kind),
        ),
        section(
            "Factors of variation", "Sampled by `factory collect --vary NAME`, set by `--set-factor NAME=VALUE`.",
            table(["Factor", "Unit", "Default", "Sampled", "Allowed"],
                  ([code(one.name), cell(one.unit), code(text(one.default)), "{:g} to {:g}".format(*one.training),
                    "{:g} to {:g}".format(*one.allowed)] for one in kind.factors)),
        ),
        section("States", "", table(["State", "Role"], states(kind, world))),
        section("Data sets", f"By `factory collect --world {name} --dataset NAME`.", data_sets(kind)),
        section(
            "Violations",
            "Impossible events that the simulator makes ([how](../training.md#violations-of-expectation)).",
            table(["Violation", "Principle", "What is seen"],
                  ([code(one.name), one.principle, cell(one.summary)] for one in kind.violations)),
        ),
        section(
            "Tasks", "By `brain plan --task NAME` ([planning](../planning.md)).",
            table(["Task", "Steps", "Episodes", "What is to be done"],
                  ([code(key), str(one.steps), str(one.episodes), cell(one.summary)]
                   for key, one in kind.tasks.items())),
        ),
    ]  # fmt: skip
    return "\n".join(part for part in parts if part)


def facts(name: str, kind: type[World], world: World) -> list[list[str]]:
    """What a world is, row by row."""
    found = [
        ["Gymnasium id", code(gymnasium_id(name))],
        ["Observation", code(f"uint8 {world.observation_space.shape}")],
        ["Actions", actions(world.action_space)],
        ["Actions per second", f"{world.control_rate:g}"],
        ["Longest episode", f"{world.max_episode_steps} steps"],
        ["Default policy", code(kind.default_policy)],
    ]
    recipe = kind.default_recipe
    return [*found, ["Default recipe", f"[{recipe}](../recipes/{recipe}.md)"]] if recipe else found


def actions(space: gym.Space[Any]) -> str:
    """A space in words."""
    if isinstance(space, gym.spaces.Box):
        if not space.shape or 0 in space.shape:
            return "none"
        low, high = (
            "(" + ", ".join(f"{value:g}" for value in bound.ravel()) + ")" for bound in (space.low, space.high)
        )
        return f"{code(f'float32 {space.shape}')}, from {code(low)} to {code(high)}"
    return code(space)


def states(kind: type[World], world: World) -> list[list[str]]:
    """Each state, and how probes and networks treat it."""
    roles = {"angle, rad": kind.angles, "main figure of probes": kind.headline_states or world.state_names[:2]}
    return [[code(name), cell("; ".join(role for role, names in roles.items() if name in names))]
            for name in world.state_names]  # fmt: skip


def world_options(kind: type[World]) -> str:
    given = [one for one in inspect.signature(kind).parameters.values() if one.name not in ("factors", "vary")]
    return table(["Option", "Default"], ([code(one.name), code(one.default)] for one in given))


def data_sets(kind: type[World]) -> str:
    rows = [
        [code(name), code(one.policy), str(one.max_episode_steps), cell(one.summary)]
        for name, one in kind.datasets.items()
    ]
    return table(["Data set", "Policy", "Steps", "What it is"], rows)


def section(title: str, before: str, body: str) -> str:
    """A section, or nothing where there is nothing to tell."""
    return f"\n## {title}\n\n{before}\n{body}" if body else ""


def picture(name: str) -> bytes:
    """Frames of the episode with seed 0, side by side: a PNG."""
    world = make_world(name)
    frame, _ = world.reset(seed=0)
    draw = RandomActions(world.action_space, np.random.default_rng(0))
    frames = []
    for step in range(SHOWN * EVERY):
        if step % EVERY == 0:
            times = -(-PIXELS // len(frame))
            shown = as_rgb(frame).repeat(times, 0).repeat(times, 1)
            frames.append(np.pad(shown, ((0, 0), (0, 4), (0, 0)), constant_values=255))
        frame, _, ended, _, _ = world.step(draw.next())
        if ended:
            frame, _ = world.reset()
    world.close()
    done, png = cv2.imencode(".png", np.concatenate(frames, 1)[..., ::-1])
    assert done
    return png.tobytes()
