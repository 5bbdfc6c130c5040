"""The schema: the typed description in ``dataset.json``, episodes, rows and splits."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import google_crc32c
import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass as validated

SCHEMA_VERSION = 3
"""1: ``dataset.json`` also held the store's only run; 2: every stream's log names its run; 3: it says how episodes are
split."""

IDENTITY = (
    "world",
    "world_options",
    "frame_shape",
    "action_dim",
    "state_names",
    "control_rate",
)
"""Fields of a ``StoreSpec`` that say what a row is: one store holds one such choice."""

FIRST, LAST, TERMINATED, TRUNCATED = 1, 2, 4, 8
"""Bits of a row's ``flags``: first and last row of an episode, and (on the last row) how it ended."""

Factors = Mapping[str, float | tuple[float, ...]]
"""Values of factors of variation by name: a number, or several such as the three of an RGB colour."""

FACTOR_OPTIONS = {"factors", "vary"}
"""World options that set factors, or sample them per episode."""

Split = Literal["train", "validation", "test"]
SplitRule = Literal["seed", "blocks"]
"""The rules for splitting episodes: see ``split_of``."""

MOST_CHUNK_BYTES = 1 << 30
"""Maximum size of a decoded chunk in bytes, which bounds a reader's allocations."""
MOST_SHARD_ROWS = 1 << 20
MOST_COLUMNS = 4096
MOST_FACTORS = 256
MOST_SEEDS = 1 << 64
MOST_EPISODES = 1 << 63
"""Seeds and numbers of episodes are smaller."""
MOST_LETTERS = 200
"""Of a name that a store brings along."""


class StoreSpec(BaseModel):
    """``dataset.json``: the world and the layout of a store, which never change.

    A collection whose spec differs from the store's in ``IDENTITY`` fields is refused.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: int = SCHEMA_VERSION
    world: str
    """Registered world name, or a gymnasium id."""
    world_options: dict[str, Any] = Field(default_factory=dict)
    frame_shape: tuple[int, int, int]
    """(height, width, channels), uint8."""
    action_dim: int = Field(ge=0)
    state_names: tuple[str, ...] = ()
    control_rate: float = Field(gt=0)
    """Actions per simulated second (Hz)."""
    inner_rows: int = Field(default=64, ge=1)
    """Rows of an inner chunk: the unit of reading and of the crc32c checksum."""
    shard_rows: int = Field(default=4096, ge=1)
    """Rows of a shard, a multiple of ``inner_rows``: the unit of commit, and what a kill -9 can lose."""
    split: SplitRule = "seed"
    """How episodes are split. ``seed``: the rule of stores before schema 3; new collections take ``blocks``."""

    def document(self) -> dict[str, Any]:
        """The JSON of ``dataset.json``; without the fields that the store's schema does not have."""
        document = self.model_dump(mode="json")
        if self.schema_version < 3:
            del document["split"]
        return document

    @model_validator(mode="after")
    def _check(self) -> StoreSpec:
        if min(self.frame_shape) < 1:
            raise ValueError(f"frame_shape {self.frame_shape} must be positive")
        if self.inner_rows * math.prod(self.frame_shape) > MOST_CHUNK_BYTES:
            raise ValueError(f"a chunk of {self.inner_rows} frames {self.frame_shape} is larger than 1 GiB")
        columns = max(self.action_dim, len(self.state_names), 2)
        if columns > MOST_COLUMNS or self.shard_rows > MOST_SHARD_ROWS:
            raise ValueError(f"{self.shard_rows} rows of {columns} columns are more than {MOST_SHARD_ROWS} of 4096")
        if 4 * columns * self.shard_rows > MOST_CHUNK_BYTES:
            raise ValueError(f"a chunk of {self.shard_rows} rows of {columns} columns is larger than 1 GiB")
        for name in (self.world, *self.state_names):
            check_name(name)
        if not math.isfinite(self.control_rate):
            raise ValueError("control_rate must be a number")
        if self.shard_rows % self.inner_rows:
            raise ValueError(f"shard_rows {self.shard_rows} must be a multiple of inner_rows {self.inner_rows}")
        return self


def check_name(name: str) -> str:
    """A name from a store, fit to be printed: ``ValueError`` for control characters, and for a long one."""
    if len(name) > MOST_LETTERS or not name.isprintable():
        raise ValueError(f"{name[:20]!r} is no name: printable characters, at most {MOST_LETTERS}")
    return name


