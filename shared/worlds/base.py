"""The base class of worlds: a Gymnasium environment that shows frames and exposes its true state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import gymnasium as gym
import numpy as np

from shared.worlds.axes import Axis
from shared.worlds.factors import Factor, Value, Variation

if TYPE_CHECKING:
    from typing import Self

    from shared.worlds.policy import Policy
    from shared.worlds.tasks import Task
    from shared.worlds.violations import Violation

    MakeDriver = Callable[[Any, np.random.Generator], Policy]


class Dataset(NamedTuple):
    """A named way to collect a world: what ``factory collect --dataset`` sets where no flag does."""

    policy: str
    max_episode_steps: int
    options: dict[str, Any]
    """World options."""
    summary: str
    """One line on what it is."""


class Subset(NamedTuple):
    """A subset of a world's rows for which metrics are also reported separately."""

    label: str
    """One word for tables."""
    summary: str
    """Which rows these are, for people: "rows in which the car is ..."."""
    states: tuple[str, ...]
    """The states that decide membership."""
    rows: Callable[[np.ndarray], np.ndarray]
    """``states`` (N, len(states)) to a mask, bool (N,)."""


class World(gym.Env[np.ndarray, Any]):
    """A ``gymnasium.Env`` whose observation is one frame, plus what probes and the store need.

    Contract (``shared.worlds.check_world`` checks it):

    * ``observation_space`` is ``Box(0, 255, (H, W, C), uint8)``: one frame, not a stack.
    * ``reset(seed=s)`` makes the episode a pure function of ``s`` and the constructor's options: nothing
      that ran before in the process shows.
    * ``state()`` is the privileged state of the moment the last frame shows, float32 ``(S,)`` in the order of
      ``state_names`` and in the units its class docstring gives. ``S`` may be 0.
    """

    state_names: tuple[str, ...] = ()
    """Names of the privileged state's columns; empty where the world exposes none."""

    angles: ClassVar[tuple[str, ...]] = ()
    """States on a circle, rad: networks see and predict their sine and cosine, and errors wrap around."""

    headline_states: ClassVar[tuple[str, ...]] = ()
    """The states whose probes are main figures; empty: the first two."""

    absolute_states: ClassVar[tuple[str, ...]] = ()
    """States that say where things are and not how they move: the upper bound's predictor does without them."""

    typical: ClassVar[Subset | None] = None
    """Typical rows, which are also probed separately; None: all rows are alike."""

    default_recipe: ClassVar[str] = ""
    """Stock recipe of ``brain train`` for a store of this world; empty: the default recipe."""

    default_dataset: ClassVar[str] = ""
    """Which of ``datasets`` is collected where neither ``--dataset`` nor ``--policy`` says otherwise; empty: none."""

    control_rate: float = 50.0
    """Actions per simulated second (Hz); of a Gymnasium id its ``render_fps``, which may be another rate."""

    max_episode_steps: int = 1000
    """Default number of steps after which the factory truncates an episode."""

    default_frame_size: ClassVar[int] = 64
    """Default side of a frame in pixels."""

    default_policy: ClassVar[str] = "mixed"
    """The default policy of ``factory collect``."""

    keys: ClassVar[dict[str, tuple[float, ...]]] = {}
    """For ``factory drive``: pygame's name of a key to the action it adds while held; empty: nobody can drive."""

    datasets: ClassVar[dict[str, Dataset]] = {}
    """Named data sets of this world, from the literature or from this project."""

    shard_rows: ClassVar[int] = 4096
    """Rows of a store shard: about 15 to 60 seconds of one worker's simulation."""

    maps: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Pairs of ``axes`` by name, across and upwards: where pictures of a data set look."""

    violations: ClassVar[tuple[Violation, ...]] = ()
    """Impossible events that its simulator can make: see ``shared.worlds.violations``."""

    factors: ClassVar[tuple[Factor, ...]] = ()
    """Its factors of variation. A world that has any takes ``factors`` (values by name) and ``vary`` (names to sample
    per episode) in its constructor, and hands them to ``choose``."""

    variation: Variation = Variation(())
    """Which of its factors are set or sampled."""

    factor_values: Mapping[str, Value] = {}
    """The values of all factors in this episode: after ``super().reset(seed=seed)``."""

    driver: ClassVar[MakeDriver | None] = None
    """Who acts in episodes that are made to evaluate a model, a class called with the world after its reset and a
    generator: a policy that reaches what its data sets hold. None: random actions, each held for a few steps."""

    unseen: ClassVar[dict[str, dict[str, Any]]] = {}
    """World options, by a short name, that show what its named data sets and defaults never do."""

    unseen_episodes: ClassVar[bool] = False
    """Whether every seed shows a scene of its own, so that held-out episodes are scenes never trained on."""

    drawing: bool = True
    """Whether steps draw. While it is False, a world whose pictures are costly may return an earlier frame instead."""

    tasks: ClassVar[Mapping[str, Task]] = {}
    """Tasks for agents by name, the default first: see ``shared.worlds.tasks``."""

    @classmethod
    def axes(cls, frame_size: int) -> tuple[Axis, ...]:
        """The axes that its data should cover, in reading order; empty if undefined.

        ``frame_size``: the side of the frames, for states that are in pixels.
        """
        return ()

    def choose(self, given: Mapping[str, Any] | None, vary: Sequence[str]) -> None:
        """Set factors, and choose those to sample; raises ``TinyJEPAError`` for an unknown one or a bad value."""
        self.variation = Variation(self.factors, given, vary)
        self.factor_values = self.variation.values(None)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin an episode: worlds call this first, which seeds ``np_random`` and draws ``factor_values``."""
        super().reset(seed=seed)
        if self.variation.sampled:
            self.factor_values = self.variation.values(int(self.np_random.integers(2**31)) if seed is None else seed)
        return np.zeros(0, np.uint8), {}

    def state(self) -> np.ndarray:
        """Privileged state, float32 ``(S,)``."""
        return np.zeros(0, np.float32)

    def frame(self) -> np.ndarray:
        """The current frame, rendered again: uint8 ``(H, W, C)``. Needed only where there are ``violations``."""
        raise NotImplementedError

    def next_states(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """One step from many true states at once, wherever the world is now: planning's upper bound.

        States float64 ``(N, S)`` and actions float ``(N, A)`` to the next states, float64 ``(N, S)``. Needed only where
        the state determines the future; elsewhere ``fork`` does.
        """
        raise NotImplementedError

    def course(self, states: np.ndarray, seconds: float) -> np.ndarray:
        """Where paths lead in the picture of their first moment, to draw what an agent imagines.

        ``states``: float ``(N, T, S)``, moments that many seconds apart. Those of ``absolute_states`` are not to be
        read, as no picture shows them. Returns shares of the picture's width and height, float ``(N, T, 2)``; what is
        out of the picture is outside [0, 1]. Needed only where something moves through the picture; in worlds whose
        tasks have ``places`` these are drawn.
        """
        raise NotImplementedError

    def fork(self) -> Self:
        """An independent copy of the world at this moment. Needed only where there are ``violations``."""
        return copy.deepcopy(self)


def action_dim(space: gym.Space[Any]) -> int:
    """Width of an action as the store keeps it: a Box flattened, a Discrete one-hot; 0 for no action."""
    return gym.spaces.flatdim(space)


def flat_action(space: gym.Space[Any], action: Any) -> np.ndarray:
    """An action as the store keeps it: float32 ``(action_dim(space),)``."""
    return np.asarray(gym.spaces.flatten(space, action), np.float32)
