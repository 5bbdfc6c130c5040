"""Violations of expectation: impossible continuations that a world's own simulator makes and draws.

A violation starts from a world at some moment and the actions that follow, acts on the simulator, and lets it draw what
would then be seen. ``draw_pairs`` makes matched pairs of it: the same past and the same actions, the true continuation
and the impossible one. After Garrido et al. 2025 (arXiv 2502.11831); principles after IntPhys 2 (Bordes et al. 2025,
arXiv 2506.09849), and more for dynamics, actions and time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from shared.worlds.base import World, flat_action

Principle = Literal["permanence", "immutability", "continuity", "solidity", "inertia", "agency", "time"]
PRINCIPLES: dict[Principle, str] = {
    "permanence": "things do not vanish or appear",
    "immutability": "things keep their colour, shape and size",
    "continuity": "things do not jump from one place to another",
    "solidity": "things do not pass through each other",
    "inertia": "things keep their momentum",
    "agency": "things do what the action does",
    "time": "nothing runs backwards",
}
"""What holds in every world. An impossible event names the principle that it breaks."""

VISIBLE = 32
"""Levels of 255 by which some pixel of an impossible continuation differs from the true one, or the pair is dropped."""

MOMENTS = 3
"""Taken from one episode at most."""

ATTEMPTS = 20
"""Episodes tried at most for each pair that is asked for."""

Make = Callable[[Any, Iterable[Any], np.random.Generator], Iterator[np.ndarray]]
"""Called with a world of its own to change, the actions that follow and a generator. Yields a frame for each action,
uint8 (H, W, C); the world's state is then the one shown. Yields nothing where it cannot happen at this moment."""

Act = Callable[[], Any]
"""The next action, in the world's action space."""


class Ride:
    """One episode that a situation steers. It remembers what was shown, one entry for each frame."""

    def __init__(self, world: Any, seed: int, rng: np.random.Generator, before: int, after: int) -> None:
        self.world, self.rng = world, rng
        self.before, self.after = before, after
        """Frames that a moment needs before it, and actions that follow it."""
        self._seed = seed
        self.over = False
        self.reset()

    def reset(self, options: dict[str, Any] | None = None) -> None:
        """Begin the same episode anew, with the world's reset options."""
        frame, _ = self.world.reset(seed=self._seed, options=options)
        self.frames, self.states = [frame.copy()], [self.world.state()]
        self.actions: list[np.ndarray] = []

    def step(self, action: Any, drawn: bool = True) -> None:
        """``drawn``: whether the frame may be looked at; the last ``before`` frames of a moment's past are."""
        self.actions.append(flat_action(self.world.action_space, action))  # before the world has it
        self.world.drawing = drawn
        frame, _, terminated, truncated, _ = self.world.step(action)
        self.world.drawing = True
        self.over = self.over or terminated or truncated
        self.frames.append(frame.copy())
        self.states.append(self.world.state())


Situation = Callable[[Ride], Iterator[Act]]
"""Steers an episode; at each moment that suits, yields who acts from there on. The ride then runs on by itself for
``ride.after`` steps before the situation is asked again."""


@dataclass(frozen=True)
class Violation:
    """An impossible event of one world."""

    name: str
    principle: Principle
    summary: str
    """One line: what is seen."""
    make: Make
    situation: Situation
    """The moments at which it can be seen."""
    anywhere: bool = True
    """Whether it shows at nearly every moment of an episode, not only in its situation."""


@dataclass(frozen=True)
class FrameViolation:
    """An impossible event that needs no simulator: it is made of an episode's frames."""

    name: str
    principle: Principle
    summary: str
    make: Callable[[np.ndarray, np.ndarray, int, np.random.Generator], np.ndarray]
    """See ``shared.worlds.frame_violations``."""
    framewise: bool = False
    """Whether it changes each frame by itself, so that a video can be changed while it runs."""


@dataclass(frozen=True)
class Moments:
    """True episodes around M moments, one model step between neighbours; the moment is the last of the past."""

    episode: np.ndarray
    """int64 (M,): the seed of each moment's episode"""
    past: np.ndarray
    """uint8 (M, P, H, W, C)"""
    past_state: np.ndarray
    """float32 (M, P, S)"""
    actions: np.ndarray
    """float32 (M, P - 1 + T, stride * A): what led from each frame to the next"""
    true: np.ndarray
    """uint8 (M, T, H, W, C)"""
    true_state: np.ndarray
    """float32 (M, T, S)"""


@dataclass(frozen=True)
class Pairs:
    """N matched pairs of one violation: the past, actions and true continuation are ``moments``' at ``at``."""

    violation: Violation | FrameViolation
    moments: Moments
    at: np.ndarray
    """int64 (N,)"""
    impossible: np.ndarray
    """uint8 (N, T, H, W, C)"""
    impossible_state: np.ndarray
    """float32 (N, T, S): the simulator's state, which does not tell everything that is drawn"""

    def __len__(self) -> int:
        return len(self.at)


