"""``factory export``: loaded with the libraries of the formats, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import h5py
import minari
import numpy as np
import pyarrow.parquet as pq
import pytest

from factory.cli import cli
from factory.collecting.collect import collect
from factory.collecting.job import make_job
from factory.export import export_store
from factory.importing import open_source
from factory.importing.importer import Plan, import_source
from shared.cli.console import run
from shared.store.reader import Store


@pytest.fixture(scope="module", params=["car-racing", "CartPole-v1", "bouncing-logo"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("export") / "store"
    collect(path, make_job(request.param, frame_size=16, max_episode_steps=20), episodes=20)
    return Store(path)


def test_hdf5(store: Store, tmp_path: Path) -> None:
    assert export_store(Path(store.path), "hdf5", tmp_path / "out.h5") == 20
    with h5py.File(tmp_path / "out.h5") as file:
        assert list(file.attrs["state_names"]) == list(store.spec.state_names)
        for i, ref in enumerate(store.episodes):
            first, rows = file["episodes/first"][i], file["episodes/rows"][i]
            assert (rows, file["episodes/index"][i], file["episodes/seed"][i]) == (ref.rows, ref.index, ref.seed)
            assert file["episodes/policy"][i].decode() == ref.policy
            for name, values in store.read_episode(ref, "frame", "reward", "flags").items():
                assert np.array_equal(file[name][first : first + rows], values)
            for name in {"action", "state"} & set(file):
                assert np.array_equal(file[name][first : first + rows], store.read_episode(ref, name)[name])
        assert ("action" in file) == (store.spec.action_dim > 0)


def test_npz(store: Store, tmp_path: Path) -> None:
    export_store(Path(store.path), "npz", tmp_path / "out")
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) == 20
    for file, ref in zip(files, store.episodes):
        with np.load(file) as loaded:
            for name, values in store.read_episode(ref).items():
                assert np.array_equal(loaded[name], values) and loaded[name].dtype == values.dtype
            assert (int(loaded["seed"]), str(loaded["policy"])) == (ref.seed, ref.policy)


def test_minari(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["export", str(store.path), "--format", "minari", "--out", str(tmp_path / "out"), "--quiet"]
    if store.spec.action_dim == 0:
        assert run(cli, "factory", command) == 2
        assert "has no actions" in capsys.readouterr().err and not (tmp_path / "out").exists()
        return
    assert run(cli, "factory", command) == 0
    dataset = minari.MinariDataset(tmp_path / "out" / "data")
    assert dataset.total_episodes == 20 and dataset.total_steps == store.rows - 20
    for episode, ref in zip(dataset.iterate_episodes(), store.episodes):
        data = store.read_episode(ref)
        assert np.array_equal(episode.observations, data["frame"])
        stored = data["action"][:-1]
        assert np.array_equal(episode.actions, stored if store.spec.world == "car-racing" else stored.argmax(1))
        assert np.array_equal(np.asarray(episode.rewards, np.float32), data["reward"][:-1])
        assert bool(episode.terminations[-1]) == ref.terminated != bool(episode.truncations[-1])
        assert not np.any(episode.terminations[:-1]) and not np.any(episode.truncations[:-1])
        if data["state"].size:
            assert np.array_equal(episode.infos["state"], data["state"])


def test_lerobot_by_its_published_schema(store: Store, tmp_path: Path) -> None:
    assert export_store(Path(store.path), "lerobot", tmp_path / "out") == 20
    info = json.loads((tmp_path / "out/meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == store.spec.control_rate
    assert (info["total_episodes"], info["total_frames"]) == (20, store.rows)
    place = {"chunk_index": 0, "file_index": 0}
    table = pq.read_table(tmp_path / "out" / info["data_path"].format(**place))
    assert table.column_names == list(info["features"])
    assert np.array_equal(table["index"].to_numpy(), np.arange(store.rows))
    episodes = pq.read_table(tmp_path / "out/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    tasks = pq.read_table(tmp_path / "out/meta/tasks.parquet")
    assert tasks["task_index"].to_pylist() == list(range(len({ref.policy for ref in store.episodes})))
    stats = json.loads((tmp_path / "out/meta/stats.json").read_text())
    frames = np.concatenate([store.read_episode(ref, "frame")["frame"] for ref in store.episodes]) / 255
    assert np.allclose(np.ravel(stats["observation.image"]["mean"]), frames.mean((0, 1, 2)))
    assert np.allclose(np.ravel(stats["observation.image"]["std"]), frames.std((0, 1, 2)))
    for ref, about in zip(store.episodes, episodes, strict=True):
        rows = table.slice(about["dataset_from_index"], about["length"]).to_pydict()
        read = store.read_episode(ref)
        assert about["tasks"] == [ref.policy] and about["dataset_to_index"] - about["dataset_from_index"] == ref.rows
        shown = [cv2.imdecode(np.frombuffer(cell["bytes"], np.uint8), -1) for cell in rows["observation.image"]]
        assert np.array_equal(np.reshape(shown, read["frame"].shape)[..., ::-1], read["frame"])
        assert np.array_equal(rows["next.reward"], read["reward"])
        for name, field in (("action", "action"), ("observation.state", "state")):
            assert (name in rows) == bool(read[field].size)
            assert name not in rows or np.array_equal(np.reshape(rows[name], read[field].shape), read[field])
        assert rows["next.done"] == [False] * (ref.rows - 1) + [True]
        assert np.allclose(rows["timestamp"], np.arange(ref.rows) / store.spec.control_rate)


def test_lerobot_by_its_own_library(store: Store, tmp_path: Path) -> None:
    datasets = pytest.importorskip("lerobot.datasets.lerobot_dataset", exc_type=ImportError)
    export_store(Path(store.path), "lerobot", tmp_path / "out")
    loaded = datasets.LeRobotDataset("tinyjepa/test", root=tmp_path / "out")
    frames = np.concatenate([store.read_episode(ref, "frame")["frame"] for ref in store.episodes])
    assert len(loaded) == len(frames)
    for row in (0, 1, len(frames) // 2, len(frames) - 1):
        shown = np.rint(loaded[row]["observation.image"].numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
        assert np.array_equal(shown, frames[row])


@pytest.mark.parametrize("form", ["hdf5", "npz", "minari", "lerobot"])
def test_a_relative_path(form: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if form == "minari" and not store.spec.action_dim:
        pytest.skip("Minari needs actions")
    source = Path(store.path).absolute()
    monkeypatch.chdir(tmp_path)
    assert export_store(source, form, Path("out")) == 20
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_refusals(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").write_text("mine")
    for form, out, words in (("hdf6", "new", "Did you mean 'hdf5'"), ("hdf5", "there", "exists")):
        assert run(cli, "factory", ["export", str(store.path), "--format", form, "--out", str(tmp_path / out)]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1
    assert (tmp_path / "there").read_text() == "mine" and not (tmp_path / "new").exists()


def test_npz_of_runs_that_differ_in_little(tmp_path: Path) -> None:
    """Two limits, and a name that is no file name."""
    place = tmp_path / "store"
    for steps in (10, 15):
        collect(place, make_job("bouncing-logo", frame_size=16, max_episode_steps=steps), episodes=3, append=True)
    export_store(place, "npz", tmp_path / "one")
    assert len(list((tmp_path / "one").iterdir())) == len(Store(place).episodes) == 6
    names = ("atari/breakout", "atari-breakout", "кот", "пёс", "x" * 200)
    for name in names:
        import_source(open_source(tmp_path / "one"), tmp_path / "named", Plan(name=name, world="imported/logo"))
    assert export_store(tmp_path / "named", "npz", tmp_path / "two") == 6 * len(names)
    assert len(list((tmp_path / "two").iterdir())) == 6 * len(names)
