"""Several runs in one store, and stores of an older schema."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import StoreError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import SCHEMA_VERSION, RunSpec
from shared.store.writer import StreamWriter
from tests import ROOT
from tests.support.stores import RUN, check_episodes, noise_episode, small_spec

OLD = ROOT / "tests" / "support" / "data" / "store-schema-1"
"""Episodes 0, 1 and 2 of ``RUN``, written by the last program that wrote schema 1."""


def test_runs_share_a_store_and_keep_their_episodes_apart(tmp_path: Path) -> None:
    spec = create_store(tmp_path, small_spec())
    later = replace(RUN, seed=RUN.seed + 1)
    for run, indices in ((later, (1, 0)), (RUN, (0, 2))):
        with StreamWriter(tmp_path, spec, run, 0) as writer:
            for index in indices:
                writer.append(noise_episode(spec, index))
    store = Store(tmp_path)
    assert store.runs == [RUN, later]
    assert [(ref.run, ref.index) for ref in store.episodes] == [(RUN, 0), (RUN, 2), (later, 0), (later, 1)]
    check_episodes(store)


def test_an_older_store_is_read_and_extended(tmp_path: Path) -> None:
    path = shutil.copytree(OLD, tmp_path / "store")
    store = Store(path)
    assert store.spec.schema_version == 1 and store.runs == [RUN]
    assert [ref.index for ref in store.episodes] == [0, 1, 2]
    check_episodes(store)
    spec = create_store(path, small_spec())
    for run, index in ((RUN, 3), (replace(RUN, policy="pursuit"), 0)):
        with StreamWriter(path, spec, run, 0) as writer:
            writer.append(noise_episode(spec, index))
    assert store.refresh() == 2
    assert [(ref.run.policy, ref.index) for ref in store.episodes] == [
        ("pursuit", 0),
        *(("uniform", k) for k in range(4)),
    ]
    check_episodes(store)


def test_a_log_of_a_newer_schema_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = create_store(tmp_path, small_spec())
    monkeypatch.setattr("shared.store.writer.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    StreamWriter(tmp_path, spec, RUN, 0).close()
    with pytest.raises(StoreError, match=f"schema {SCHEMA_VERSION + 1} is newer"):
        Store(tmp_path)


@pytest.mark.parametrize("changes", [{"seed": -1}, {"max_episode_steps": 0}, {"policy": None}])
def test_a_run_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        RunSpec(**{"seed": 0, "policy": "uniform", "max_episode_steps": 1, **changes})
