"""What is written is what is read: by our reader, by plain Zarr and by tensorstore."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.errors import StoreError
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode, Split, StoreSpec, split_by_seed, split_in_blocks
from shared.store.writer import StreamWriter
from tests.support.stores import FIELDS, RUN, check_episodes, columns, fast_directory, noise_episode, small_spec


def plain_zarr(path: Path, stream: str, field: str) -> np.ndarray:
    return zarr.open_group(path / "data.zarr", mode="r")[stream][field][:]


def plain_tensorstore(path: Path, stream: str, field: str) -> np.ndarray:
    kvstore = {"driver": "file", "path": str(path / "data.zarr" / stream / field)}
    return tensorstore.open({"driver": "zarr3", "kvstore": kvstore}).result().read().result()


@st.composite
def collections(draw: st.DrawFn) -> tuple[StoreSpec, list[Episode]]:
    inner = draw(st.integers(1, 6))
    spec = small_spec(
        frame_shape=draw(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4))),
        action_dim=draw(st.integers(0, 3)),
        state_names=tuple(f"s{i}" for i in range(draw(st.integers(0, 3)))),
        inner_rows=inner,
        shard_rows=inner * draw(st.integers(1, 5)),
    )
    lengths = draw(st.lists(st.integers(1, 3 * spec.shard_rows), min_size=1, max_size=6))
    episodes = [noise_episode(spec, index, rows) for index, rows in enumerate(lengths)]
    for index in draw(st.sets(st.integers(0, len(lengths) - 1))):  # all-zero frames must survive too
        episodes[index].frame[:] = 0
    return spec, episodes


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(collections(), st.data())
def test_round_trip(collection: tuple[StoreSpec, list[Episode]], data: st.DataObject) -> None:
    spec, episodes = collection
    model = {name: np.concatenate([columns(episode)[name] for episode in episodes]) for name in FIELDS}
    with fast_directory() as directory:
        path = Path(directory) / "deep" / "store"
        assert create_store(path, spec) == spec
        with StreamWriter(path, spec, RUN, 3) as writer:
            for episode in episodes:
                writer.append(episode)
        store = Store(path)
        assert [ref.index for ref in store.episodes] == list(range(len(episodes)))
        assert store.rows == writer.rows_committed == len(model["frame"])
        assert store.bytes_on_disk == writer.bytes_committed
        assert store.bytes_on_disk == sum(file.stat().st_size for file in path.glob("data.zarr/*/*/c.*"))
        for ref, episode in zip(store.episodes, episodes, strict=True):
            assert (ref.seed, ref.policy, ref.terminated) == (episode.seed, episode.policy, episode.terminated)
            for name, values in store.read_episode(ref).items():
                assert np.array_equal(values, columns(episode)[name])
        for _ in range(10):
            start = data.draw(st.integers(0, store.rows))
            stop = data.draw(st.integers(start, store.rows))
            for name in FIELDS:
                out = np.full_like(model[name][start:stop], 77)
                assert store.read(writer.name, start, stop, name, out) is out
                assert out.dtype == model[name].dtype
                assert np.array_equal(out, model[name][start:stop])
        for name in FIELDS:
            if 0 in model[name].shape[1:]:
                assert not (path / "data.zarr" / writer.name / name).exists()
            else:
                assert np.array_equal(plain_zarr(path, writer.name, name), model[name])
                assert np.array_equal(plain_tensorstore(path, writer.name, name), model[name])


def test_other_programs_read_names_types_and_every_row(tmp_path: Path) -> None:
    spec = create_store(tmp_path, small_spec(inner_rows=8, shard_rows=64))
    with StreamWriter(tmp_path, spec, RUN, 0) as writer:
        for index in range(12):
            writer.append(noise_episode(spec, index))
    store = Store(tmp_path)
    group = zarr.open_group(tmp_path / "data.zarr", mode="r")
    assert list(group.group_keys()) == [writer.name]
    assert sorted(group[writer.name].array_keys()) == sorted(FIELDS)
    assert group[writer.name].attrs["control_rate_hz"] == 50.0
    for field in FIELDS:
        ours = store.read(writer.name, 0, store.rows, field)
        for theirs in (plain_zarr(tmp_path, writer.name, field), plain_tensorstore(tmp_path, writer.name, field)):
            assert theirs.dtype == ours.dtype
            assert np.array_equal(theirs, ours)
    frame, state = group[writer.name]["frame"], group[writer.name]["state"]
    assert (frame.chunks, frame.shards) == ((8, 4, 5, 3), (64, 4, 5, 3))
    assert frame.metadata.dimension_names == ("row", "y", "x", "channel")
    assert list(state.attrs["columns"]) == ["x", "y"]
    assert group[writer.name]["flags"].attrs["bits"] == {"first": 1, "last": 2, "terminated": 4, "truncated": 8}
    assert np.array_equal(frame[37:59], store.read(writer.name, 37, 59, "frame"))


def test_chunks_of_zeros_are_files_too(tmp_path: Path) -> None:
    """A file that is not there is a lost file, never a chunk that happened to be empty."""
    spec = create_store(tmp_path, small_spec())
    zeros = noise_episode(spec, 0, 32)
    for values in (zeros.frame, zeros.action, zeros.reward, zeros.state):
        values[:] = 0
    with StreamWriter(tmp_path, spec, RUN, 0) as writer:
        writer.append(zeros)
    assert len(list(tmp_path.glob(f"data.zarr/{writer.name}/*/c.*"))) == 2 * len(FIELDS)


def test_an_episode_is_served_when_its_last_row_is_committed(tmp_path: Path) -> None:
    spec = create_store(tmp_path, small_spec())
    writer, store = StreamWriter(tmp_path, spec, RUN, 0), Store(tmp_path)
    assert store.episodes == []
    writer.append(noise_episode(spec, 0, 16))
    assert store.refresh() == 1
    writer.append(noise_episode(spec, 1, 20))  # four rows short of being committed
    assert writer.rows_committed == 32
    assert store.refresh() == 0
    assert store.streams[writer.name].rows == 32
    assert len(store.read(writer.name, 16, 32, "frame")) == 16
    writer.append(noise_episode(spec, 2, 12))
    assert store.refresh() == 2
    assert [(ref.index, ref.first, ref.rows) for ref in store.episodes] == [(0, 0, 16), (1, 16, 20), (2, 36, 12)]
    assert not store.streams[writer.name].closed
    writer.close()
    writer.close()
    assert store.refresh() == 0
    assert store.streams[writer.name].closed


def test_an_episode_made_twice_counts_once(tmp_path: Path) -> None:
    spec = create_store(tmp_path, small_spec())
    store = Store(tmp_path)
    names = []
    for _ in range(3):
        with StreamWriter(tmp_path, spec, RUN, 0) as writer:
            for index in (5, 2):
                writer.append(noise_episode(spec, index))
        names.append(writer.name)
        store.refresh()
        assert [(ref.index, ref.stream) for ref in store.episodes] == [(2, min(names)), (5, min(names))]
    assert store.rows == sum(noise_episode(spec, index).rows for index in (2, 5))
    assert Store(tmp_path).episodes == store.episodes


@pytest.mark.parametrize("episodes", [10, 20, 30, 250])
@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_any_beginning_of_a_run_is_split_well(episodes: int, seed: int) -> None:
    splits = [split_in_blocks(seed, index) for index in range(episodes)]
    for first in range(0, episodes, 10):
        block = splits[first : first + 10]
        assert block.count("validation") == block.count("test") == 1 and block.count("train") == 8
    places = {splits[first : first + 10].index("test") for first in range(0, episodes, 10)}
    assert episodes < 250 or len(places) > 5, "drawn anew for every block"


def test_the_split_is_the_stores(tmp_path: Path) -> None:
    """New collections are split in blocks; a store of schema 2, which does not say, by seed."""
    for name, changes in (("new", {"split": "blocks"}), ("old", {"schema_version": 2})):
        spec = create_store(tmp_path / name, small_spec(**changes))
        with StreamWriter(tmp_path / name, spec, RUN, 0) as writer:
            for index in range(30):
                writer.append(noise_episode(spec, index, 1))
        store = Store(tmp_path / name)
        document = json.loads((tmp_path / name / "dataset.json").read_text())
        if name == "new":
            assert document["split"] == "blocks" and document["schema_version"] == 3
            assert all(ref.split == split_in_blocks(RUN.seed, ref.index) for ref in store.episodes)
            assert [len(store.split(part)) for part in get_args(Split)] == [24, 3, 3]
        else:
            assert "split" not in document
            assert all(ref.split == split_by_seed(ref.seed) for ref in store.episodes)


def test_splits_are_by_seed_and_cover_everything(tmp_path: Path) -> None:
    spec = create_store(tmp_path, small_spec())
    with StreamWriter(tmp_path, spec, RUN, 0) as writer:
        for index in range(60):
            writer.append(noise_episode(spec, index, 1))
    store = Store(tmp_path)
    parts = [store.split("train"), store.split("validation"), store.split("test")]
    assert sorted(ref.index for part in parts for ref in part) == list(range(60))
    assert all(parts)
    assert all(split_by_seed(ref.seed) == "test" for ref in parts[2])


def test_episodes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    spec = create_store(tmp_path, small_spec())
    writer = StreamWriter(tmp_path, spec, RUN, 0)
    for changes, message in (
        ({"frame_shape": (4, 6, 3)}, "frame is uint8"),
        ({"action_dim": 3}, "action is float32"),
        ({"state_names": ("x",)}, "state is float32"),
    ):
        with pytest.raises(StoreError, match=message):
            writer.append(noise_episode(small_spec(**changes), 0, 20))
    with pytest.raises(StoreError, match="frame is uint8"):
        writer.append(noise_episode(spec, 0, 0))
    writer.append(noise_episode(spec, 0))
    writer.close()
    store = Store(tmp_path)
    assert len(store.episodes) == 1
    check_episodes(store)
    with pytest.raises(StoreError, match="has ended"):
        writer.append(noise_episode(spec, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"world": "car-racing"}, 'has world "noise", but "car-racing" was asked for'),
        ({"world_options": {"crop": True}}, 'has world_options {}, but {"crop": true}'),
        ({"frame_shape": (8, 5, 3)}, r"has frame_shape \[4, 5, 3\], but \[8, 5, 3\]"),
        ({"control_rate": 25.0}, "has control_rate 50.0, but 25.0"),
    ],
)
def test_another_collection_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    create_store(tmp_path, small_spec())
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(StoreError, match=message) as caught:
        create_store(tmp_path, small_spec(**changes))
    assert "use another --store, or the same arguments" in str(caught.value)
    assert before == {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}


def test_a_folder_of_other_files_is_no_place_for_a_store(tmp_path: Path) -> None:
    for name in ("lost+found", ".hidden", "collect-box.log"):
        (tmp_path / name).touch()
    create_store(tmp_path / "store", small_spec())
    with pytest.raises(StoreError, match=r"holds other files \(store\): name a folder of its own"):
        create_store(tmp_path, small_spec())
    assert not (tmp_path / "data.zarr").exists()
    (tmp_path / "store").rename(tmp_path / ".store")
    create_store(tmp_path, small_spec())
    (tmp_path / "notes.txt").touch()  # beside a store it is the user's own business
    create_store(tmp_path, small_spec())


def test_a_store_keeps_its_chunk_sizes(tmp_path: Path) -> None:
    create_store(tmp_path, small_spec())
    asked = small_spec(inner_rows=8, shard_rows=64)
    found = create_store(tmp_path, asked)
    assert (found.inner_rows, found.shard_rows) == (4, 16)
    with pytest.raises(StoreError, match="another spec"):
        StreamWriter(tmp_path, asked, RUN, 0)


@pytest.mark.parametrize("changes", [{"shard_rows": 18}, {"frame_shape": (0, 4, 3)}, {"inner_rows": 0}])
def test_a_spec_that_cannot_be_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        small_spec(**changes)


def create(path: Path, rate: float, barrier: threading.Barrier, results: list[tuple[float, str]]) -> None:
    barrier.wait()
    try:
        results.append((rate, str(create_store(path, small_spec(control_rate=rate)).control_rate)))
    except StoreError as error:
        results.append((rate, str(error)))


def test_creators_that_race_agree_on_one_spec(tmp_path: Path) -> None:
    for attempt in range(20):
        path = tmp_path / str(attempt)
        results: list[tuple[float, str]] = []
        barrier = threading.Barrier(6)

        threads = [threading.Thread(target=create, args=(path, 1.0 + n % 2, barrier, results)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winner = Store(path).spec.control_rate
        for rate, result in results:
            assert result == str(winner) if rate == winner else f"has control_rate {winner}, but {rate}" in result
        assert len(results) == 6
        assert sorted(file.name for file in path.iterdir()) == ["data.zarr", "dataset.json", "log"]


def test_a_path_in_the_way_is_named_and_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(StoreError, match="is a file"):
        create_store(tmp_path / "file", small_spec())
    with pytest.raises(OSError) as caught:
        create_store(tmp_path / "file" / "store", small_spec())
    assert str(caught.value.filename).startswith(str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "precious"

    zarr.open_group(tmp_path / "mine" / "data.zarr", mode="w", attributes={"owner": "somebody"})
    with pytest.raises(StoreError, match="another program"):
        create_store(tmp_path / "mine", small_spec())
    assert sorted(file.name for file in (tmp_path / "mine").iterdir()) == ["data.zarr"]
    assert zarr.open_group(tmp_path / "mine" / "data.zarr", mode="r").attrs["owner"] == "somebody"

    with pytest.raises(OSError) as caught:
        create_store(Path("/proc/store"), small_spec())
    assert str(caught.value.filename).startswith("/proc/store")


def test_a_store_without_its_log_folder_raises(tmp_path: Path) -> None:
    create_store(tmp_path, small_spec())
    (tmp_path / "log").rmdir()
    with pytest.raises(StoreError, match="log"):
        Store(tmp_path)
