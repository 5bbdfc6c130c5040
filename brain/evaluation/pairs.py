"""Matched pairs of true and impossible continuations for a run: by its world's simulator, or from stored episodes.

Pairs that choose and calibrate come from validation seeds, pairs that are scored from test seeds; no episode of the
store has any of them.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from brain.data.state_mode import StateStore, picture_shape
from brain.data.states import States
from brain.data.windows import Timing
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, Split, split_by_seed
from shared.worlds import stored_world
from shared.worlds.base import World, action_dim
from shared.worlds.drawing import Drawing, Order
from shared.worlds.frame_violations import FRAME_VIOLATIONS
from shared.worlds.violations import ATTEMPTS, Moments, Pairs, visible

STEPS = 8
"""Length of a continuation in model steps."""

PAST = 3
"""Minimum number of past frames shown to people."""

FEW = 6
"""A violation with fewer pairs is left out: its situation hardly ever occurs."""


@dataclass(frozen=True)
class Suite:
    """All violations of a world in one set of scenes."""

    label: str
    """What is new in these scenes compared with training; empty for the run's own options."""
    unseen: bool
    """Whether the scenes have layouts, tracks or colours that training never showed."""
    validation: Sequence[Pairs]
    """Empty except for the run's own options."""
    test: Sequence[Pairs]


@dataclass(frozen=True)
class Scenes:
    """One part of a suite, which is drawn by itself."""

    label: str
    """of the suite"""
    options: Mapping[str, Any]
    """of the world, beside the store's"""
    unseen: bool
    split: Split
    count: int
    """pairs of each violation"""
    few: int
    """a violation with fewer pairs is left out"""


class Suites:
    """All violations of a store's world; a context manager. Processes of their own begin to draw them at once."""

    def __init__(self, store: Store, timing: Timing, count: int, seed: int, cores: int | None = None) -> None:
        """``count`` test pairs of each violation, half as many for validation, and half as many of what is unseen.

        ``cores``: of the processes and the caller, by default those that this process may run on.
        """
        self._store, self._timing, self._count, self._seed = store, timing, count, seed
        self._scenes = _scenes(store, count) if count else []
        self._drawing = Drawing([self._order(scenes) for scenes in self._scenes], cores)

    def __enter__(self) -> Suites:
        return self

    def __exit__(self, *error: object) -> None:
        self._drawing.__exit__(*error)

    @property
    def cores_left(self) -> int:
        """Cores that no process draws on, at least one."""
        return self._drawing.cores_left

    def draw(self) -> list[Suite]:
        """The run's own options first, then what is unseen; waits for the processes.

        A world without violations of its own, that is not installed here, or whose violations do not last as long as a
        clip of this run, gets the generic ones, made of the store's frames. Empty where there are none: no pairs asked
        for, in mode state, or in episodes of less than a few model steps.
        """
        own, *unseen = self._simulated() or [Suite("", False, [], [])]
        if own.test and own.validation:
            return [own, *(suite for suite in unseen if suite.test)]
        generic = self._count and not isinstance(self._store, StateStore)
        made = [_stored(self._store, self._timing, self._count, self._seed)] if generic else []
        return [suite for suite in made if suite.test and suite.validation]

    def _simulated(self) -> list[Suite]:
        """What the world's simulator drew, the run's own options first; any part may be empty."""
        found: dict[str, dict[Split, list[Pairs]]] = {}
        for number, scenes in enumerate(self._scenes):
            drawn = self._drawing.pairs(number)
            if isinstance(self._store, StateStore):
                drawn = [_coordinates(self._store, pairs) for pairs in drawn]
            found.setdefault(scenes.label, {})[scenes.split] = [one for one in drawn if len(one) >= scenes.few]
        unseen = {scenes.label: scenes.unseen for scenes in self._scenes}
        return [Suite(label, unseen[label], of.get("validation", []), of["test"]) for label, of in found.items()]

    def _order(self, scenes: Scenes) -> Order:
        spec, timing = self._store.spec, self._timing
        seeds = fresh_seeds(self._store, scenes.split, [self._seed, *scenes.label.encode()])
        return Order(
            spec.world, picture_shape(spec)[0], {**spec.world_options, **scenes.options},
            [*itertools.islice(seeds, ATTEMPTS * scenes.count)], scenes.count, STEPS, max(PAST, timing.stack + 1),
            timing.stride,
        )  # fmt: skip


def _scenes(store: Store, count: int) -> list[Scenes]:
    """What the store's simulator is to draw; nothing for a world without violations of its own, or not installed."""
    made = _world(store)
    if made is None:
        return []
    with contextlib.closing(made) as world:
        if not world.violations:
            return []
        few, half = min(FEW, count), count // 2
        wanted = [
            Scenes("", {}, world.unseen_episodes, "test", count, few),
            Scenes("", {}, world.unseen_episodes, "validation", max(half, FEW), few),
        ]
        for label, options in world.unseen.items():
            if _is_new(world, options, store.spec.world_options):
                wanted.append(Scenes(label, options, True, "test", half, min(FEW, half)))
    return wanted


