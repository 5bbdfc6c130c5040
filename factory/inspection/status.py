"""A summary of a store in a few lines."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from factory.inspection import factors
from factory.inspection.coverage import axes_of, coverage, sampled_states
from factory.policies import MIXED, MIXES, POLICIES
from shared.store.reader import Store
from shared.store.schema import FACTOR_OPTIONS, EpisodeRef, RunSpec, Split
from shared.worlds import IMPORTED

ACTIVE_SECONDS = 60.0
"""Seconds after its newest line for which a stream without a closing line counts as being written."""


def status_lines(path: Path) -> Iterator[str]:
    """The lines of ``factory status``; raises ``StoreError`` when there is no readable store at ``path``."""
    store = Store(path)
    spec, episodes = store.spec, store.episodes
    height, width, channels = spec.frame_shape
    yield f"{path}: {spec.world}"
    for run in store.runs:
        yield f"  run        {run}: {_count([ref for ref in episodes if ref.run == run])}{_gaps(store, run)}"
    options = ", ".join(f"{key}={value}" for key, value in spec.world_options.items() if key not in FACTOR_OPTIONS)
    yield (
        f"  frames     {height}x{width}x{channels} uint8, {spec.action_dim} action and {len(spec.state_names)} state "
        f"columns, {spec.control_rate:g} Hz" + (f"; {options}" if options else "")
    )
    if varied := factors.line(store):
        yield f"  factors    {varied}"
    rows, size = store.rows, store.bytes_on_disk
    each = f", {size / rows:,.0f} bytes per frame" if rows else ""
    yield f"  committed  {rows:,} frames in {len(episodes):,} episodes, {size / 1e6:,.1f} MB{each}"
    parts = [f"{name} {_count([ref for ref in episodes if ref.split == name])}" for name in get_args(Split)]
    yield f"  splits     {', '.join(parts)}"
    by_policy = Counter(ref.policy for ref in episodes)
    parts = [f"{name} {_count([ref for ref in episodes if ref.policy == name])}" for name in sorted(by_policy)]
    yield f"  policies   {', '.join(parts) or 'none yet'}"
    yield f"  streams    {_streams(store)}"
    if episodes and spec.state_names:
        found = coverage(axes_of(spec), spec.state_names, *sampled_states(store))
        yield f"  coverage   {found.line(len(episodes))}"
    elif episodes:
        yield "  coverage   unknown: this world names no states"


def _count(episodes: list[EpisodeRef]) -> str:
    return f"{len(episodes):,} ({sum(ref.rows for ref in episodes):,} frames)"


def _gaps(store: Store, run: RunSpec) -> str:
    """What a collection has still to make. Other runs, such as imports, miss what was left out."""
    if store.spec.world.startswith(IMPORTED) or run.policy not in (MIXED, *MIXES, *POLICIES):
        return ""
    indices = [ref.index for ref in store.episodes if ref.run == run]
    gaps = indices[-1] + 1 - len(indices) if indices else 0
    return f"; {gaps} episodes before number {indices[-1]} are missing, factory collect adds them" if gaps else ""


def _streams(store: Store) -> str:
    streams = store.streams.values()
    now = time.time()
    closed = sum(stream.closed for stream in streams)
    active = sum(not stream.closed and now - stream.updated < ACTIVE_SECONDS for stream in streams)
    broken = len(streams) - closed - active
    return f"{len(streams)}: {closed} closed, {active} being written, {broken} ended without closing"
