"""A state machine over writers that append, close and vanish, and a reader that follows, against a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode
from shared.store.writer import StreamWriter
from tests.stores import RUN, columns, fast_directory, noise_episode, small_spec


class Model:
    """One stream: every episode that was appended, and whether the writer closed."""

    def __init__(self, writer: StreamWriter) -> None:
        self.writer = writer
        self.episodes: list[Episode] = []
        self.closed = False

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
                if first + episode.rows <= model.committed:
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
