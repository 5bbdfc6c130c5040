"""Whole episodes as frozen latents in memory: what stage 2, the probes and the judge read.

Frames stream through, latents stay. Everything asked of a table is about an observation, and its address is the pair
(e, t): the position of its episode in ``LatentTable.refs``, and the row of its newest frame. A *transition* is the
model step from (e, t) to (e, t + stride) under the actions of rows [t, t + stride).

A latent may be a vector or a grid of tokens: ``shape`` below is any trailing shape, such as (D,) or (tokens, D).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from brain import distributed
from brain.data.sampling import choose, dense, evenly
from brain.data.windows import Timing
from brain.models.world_model import WorldModel
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, StoreSpec

Encoder = Callable[[np.ndarray], np.ndarray]
"""Observations uint8 (N, stack, H, W, C) to latents float32 (N, *shape)."""

Visit = Callable[[int, np.ndarray], None]
"""Called with (episode, its frames uint8 (rows, H, W, C)) while the frames are in memory."""

FIELDS = ("action", "state", "reward")
"""Columns of a table that come from the store."""

BATCH = 512
"""Observations per encoder call."""


class LatentTable:
    """Episodes end to end: a flat row for each of their frames, and a latent for each sampled observation.

    ``rows[e]`` is the number of rows of episode e and ``start[e]`` its first flat row; ``sampled[e]`` are the rows at
    which its embedded observations end, ascending. ``action`` float32 (R, A), ``state`` float32 (R, S) and ``reward``
    float32 (R,) are as in the store. ``latents[name]`` is float32 (N, *shape), one for each sampled observation, in the
    order of the episodes; NaN where an encoder was told to leave some out.
    """

    def __init__(
        self, spec: StoreSpec, refs: Sequence[EpisodeRef], timing: Timing, sampled: Sequence[np.ndarray]
    ) -> None:
        self.refs = list(refs)
        self.timing = timing
        self.sampled = list(sampled)
        self.rows = np.array([ref.rows for ref in refs], np.int64)
        self.start = np.concatenate([[0], np.cumsum(self.rows)[:-1]]).astype(np.int64)
        total = int(self.rows.sum())
        self.action = np.zeros((total, spec.action_dim), np.float32)
        self.state = np.zeros((total, len(spec.state_names)), np.float32)
        self.reward = np.zeros(total, np.float32)
        self.latents: dict[str, np.ndarray] = {}
        self._place = np.full(total, -1, np.int64)
        self._place[self.observed()] = np.arange(sum(map(len, self.sampled)))

    def __len__(self) -> int:
        return len(self.refs)

    def index(self, episode: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Flat rows of addresses."""
        return self.start[episode] + row

    def at(self, flat: np.ndarray) -> np.ndarray:
        """Places in ``latents`` of observations by flat row. Raises ``IndexError`` for one that was not sampled."""
        places = self._place[flat]
        if len(places) and places.min() < 0:
            raise IndexError("an observation that was not sampled has no latent")
        return places

    def place(self, episode: np.ndarray, row: np.ndarray) -> np.ndarray:
        """Places in ``latents`` of observations by address; raises like ``at``."""
        return self.at(self.index(episode, row))

    def observed(self, every: int = 1) -> np.ndarray:
        """Flat rows of the sampled observations, or of each ``every``-th of an episode: int64 (M,)."""
        return np.concatenate([self.start[e] + rows[::every] for e, rows in enumerate(self.sampled)])

    def chunks(self, episode: np.ndarray, row: np.ndarray, steps: int) -> np.ndarray:
        """Action chunks of ``steps`` model steps from each address: float32 (N, steps, stride * A)."""
        return self.timing.chunks(self.action, self.index(episode, row), steps)

    def transitions(self, steps: int = 1) -> np.ndarray:
        """Flat rows of sampled observations from which ``steps`` model steps stay within the episode: int64 (M,)."""
        span = steps * self.timing.stride
        parts = [first + rows[rows + span < length] for first, rows, length in zip(self.start, self.sampled, self.rows)]
        return np.concatenate(parts).astype(np.int64)

    def put(self, name: str, episode: int, rows: np.ndarray, latents: np.ndarray) -> None:
        """Keep the latents (N, *shape) of observations that end at ``rows`` (N,) of one episode."""
        if name not in self.latents:
            size = sum(map(len, self.sampled))
            self.latents[name] = np.full((size, *latents.shape[1:]), np.nan, np.float32)
        self.latents[name][self.place(np.full(len(rows), episode), rows)] = latents

    def fill(self, episode: int, columns: Mapping[str, np.ndarray]) -> None:
        """Keep columns (rows, ...) of one episode, by the names in ``FIELDS``."""
        first = self.start[episode]
        for name, values in columns.items():
            getattr(self, name)[first : first + len(values)] = values

    def windows(self, latents: np.ndarray, device: torch.device) -> LatentWindows:
        """Latents float32 (N, *shape), one for each sampled observation, with the actions between, on ``device``."""
        return LatentWindows(
            torch.from_numpy(latents).to(device),
            torch.from_numpy(self.action).to(device),
            torch.from_numpy(self._place).to(device),
            self,
        )