def _world(store: Store) -> World | None:
    """The store's world; None if it cannot be made."""
    spec = store.spec
    try:
        world = stored_world(spec.world, picture_shape(spec)[0], spec.world_options)
    except TinyJEPAError:
        return None
    if (world.observation_space.shape, action_dim(world.action_space)) == (picture_shape(spec), spec.action_dim):
        return world
    world.close()
    return None


def _is_new(world: World, options: Mapping[str, Any], trained: Mapping[str, Any]) -> bool:
    """Whether the run's own options show nothing of these: they leave them at their defaults."""
    defaults = inspect.signature(type(world)).parameters
    return all(trained.get(key, defaults[key].default) == defaults[key].default for key in options)


def fresh_seeds(store: Store, split: Split, seed: Sequence[int]) -> Iterator[int]:
    """Seeds of a split that no episode of the store has; endless, a pure function of the store and ``seed``."""
    rng = np.random.default_rng([*seed, *split.encode()])
    collected = {ref.seed for ref in store.episodes}
    while True:
        drawn = int(rng.integers(2**31))
        if split_by_seed(drawn) == split and drawn not in collected:
            yield drawn


def _coordinates(store: StateStore, pairs: Pairs) -> Pairs:
    """The same pairs as a model of the true state sees them; without those in which it would see no difference."""

    def seen(states: np.ndarray) -> np.ndarray:
        flat = States.of(store.spec).columns(states.reshape(-1, states.shape[-1]))
        scaled = (flat - np.array(store.scale.mean)) / np.array(store.scale.std)
        return scaled.astype(np.float32).reshape(*states.shape[:2], 1, 1, -1)

    table = pairs.moments
    impossible, true = seen(pairs.impossible_state), seen(table.true_state)
    differs = np.abs(impossible - true[pairs.at]).reshape(len(pairs), -1).max(1) > 0.01
    moments = replace(table, past=seen(table.past_state), true=true)
    return replace(
        pairs, moments=moments, at=pairs.at[differs], impossible=impossible[differs],
        impossible_state=pairs.impossible_state[differs],
    )  # fmt: skip


def _stored(store: Store, timing: Timing, count: int, seed: int) -> Suite:
    """The generic violations, built from moments of stored episodes."""
    splits: list[list[Pairs]] = []
    for split, pairs in (("validation", max(count // 2, FEW)), ("test", count)):
        refs = store.split(split)  # type: ignore[arg-type]
        steps = min(STEPS, _room(refs, timing) // 3)
        splits.append(_frames(store, refs, timing, steps, pairs, seed) if steps else [])
    return Suite("", False, *splits)


def _room(refs: Sequence[EpisodeRef], timing: Timing) -> int:
    """Model steps of the median episode; 0 where it is shorter than an observation."""
    return max(0, int(np.median([(ref.rows - 1) // timing.stride - timing.stack for ref in refs]))) if refs else 0


def _frames(store: Store, refs: Sequence[EpisodeRef], timing: Timing, steps: int, count: int, seed: int) -> list[Pairs]:
    """A moment has ``steps`` + 1 model steps before it, or what an observation needs, and twice ``steps`` after it."""
    stride = timing.stride
    past = max(PAST, timing.stack + 1)
    before, after = max(steps + 2, past), 2 * steps
    usable = [ref for ref in refs if ref.rows > (before - 1 + after) * stride]
    if not usable:
        return []
    rng = np.random.default_rng([seed, *b"moments"])
    rows: list[tuple[np.ndarray, ...]] = []
    made: dict[str, list[tuple[int, np.ndarray]]] = {violation.name: [] for violation in FRAME_VIOLATIONS}
    for number in range(count):
        ref = usable[number * len(usable) // count if count <= len(usable) else number % len(usable)]
        read = store.read_episode(ref, "frame", "action", "state")
        moment = int(rng.integers((before - 1) * stride, ref.rows - after * stride))
        shown = np.arange(moment - (before - 1) * stride, moment + after * stride + 1, stride)
        frames, states = read["frame"][shown], read["state"][shown]
        first = before - past
        acted = read["action"][shown[first] : shown[before - 1 + steps]].reshape(past - 1 + steps, -1)
        true = frames[before : before + steps]
        for violation in FRAME_VIOLATIONS:
            own = np.random.default_rng([seed, number, *violation.name.encode()])
            clip = violation.make(frames[:before], frames[before:], steps, own)
            if visible(clip, true):
                made[violation.name].append((number, clip))
        kept = slice(first, before), slice(before, before + steps)
        rows.append((np.array(ref.seed), frames[kept[0]], states[kept[0]], acted, true, states[kept[1]]))
    moments = Moments(*(np.array(column) for column in zip(*rows)))
    result = []
    for violation in FRAME_VIOLATIONS:
        if len(made[violation.name]) >= min(FEW, count):
            at, clips = (np.array(column) for column in zip(*made[violation.name]))
            result.append(Pairs(violation, moments, at, clips, np.full((*clips.shape[:2], 0), np.nan, np.float32)))
    return result
