"""Episodes of one split, embedded: frames stream through, latents stay.

Everything the judge asks about is an *observation*: the stack of frames that ends at row t of episode e. Its address
is the pair (e, t), with e the position in ``Embedded.refs``. A *transition* is the model step from (e, t) to
(e, t + stride) under the actions of rows [t, t + stride).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.store.reader import Store
from shared.store.schema import EpisodeRef, StoreSpec

Encoder = Callable[[np.ndarray], np.ndarray]
"""Observations uint8 (N, stack, H, W, C) to latents float32 (N, *latent_shape)."""

BATCH = 256
"""Observations per encoder call."""


@dataclass(frozen=True)
class Timing:
    """How rows make observations and model steps; see ``brain.recipes.schema.Observation``."""

    stack: int
    stride: int

    @property
    def history(self) -> int:
        """Rows before the newest frame that an observation needs."""
        return (self.stack - 1) * self.stride

    @property
    def shortest(self) -> int:
        """Rows an episode needs to hold one transition."""
        return self.history + self.stride + 1

    def window(self, rows: np.ndarray) -> np.ndarray:
        """Rows of the frames of the observations that end at ``rows`` (N,): int (N, stack), oldest first."""
        return rows[:, None] + np.arange(1 - self.stack, 1) * self.stride


class Embedded:
    """Embedded episodes as flat tables over all their rows.

    ``latents[name]`` is float32 (rows, *latent_shape), NaN where an observation is missing or was not sampled;
    ``action`` float32 (rows, A); ``state`` float32 (rows, S); ``rows[e]`` the number of rows of episode e;
    ``sampled[e]`` the rows whose observations are embedded, ascending.
    """

    def __init__(
        self, spec: StoreSpec, refs: Sequence[EpisodeRef], timing: Timing, sampled: Sequence[np.ndarray]
    ) -> None:
        self.refs = list(refs)
        self.timing = timing
        self.sampled = list(sampled)
        self.rows = np.array([ref.rows for ref in refs], np.int64)
        self.start = np.concatenate([[0], np.cumsum(self.rows)[:-1]]).astype(np.int64)
        self.latents: dict[str, np.ndarray] = {}
        self.action = np.zeros((int(self.rows.sum()), spec.action_dim), np.float32)
        self.state = np.zeros((int(self.rows.sum()), len(spec.state_names)), np.float32)

    def index(self, episode: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Addresses to positions in the flat tables."""
        return self.start[episode] + row

    def chunks(self, episode: np.ndarray, row: np.ndarray, steps: int) -> np.ndarray:
        """Actions of ``steps`` model steps from each address: float32 (N, steps, stride * A)."""
        offsets = np.arange(steps * self.timing.stride)
        taken = self.action[self.index(episode, row)[:, None] + offsets]
        return taken.reshape(len(row), steps, self.timing.stride * self.action.shape[1])

    def observed(self, every: int = 1) -> np.ndarray:
        """Positions in the flat tables of the sampled observations, of each ``every``-th per episode, (M,)."""
        return np.concatenate([self.start[e] + rows[::every] for e, rows in enumerate(self.sampled)])

    def __len__(self) -> int:
        return len(self.refs)


def choose(refs: Sequence[EpisodeRef], timing: Timing, observations: int, every: int = 1) -> list[EpisodeRef]:
    """Episodes evenly spread over ``refs`` that hold at most about ``observations``, taking every ``every``-th row.

    Episodes too short for one transition are left out. At least two episodes are kept if there are two.
    """
    usable = [ref for ref in refs if ref.rows >= timing.shortest]
    total = sum((ref.rows - timing.history) // every for ref in usable)
    if total <= observations:
        return usable
    count = min(len(usable), max(2, int(len(usable) * observations / total)))
    return [usable[i] for i in np.linspace(0, len(usable) - 1, count).round().astype(int)]


def dense(ref: EpisodeRef, timing: Timing) -> np.ndarray:
    """Every row of the episode at which an observation ends."""
    return np.arange(timing.history, ref.rows)


def strided(ref: EpisodeRef, timing: Timing, rng: np.random.Generator) -> np.ndarray:
    """Rows one model step apart, from a random phase: consecutive ones are transitions."""
    phase = int(rng.integers(min(timing.stride, ref.rows - timing.history - timing.stride)))
    return np.arange(timing.history + phase, ref.rows, timing.stride)


Visit = Callable[[int, np.ndarray], None]
"""Called with (episode, its frames uint8 (rows, H, W, C)) while the frames are in memory."""


def embed(
    store: Store,
    table: Embedded,
    encoders: Mapping[str, Encoder],
    *,
    thin: Mapping[str, int] | None = None,
    visitors: Sequence[Visit] = (),
) -> None:
    """Fills ``table`` from the store, one episode in memory at a time.

    Every encoder embeds every sampled observation once, or each ``thin[name]``-th where given.
    """
    for episode, ref in enumerate(table.refs):
        read = store.read_episode(ref, "frame", "action", "state")
        first = table.start[episode]
        table.action[first : first + ref.rows] = read["action"]
        table.state[first : first + ref.rows] = read["state"]
        for name, encoder in encoders.items():
            rows = table.sampled[episode][:: (thin or {}).get(name, 1)]
            latents = encode(encoder, read["frame"], table.timing.window(rows))
            if name not in table.latents:
                table.latents[name] = np.full((len(table.action), *latents.shape[1:]), np.nan, np.float32)
            table.latents[name][first + rows] = latents
        for visit in visitors:
            visit(episode, read["frame"])


def sample_observations(store: Store, table: Embedded, count: int, rng: np.random.Generator) -> np.ndarray:
    """About ``count`` of the table's observations, from at most 24 of its episodes: uint8 (N, stack, H, W, C)."""
    episodes = np.linspace(0, len(table) - 1, min(24, len(table))).round().astype(int)
    parts = []
    for e in episodes:
        frames = store.read_episode(table.refs[e], "frame")["frame"]
        rows = rng.permutation(table.sampled[e])[: -(-count // len(episodes))]
        parts.append(frames[table.timing.window(rows)])
    return np.concatenate(parts)


def encode(encoder: Encoder, frames: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Latents (N, D) of the observations made of ``frames[windows]``, with ``windows`` (N, stack)."""
    return np.concatenate([encoder(frames[part]) for part in _batches(windows)])


def _batches(windows: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(windows), BATCH):
        yield windows[first : first + BATCH]
