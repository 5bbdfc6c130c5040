"""A state machine over writers that append, close and vanish, a reader that follows, merge, gc and quarantine.

The model is a list of episodes per stream, how many rows are committed, and which shards are set aside.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from shared.store import quarantine
from shared.store.dataset import create_store
from shared.store.gc import leftovers, remove
from shared.store.merge import merge
from shared.store.reader import Store
from shared.store.schema import Episode
from shared.store.verify import verify
from shared.store.writer import StreamWriter
from tests.support.stores import RUN, columns, fast_directory, noise_episode, small_spec


class Model:
    """One stream: every episode that was appended, and whether the writer closed."""

    def __init__(self, writer: StreamWriter) -> None:
        self.writer = writer
        self.episodes: list[Episode] = []
        self.closed = False
        self.aside: set[int] = set()

    @property
    def shards(self) -> int:
        return -(-self.committed // small_spec().shard_rows)

    def readable(self, first: int, rows: int) -> bool:
        """Whether rows of an episode are committed, and in no shard that is set aside."""
        shard_rows = small_spec().shard_rows
        touched = range(first // shard_rows, (first + rows - 1) // shard_rows + 1)
        return first + rows <= self.committed and not self.aside & set(touched)

    @property
    def committed(self) -> int:
        rows = sum(episode.rows for episode in self.episodes)
        shard_rows = small_spec().shard_rows
        return rows if self.closed else rows // shard_rows * shard_rows


class Machine(RuleBasedStateMachine):
    streams = Bundle("streams")

    @initialize()
    def create(self) -> None:
        self.directory = fast_directory()
        self.path = Path(self.directory.name) / "store"
        self.spec = create_store(self.path, small_spec())
        self.store = Store(self.path)
        self.models: dict[str, Model] = {}

    @rule(target=streams, worker=st.integers(0, 2))
    def start(self, worker: int) -> Model:
        writer = StreamWriter(self.path, create_store(self.path, small_spec()), RUN, worker)
        model = self.models[writer.name] = Model(writer)
        return model

    @rule(model=streams, index=st.integers(0, 9), rows=st.integers(1, 40))
    def append(self, model: Model, index: int, rows: int) -> None:
        episode = noise_episode(self.spec, 100 * index + rows, rows)
        model.writer.append(episode)
        model.episodes.append(episode)

    @rule(model=consumes(streams))
    def close(self, model: Model) -> None:
        model.writer.close()
        model.closed = True

    @rule(model=consumes(streams), torn=st.booleans())
    def vanish(self, model: Model, torn: bool) -> None:
        """The writer is never heard of again; with ``torn`` it died in the middle of a log line."""
        del model.writer
        if torn:
            with (self.path / "log" / f"{self.name_of(model)}.jsonl").open("ab") as log:
                log.write(b'{"i":7,"rows":16,"fil')

    def name_of(self, model: Model) -> str:
        return next(name for name, other in self.models.items() if other is model)

    @rule()
    def reopen(self) -> None:
        self.store = Store(self.path)

    @rule(data=st.data())
    def set_aside(self, data: st.DataObject) -> None:
        """A damaged shard is set aside: its episodes vanish, other copies of them may appear."""
        names = sorted(name for name, model in self.models.items() if model.shards)
        if not names:
            return
        name = data.draw(st.sampled_from(names))
        number = data.draw(st.integers(0, self.models[name].shards - 1))
        self.models[name].aside.add(number)
        quarantine.set_aside(self.path, self.spec, Store(self.path).set_aside, {name: {number}})
        self.store = Store(self.path)

    @rule()
    def collect_garbage(self) -> None:
        """A leftover of a closed stream goes; nothing that is committed does."""
        strays = []
        for name, model in self.models.items():
            if model.closed:
                strays.append(self.path / "data.zarr" / name / "reward" / f"c.{model.shards + 1}")
                strays[-1].write_bytes(b"never committed")
        found = leftovers(self.path, older_than=3600)
        assert {leftover.path for leftover in found} == set(strays)
        remove(found)

    @rule()
    def join(self) -> None:
        """A merge into another store has the same episodes, and every byte of it is right."""
        target = Path(self.directory.name) / "merged"
        merge([self.path], target)
        merged = Store(target)
        added = {name for name in self.models if name in merged.streams}
        assert added == set(self.models)
        for name, model in self.models.items():
            assert merged.streams[name].rows <= model.committed
        assert not verify(target).faults
        for ref in merged.episodes[-3:]:
            assert np.array_equal(merged.read_episode(ref)["frame"], self.episode_at(ref.stream, ref.first).frame)
        shutil.rmtree(target)

    def episode_at(self, name: str, first: int) -> Episode:
        row = 0
        for episode in self.models[name].episodes:
            if row == first:
                return episode
            row += episode.rows
        raise AssertionError((name, first))

    @rule()
    def follow(self) -> None:
        before = len(self.store.episodes)
        new = self.store.refresh()
        assert new == len(self.store.episodes) - before

    @invariant()
    def agrees(self) -> None:
        store = Store(self.path)
        self.store.refresh()
        assert store.episodes == self.store.episodes
        expected: dict[int, tuple[str, int, Episode]] = {}
        for name, model in sorted(self.models.items()):
            first = 0
            for episode in model.episodes:
                if model.readable(first, episode.rows):
                    expected.setdefault(episode.index, (name, first, episode))
                first += episode.rows
            assert store.streams[name].rows == model.committed
            assert store.streams[name].closed == model.closed
        assert [ref.index for ref in store.episodes] == sorted(expected)
        for ref in store.episodes:
            name, first, episode = expected[ref.index]
            assert (ref.stream, ref.first, ref.rows) == (name, first, episode.rows)
        for ref in store.episodes[-3:]:
            for field, values in self.store.read_episode(ref).items():
                assert np.array_equal(values, columns(expected[ref.index][2])[field])

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.directory.cleanup()


Machine.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestStoreMachine = Machine.TestCase
