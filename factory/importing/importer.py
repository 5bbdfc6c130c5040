"""The import itself: every episode of a source that the store does not hold yet."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from factory.cluster.interrupt import Interrupt
from factory.collecting.job import rows_of_chunk_and_shard
from factory.importing.frames import NO_IMAGE, fit, frame_shape
from factory.importing.parts import Part, numbered, others, parts_of
from factory.importing.source import Entry, Reader, blaming
from shared.errors import TinyJEPAError
from shared.store.claim import Claim
from shared.store.dataset import create_store
from shared.store.layout import DATASET
from shared.store.reader import Store
from shared.store.schema import MOST_SEEDS, Episode, EpisodeRef, RunSpec, StoreSpec, check_name
from shared.store.writer import StreamWriter
from shared.worlds import IMPORTED
from shared.worlds.base import World

COMPARED = 5
"""Episodes of a source that are compared with what the store holds, when it goes on."""


class Plan(NamedTuple):
    """What becomes of a source."""

    world: str | None = None
    """The name of the store's world; None: the source's, marked as imported."""
    name: str | None = None
    """The name of the run; None: the source's."""
    frame_size: int | None = None
    """Side of a frame, pixels: see ``frames.frame_shape``."""
    crop: bool = False
    """Take the central square of an image instead of squeezing it."""
    max_steps: int = 1000
    """Longer episodes are cut into parts of so many steps; a part starts with the observation that ended the last."""
    rate: float | None = None
    """Steps per second where the source does not say, Hz."""
    skip_broken: bool = False
    """Leave out episodes that cannot be read instead of stopping at the first."""


@dataclass
class Imported:
    """What an import did."""

    path: Path
    world: str
    frame_shape: tuple[int, int, int]
    rate: float
    episodes: int = 0
    """Of this source, in the store now."""
    rows: int = 0
    """Of those."""
    new_episodes: int = 0
    broken: list[str] = field(default_factory=list)
    """Lines on the episodes that were left out."""
    notes: list[str] = field(default_factory=list)


Show = Callable[[int, int, str], None]
"""Told rows done and in all, and the episode in hand."""


def import_source(
    reader: Reader, path: Path, plan: Plan | None = None, show: Show = lambda done, total, name: None
) -> Imported:
    """Bring the store at ``path`` to hold every episode of a source; the same call resumes an earlier one.

    The source is a run of the store: its policy is the source's name, and its episodes are numbered as they come. They
    are split like those of a collection. Raises ``TinyJEPAError`` for a source that is broken (the line names file and
    episode), that does not fit the store, or whose name the store knows with other episodes; ``OSError`` when the disk
    refuses; ``KeyboardInterrupt`` after SIGINT or SIGTERM. What is committed stays.
    """
    plan = plan or Plan()
    called = _called(reader, path)
    name = plan.name or called
    try:
        check_name(name)
    except ValueError as error:
        raise TinyJEPAError(f"{error}: choose another --name") from None
    rate, notes = _rate(reader, plan)
    shape = _shape(reader, plan, notes)
    spec = create_store(path, _spec(reader, plan.world or f"{IMPORTED}{called}", shape, rate))
    run = RunSpec(seed=0, policy=name, max_episode_steps=plan.max_steps)
    for known in Store(path).runs:
        if known.policy == name and known != run:
            raise TinyJEPAError(
                f"the store {path} holds '{name}' in parts of {known.max_episode_steps} steps: give "
                f"--max-episode-steps {known.max_episode_steps}, or choose another --store"
            )
    result = Imported(path, spec.world, shape, rate, notes=notes)
    with Claim(path, run), Interrupt() as interrupt:
        have = {ref.index: ref for ref in Store(path).episodes if ref.run == run}
        parts = _numbered(reader, have, path, plan, spec, name)
        missing = [number for number in parts if number not in have]
        total = sum(part.stop - part.start for part in parts.values())
        done = total - sum(parts[number].stop - parts[number].start for number in missing)
        kept = set(have)
        with contextlib.ExitStack() as stack:
            writer = None
            for number in missing:
                if (further := others(number, parts)) and not kept.intersection(further):
                    continue  # it would pass for an episode that was never broken
                show(done, total, reader.episodes[parts[number].entry].name)
                try:
                    episode = _episode(reader, number, parts[number], spec, name, plan)
                except TinyJEPAError as error:
                    if not plan.skip_broken:
                        raise TinyJEPAError(f"{error}: fix it, or skip broken episodes with --skip-broken") from error
                    result.broken.append(str(error))
                    continue
                if writer is None:
                    writer = stack.enter_context(StreamWriter(path, spec, run, worker=0))
                writer.append(episode)
                kept.add(number)
                result.new_episodes += 1
                done += episode.rows
                interrupt.check()
        show(done, total, "")
    held = [ref for ref in Store(path).episodes if ref.run == run]
    result.episodes, result.rows = len(held), sum(ref.rows for ref in held)
    return result


def _called(reader: Reader, path: Path) -> str:
    """The source's name, or its former one where the store at ``path`` knows it by that."""
    if reader.former_name in ("", reader.name) or not (path / DATASET).exists():
        return reader.name
    store = Store(path)
    names = {run.policy for run in store.runs}
    knows = store.spec.world == f"{IMPORTED}{reader.former_name}" or reader.former_name in names
    return reader.former_name if knows and reader.name not in names else reader.name