def draw_pairs(
    world: World,
    violations: Sequence[Violation],
    seeds: Iterable[int],
    count: int,
    *,
    steps: int = 8,
    past: int = 3,
    stride: int = 1,
) -> list[Pairs]:
    """``count`` pairs of each violation: ``past`` frames and ``steps`` more, ``stride`` control steps apart.

    Violations of one situation share their moments. A pure function of its arguments, ``seeds`` being the episodes to
    take in order, ``ATTEMPTS`` times ``count`` of them at most: a violation that does not happen often enough in them,
    because the clips are too long for its situation, has fewer pairs.
    """
    groups: dict[Situation, list[Violation]] = {}
    for violation in violations:
        groups.setdefault(violation.situation, []).append(violation)
    pool = list(itertools.islice(seeds, ATTEMPTS * count))
    found = {}
    for group in groups.values():
        for pairs in _draw_group(world, group, pool, count, steps, past, stride):
            found[pairs.violation.name] = pairs
    return [found[violation.name] for violation in violations if violation.name in found]


def _draw_group(
    world: World, group: list[Violation], seeds: list[int], count: int, steps: int, past: int, stride: int
) -> list[Pairs]:
    moments: list[tuple[Any, ...]] = []
    made: dict[str, list[tuple[int, np.ndarray, np.ndarray]]] = {violation.name: [] for violation in group}
    situation = group[0].situation
    for seed in seeds:
        rng = np.random.default_rng([seed, *situation.__name__.encode()])
        ride = Ride(world, seed, rng, (past - 1) * stride, steps * stride)
        for act in itertools.islice(situation(ride), MOMENTS):
            first = len(ride.frames) - 1
            assert first >= ride.before, f"{situation.__name__} yields before the past is long enough"
            origin, taken = world.fork(), []
            for number in range(1, steps * stride + 1):
                taken.append(act())
                ride.step(taken[-1], drawn=number % stride == 0)
            if ride.over:
                break
            shown = np.arange(first - ride.before, first + ride.after + 1, stride)
            frames, states = (np.stack([of[i] for i in shown]) for of in (ride.frames, ride.states))
            chunks = np.concatenate(ride.actions[first - ride.before : first + ride.after] or [np.zeros(0)])
            for violation in group:
                if len(made[violation.name]) == count:
                    continue
                own = np.random.default_rng([seed, first, *violation.name.encode()])
                clip = _run(origin.fork(), violation, taken, own, stride)
                if clip and visible(clip[0], frames[past:]):
                    made[violation.name].append((len(moments), *clip))
            moments.append((seed, frames, states, chunks.reshape(past - 1 + steps, -1)))
            if all(len(pairs) == count for pairs in made.values()):
                break
        if all(len(pairs) == count for pairs in made.values()):
            break
    if not moments:
        return []
    episode, frames, states, chunks = (np.array(column) for column in zip(*moments))
    table = Moments(
        episode, frames[:, :past], states[:, :past], chunks.astype(np.float32), frames[:, past:], states[:, past:]
    )
    return [
        Pairs(violation, table, *(np.array(column) for column in zip(*made[violation.name])))
        for violation in group
        if made[violation.name]
    ]


def _run(
    world: World, violation: Violation, actions: Sequence[Any], rng: np.random.Generator, stride: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Every ``stride``-th frame and state of the impossible continuation; None where it does not happen."""
    frames, states = [], []

    def told() -> Iterator[Any]:
        for number, action in enumerate(actions, 1):
            world.drawing = number % stride == 0
            yield action

    for number, frame in enumerate(violation.make(world, told(), rng), 1):
        if number % stride == 0:
            frames.append(frame.copy())
            states.append(world.state())
    return (np.stack(frames), np.stack(states)) if len(frames) * stride == len(actions) else None


def visible(impossible: np.ndarray, true: np.ndarray) -> bool:
    """Whether two clips, uint8 (T, H, W, C), differ by ``VISIBLE`` levels somewhere."""
    return bool(np.abs(impossible.astype(np.int16) - true).max() >= VISIBLE)


def simulated(world: World, actions: Iterable[Any]) -> Iterator[np.ndarray]:
    """The frames of the world under these actions, by its own rules."""
    for action in actions:
        yield world.step(action)[0]


def frozen(world: World, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The world stands still: the frame of the moment, again and again."""
    frame = world.frame()
    for _ in actions:
        yield frame


def double_speed(world: World, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Each action counts twice."""
    for action in actions:
        world.step(action)
        yield world.step(action)[0]


def half_speed(world: World, actions: Iterable[Any], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Only every second action counts."""
    frame = world.frame()
    for number, action in enumerate(actions):
        if number % 2:
            frame = world.step(action)[0]
        yield frame