@dataclass(frozen=True)
class LatentWindows:
    """The latents and actions of a table on a device, for fits that draw windows of model steps."""

    z: Tensor
    """raw latents float32 (N, *shape)"""
    actions: Tensor
    """float32 (R, A): the action taken at each row's frame"""
    place: Tensor
    """int64 (R,): where in ``z`` the observation that ends at a row is; -1 where it was not sampled"""
    table: LatentTable

    @property
    def stride(self) -> int:
        """Frames per model step."""
        return self.table.timing.stride

    def starts(self, steps: int) -> Tensor:
        """int64 (M,): rows from which ``steps`` model steps stay within the episode."""
        return torch.from_numpy(self.table.transitions(steps)).to(self.z.device)

    def windows(self, starts: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Latents (B, steps + 1, *shape) and action chunks (B, steps, stride * A) of the windows at ``starts`` (B,)."""
        rows = starts[:, None] + torch.arange(steps + 1, device=self.z.device) * self.stride
        return self.z[self.place[rows]], self.chunks(starts, steps)

    def chunks(self, starts: Tensor, steps: int) -> Tensor:
        """Action chunks (B, steps, stride * A) from ``starts``, int64 (B,), on."""
        taken = starts[:, None] + torch.arange(steps * self.stride, device=self.z.device)
        return self.actions[taken].reshape(len(starts), steps, self.stride * self.actions.shape[1])


def encoder_of(model: WorldModel) -> Encoder:
    """A model's raw (not standardised) latents, from and to numpy."""

    def raw(observations: np.ndarray) -> np.ndarray:
        latents: np.ndarray = model.embed(torch.from_numpy(observations))[:, 0].float().cpu().numpy()
        return latents

    return raw


def encode(encoder: Encoder, frames: np.ndarray, windows: np.ndarray) -> np.ndarray:
    """Latents (N, *shape) of the observations made of ``frames[windows]``, with ``windows`` (N, stack), N > 0."""
    return np.concatenate([encoder(frames[part]) for part in _batches(windows)])


def embed(
    store: Store,
    table: LatentTable,
    encoders: Mapping[str, Encoder],
    *,
    thin: Mapping[str, int] | None = None,
    fields: Sequence[str] = FIELDS,
    visitors: Sequence[Visit] = (),
    share: slice = slice(None),
) -> None:
    """Fills ``table`` from the store, one episode in memory at a time; of its episodes only ``share``.

    Every encoder embeds every sampled observation once, or each ``thin[name]``-th where given.
    """
    for episode, ref in list(enumerate(table.refs))[share]:
        read = store.read_episode(ref, "frame", *fields)
        table.fill(episode, {field: read[field] for field in fields})
        for name, encoder in encoders.items():
            rows = table.sampled[episode][:: (thin or {}).get(name, 1)]
            table.put(name, episode, rows, encode(encoder, read["frame"], table.timing.window(rows)))
        for visit in visitors:
            visit(episode, read["frame"])


def read_actions(store: Store, table: LatentTable) -> None:
    """Fills the table's actions alone, for what looks at them before anything is embedded."""
    for episode, ref in enumerate(table.refs):
        table.fill(episode, store.read_episode(ref, "action"))


def embed_episodes(
    model: WorldModel,
    store: Store,
    episodes: Sequence[EpisodeRef],
    limit: int | None = None,
    tell: Callable[[float], None] = lambda done: None,
) -> LatentWindows:
    """Every observation of the episodes under the model's frozen encoder, on the model's device.

    With ``limit``, only as many evenly spread episodes as give about that many latents. Episodes shorter than a
    stack are left out; raises ``TinyJEPAError`` where none is left. Several processes share the episodes, and each then
    has all latents. ``tell`` hears after each episode which share is done.
    """
    timing = Timing.of(model.recipe.observation)
    refs = choose(episodes, timing, limit, steps=0)
    if not refs:
        raise TinyJEPAError(
            f"{store.path}: no episode has the {timing.rows(0)} frames of one observation: collect longer episodes, "
            "or lower observation.stack or observation.stride"
        )
    table = LatentTable(store.spec, refs, timing, [dense(ref, timing) for ref in refs])
    share = slice(distributed.rank(), None, distributed.world_size())
    table.latents["model"] = np.zeros((sum(map(len, table.sampled)), *model.latent_shape), np.float32)
    told = [lambda episode, frames: tell((episode + 1) / len(refs))]
    embed(store, table, {"model": encoder_of(model)}, fields=("action",), visitors=told, share=share)
    for array in (table.latents["model"], table.action):  # what other processes embedded is zero here
        distributed.add_up(torch.from_numpy(array))
    return table.windows(table.latents["model"], model.device)


def sample_observations(store: Store, table: LatentTable, count: int, rng: np.random.Generator) -> np.ndarray:
    """About ``count`` of the table's observations, from at most 24 of its episodes: uint8 (N, stack, H, W, C)."""
    episodes = evenly(range(len(table)), 24)
    parts = []
    for e in episodes:
        frames = store.read_episode(table.refs[e], "frame")["frame"]
        rows = rng.permutation(table.sampled[e])[: -(-count // len(episodes))]
        parts.append(frames[table.timing.window(rows)])
    return np.concatenate(parts)


def _batches(windows: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(windows), BATCH):
        yield windows[first : first + BATCH]