def check_factors(found: Any) -> Factors | None:
    """An episode's factors, lists of a log as tuples: ``ValueError`` for anything but finite numbers by name."""
    if found is None:
        return None
    if not isinstance(found, Mapping) or len(found) > MOST_FACTORS:
        raise ValueError("its factors are no values by name")
    values: dict[str, float | tuple[float, ...]] = {}
    for name, value in found.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if not 0 < len(numbers) <= MOST_FACTORS or not all(
            isinstance(number, int | float) and math.isfinite(number) for number in numbers
        ):
            raise ValueError(f"its factor {check_name(name)!r} is no number")
        parts = tuple(float(number) for number in numbers)
        values[check_name(name)] = parts if isinstance(value, list | tuple) else parts[0]
    return values


@validated(frozen=True, order=True)
class RunSpec:
    """Which episodes of its world a run is: with the ``StoreSpec``, it decides the content of each.

    A store may hold several runs. Runs are ordered by their content, never by when they were made.
    """

    seed: Annotated[int, Field(ge=0)]
    policy: str
    """A policy, or a mix that is drawn from per episode."""
    max_episode_steps: Annotated[int, Field(ge=1)]

    @property
    def checksum(self) -> int:
        """The crc32c of its fields as JSON with sorted keys."""
        return int(google_crc32c.value(json.dumps(dataclasses.asdict(self), sort_keys=True).encode()))

    def __str__(self) -> str:
        return f"policy {self.policy}, seed {self.seed}, at most {self.max_episode_steps} steps each"


@dataclass(frozen=True)
class Episode:
    """One simulated episode of L steps in memory: L + 1 rows, one per observation.

    Row t holds the observation, the action taken there and the reward that action earned; the next state of
    row t is row t + 1. The last row's action and reward are zero.
    """

    index: int
    """k: the episode's number in its run. Content is a pure function of (world, run, k)."""
    seed: int
    """The seed the world was reset with, derived from (run seed, k)."""
    policy: str
    """The policy that drove, resolved (never ``mixed``)."""
    frame: np.ndarray
    """uint8 (L + 1, H, W, C)"""
    action: np.ndarray
    """float32 (L + 1, A)"""
    reward: np.ndarray
    """float32 (L + 1,)"""
    state: np.ndarray
    """float32 (L + 1, S): privileged state of each row's frame"""
    terminated: bool
    truncated: bool
    factors: Factors | None = field(default_factory=dict)
    """Values of the factors that were set or sampled; None where nobody knows them."""

    @property
    def rows(self) -> int:
        return len(self.frame)


@dataclass(frozen=True)
class EpisodeRef:
    """A committed, complete episode: where its rows lie. Identified by its run and its number there."""

    run: RunSpec
    index: int
    seed: int
    policy: str
    stream: str
    first: int
    """Row within the stream of the episode's first observation."""
    rows: int
    terminated: bool
    truncated: bool
    """Cut off, by the world's time limit or the run's; an episode can be both."""
    split: Split
    factors: Factors | None = field(default=None, hash=False)
    """Values of the factors of variation that were set or sampled; None where its log, an older one, does not say."""


def split_of(rule: SplitRule, run_seed: int, index: int, seed: int) -> Split:
    """The split of episode ``index`` of a run: train (80 %), validation (10 %) or test (10 %); never by frame."""
    return split_by_seed(seed) if rule == "seed" else split_in_blocks(run_seed, index)


def split_by_seed(seed: int) -> Split:
    """By a hash of the episode's seed, each by itself: a small store may have hardly any test episodes."""
    bucket = _digest(str(seed))[0] % 10
    return "test" if bucket == 0 else "validation" if bucket == 1 else "train"


def split_in_blocks(run_seed: int, index: int) -> Split:
    """Of each ten consecutive episodes of a run, one is for validation and one for the test.

    Which ones is drawn by the run's seed, so that any beginning of a run is split well.
    """
    block, place = divmod(index, 10)
    drawn = int.from_bytes(_digest(f"{run_seed}/{block}"), "big")
    test = drawn % 10
    validation = (test + 1 + drawn // 10 % 9) % 10
    return "test" if place == test else "validation" if place == validation else "train"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=8).digest()