def _rate(reader: Reader, plan: Plan) -> tuple[float, list[str]]:
    """Steps per second, and a note where nobody said."""
    if reader.rate is not None:
        if plan.rate is not None and abs(plan.rate - reader.rate) > 1e-3 * reader.rate:
            raise TinyJEPAError(
                f"{reader.name} has {reader.rate:g} steps per second: leave out --rate (a recipe's observation.stride "
                "skips frames; only videos without actions are resampled)"
            )
        return reader.rate, []
    if plan.rate is not None:
        return plan.rate, []
    return World.control_rate, [f"the source gives no rate: assuming {World.control_rate:g} Hz (set it with --rate)"]


def _shape(reader: Reader, plan: Plan, notes: list[str]) -> tuple[int, int, int]:
    """Of the frames, by the first image that can be read."""
    if reader.without_images:
        if not reader.state_names:
            raise TinyJEPAError(f"{reader.name} has neither images nor states to import: name some by --state")
        notes.append("the source has no images: frames are black; train with --set observation.mode=state")
        return NO_IMAGE
    failed = None
    for part in itertools.chain.from_iterable(parts_of(reader.episodes, plan.max_steps)):
        entry = reader.episodes[part.entry]
        try:
            with blaming(entry.file, entry.name):
                _refuse_broken(entry)
                images = reader.read(part.entry, part.start, part.start + 1).frames
                assert images is not None
                return frame_shape(next(iter(images)), plan.frame_size)
        except TinyJEPAError as error:
            failed = failed or error
            if not plan.skip_broken:
                break
    assert failed is not None
    raise failed


def _spec(reader: Reader, world: str, shape: tuple[int, int, int], rate: float) -> StoreSpec:
    inner_rows, shard_rows = rows_of_chunk_and_shard(shape, World.shard_rows)
    try:
        return StoreSpec(
            world=world,
            frame_shape=shape,
            action_dim=reader.action_dim,
            state_names=reader.state_names,
            control_rate=rate,
            inner_rows=inner_rows,
            shard_rows=shard_rows,
            split="blocks",
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise TinyJEPAError(f"{reader.name} does not fit into a store: {reason}") from error


def _episode(reader: Reader, number: int, part: Part, spec: StoreSpec, name: str, plan: Plan) -> Episode:
    """Episode ``number`` of the run. Raises ``TinyJEPAError`` with file and episode for whatever is wrong with it."""
    entry = reader.episodes[part.entry]
    with blaming(entry.file, entry.name):
        _refuse_broken(entry)
        rows = reader.read(part.entry, part.start, part.stop)
        count = part.stop - part.start
        frames = np.zeros((count, *spec.frame_shape), np.uint8)
        if rows.frames is not None:
            frames = fit(rows.frames, count, spec.frame_shape, plan.crop)
        action, reward = _without_last(rows.action), _without_last(rows.reward)
        state = np.ascontiguousarray(rows.state, np.float32)
        _check(entry, part, {"action": action, "reward": reward, "state": state}, spec)
        last = part.stop == entry.rows
        terminated = last and rows.terminated
        return Episode(
            index=number,
            seed=number if entry.seed is None or part.start or not 0 <= entry.seed < MOST_SEEDS else entry.seed,
            policy=entry.policy or name,
            frame=frames,
            action=action,
            reward=reward,
            state=state,
            terminated=terminated,
            truncated=not terminated or rows.truncated,
            factors=entry.factors,
        )


def _without_last(values: np.ndarray) -> np.ndarray:
    """float32, the last row zero."""
    copied = np.array(values, np.float32)
    copied[-1:] = 0
    return copied


def _check(entry: Entry, part: Part, fields: dict[str, np.ndarray], spec: StoreSpec) -> None:
    rows = part.stop - part.start
    shapes = {"action": (rows, spec.action_dim), "reward": (rows,), "state": (rows, len(spec.state_names))}
    for name, values in fields.items():
        if values.shape != shapes[name]:
            raise ValueError(f"its {name} is {values.shape}, and that of the first episode would be {shapes[name]}")
        wrong = ~np.isfinite(values.reshape(rows, -1)).all(axis=1)
        if wrong.any():
            raise ValueError(f"its {name} is not finite in row {part.start + int(wrong.argmax())}")


def _refuse_broken(entry: Entry) -> None:
    if entry.broken:
        raise ValueError(entry.broken.removeprefix(f"{entry.file} cannot be read: "))
    if entry.rows < 1:
        raise ValueError("it has no rows")


def _numbered(
    reader: Reader, have: dict[int, EpisodeRef], path: Path, plan: Plan, spec: StoreSpec, name: str
) -> dict[int, Part]:
    """The episodes of the store by number, those to be stored first before others.

    Raises ``TinyJEPAError`` where the store's episodes of this name are not those of the source. The lengths of all are
    compared, and every number of some, the first and the last among them: an episode that came between moves the last.
    """
    store = Store(path)

    def same(number: int, part: Part) -> bool:
        again = _episode(reader, number, part, spec, name, plan)
        stored = store.read_episode(have[number], "frame", "action", "reward", "state")
        return all(np.array_equal(stored[field], getattr(again, field)) for field in stored)

    def may_be(number: int, part: Part) -> bool:
        try:
            return same(number, part)
        except TinyJEPAError:
            return False

    rows = {number: ref.rows for number, ref in have.items()}
    parts = numbered(parts_of(reader.episodes, plan.max_steps), rows, may_be)
    held = sorted(have)
    some = {held[round(share * (len(held) - 1))] for share in np.linspace(0, 1, COMPARED)} if held else set()
    if parts is None or not all(same(number, parts[number]) for number in sorted(some)):
        broken = next((entry for entry in reader.episodes if entry.broken), None)
        raise TinyJEPAError(
            f"the store {path} holds other episodes by the name '{name}' than this source has: "
            + (f"mend {broken.file} if it was whole before, or " if broken else "")
            + "choose another --name, or another --store"
        )
    return parts
