"""``factory import`` when something is wrong: broken episodes, killed imports, sources that do not fit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from factory.cli import cli
from factory.importing import READERS, open_source
from factory.importing.importer import import_source
from shared.cli.console import run
from shared.errors import StoreError, TinyJEPAError
from shared.store.reader import Store
from shared.store.schema import Episode, RunSpec
from shared.store.verify import verify
from shared.store.writer import StreamWriter
from tests import ROOT
from tests.support import sources
from tests.support.sources import MAKERS, STEPS

BROKEN = 2
"""The episode that each of these breaks."""


def breaks_minari(path: Path) -> Path:
    with h5py.File(path / "data" / "main_data.hdf5", "a") as file:
        del file[f"episode_{BROKEN}/rewards"]
    return path / "data"


def breaks_stable_worldmodel(path: Path) -> Path:
    with h5py.File(path, "a") as file:
        file["action"][file["ep_offset"][BROKEN] + 4, 1] = np.nan
    return path


def breaks_robomimic(path: Path) -> Path:
    with h5py.File(path, "a") as file:
        del file[f"data/demo_{BROKEN}/obs/agentview_image"]
    return path


def breaks_exported(path: Path) -> Path:
    with h5py.File(path, "a") as file:
        file["reward"][file["episodes/first"][BROKEN] + 1] = np.inf
    return path


def breaks_npz(path: Path) -> Path:
    file = path / f"episode-{BROKEN:03d}.npz"
    file.write_bytes(file.read_bytes()[:2000])
    return file


def breaks_lerobot(path: Path) -> Path:
    file = path / "data/chunk-000/file-000.parquet"
    table = pq.read_table(file)
    first = sum(STEPS[:BROKEN])
    pq.write_table(table.take([i for i in range(len(table)) if i != first + 3]), file)
    return file


def breaks_videos(path: Path) -> Path:
    file = path / f"clip {BROKEN + 8}.mp4"
    file.write_bytes(file.read_bytes()[:500])
    return file


BREAKERS: dict[str, Callable[[Path], Path]] = {
    "minari": breaks_minari,
    "stable-worldmodel": breaks_stable_worldmodel,
    "robomimic": breaks_robomimic,
    "hdf5": breaks_exported,
    "npz": breaks_npz,
    "lerobot": breaks_lerobot,
    "videos": breaks_videos,
}


@pytest.mark.parametrize("form", [*READERS])
def test_a_broken_episode_is_named_and_can_be_left_out(
    form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = MAKERS[form](tmp_path).path
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*") if file.is_file()}
    command = ["import", str(path), "--store", str(tmp_path / "store"), "--quiet"]
    name = open_source(path).episodes[BROKEN].name
    guilty = BREAKERS[form](path)
    assert run(cli, "factory", command) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith(f"factory: error: {guilty}, episode {name}") and "--skip-broken" in error
    assert "Traceback" not in error
    assert run(cli, "factory", [*command, "--skip-broken"]) == 0
    shown = capsys.readouterr()
    assert f"left out: {guilty}, episode {name}" in shown.err and f"{len(STEPS) - 1} episodes" in shown.out
    assert [ref.index for ref in Store(tmp_path / "store").episodes] == [0, 1, 3]
    now = {file: file.stat().st_mtime_ns for file in before if file != guilty and guilty not in file.parents}
    assert all(before[file] == time for file, time in now.items())


def test_a_video_that_is_damaged_inside_is_named(tmp_path: Path) -> None:
    path = sources.videos(tmp_path, tables=False).path
    file = path / f"clip {BROKEN + 8}.mp4"
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(400)
    file.write_bytes(bytes(data))
    with pytest.raises(TinyJEPAError, match=rf"{file}, episode {file.name} cannot be read"):
        import_source(open_source(path), tmp_path / "store")


def long_source(path: Path, episodes: int = 10, rows: int = 1000) -> None:
    path.mkdir()
    for number in range(episodes):
        rng = np.random.default_rng(number)
        frames = rng.integers(0, 256, (rows, 8, 8, 1), dtype=np.uint8)
        np.savez(path / f"{number:02d}.npz", frames=frames, actions=rng.normal(size=(rows - 1, 1)))


KILLED = """
import os, signal, sys
from pathlib import Path
from factory.importing import open_source
from factory.importing.importer import import_source
def show(done, total, name):
    if done >= 6000:
        os.kill(os.getpid(), signal.SIGKILL)
import_source(open_source(Path(sys.argv[1])), Path(sys.argv[2]), show=show)
"""


def test_an_import_goes_on_after_kill_9(tmp_path: Path) -> None:
    long_source(tmp_path / "noise")
    paths = [str(tmp_path / "noise"), str(tmp_path / "store")]
    assert subprocess.run([sys.executable, "-c", KILLED, *paths], cwd=ROOT).returncode == -9
    kept = len(Store(tmp_path / "store").episodes)
    assert 0 < kept < 6  # whole shards of 4,096 rows were committed
    done = import_source(open_source(tmp_path / "noise"), tmp_path / "store")
    assert (done.episodes, done.new_episodes) == (10, 10 - kept)
    import_source(open_source(tmp_path / "noise"), tmp_path / "whole")
    resumed, whole = Store(tmp_path / "store"), Store(tmp_path / "whole")
    assert not verify(tmp_path / "store").faults
    for ours, theirs in zip(resumed.episodes, whole.episodes, strict=True):
        one, other = resumed.read_episode(ours), whole.read_episode(theirs)
        assert all(np.array_equal(one[name], other[name]) for name in one)
        assert (ours.index, ours.policy, ours.split) == (theirs.index, theirs.policy, theirs.split)


def test_what_was_added_to_a_source_is_added_to_the_store(tmp_path: Path) -> None:
    long_source(tmp_path / "noise", episodes=2, rows=20)
    assert import_source(open_source(tmp_path / "noise"), tmp_path / "store").new_episodes == 2
    np.savez(tmp_path / "noise" / "99.npz", frames=np.zeros((5, 8, 8, 1), np.uint8), actions=np.zeros((4, 1)))
    done = import_source(open_source(tmp_path / "noise"), tmp_path / "store")
    assert (done.new_episodes, done.episodes, done.rows) == (1, 3, 45)


def test_a_tenth_file_comes_after_the_ninth(tmp_path: Path) -> None:
    for number in range(1, 13):
        frames = np.full((5, 8, 8, 1), number, np.uint8)
        (tmp_path / "noise").mkdir(exist_ok=True)
        np.savez(tmp_path / "noise" / f"ep_{number}.npz", frames=frames, actions=np.zeros((4, 1)))
        import_source(open_source(tmp_path / "noise"), tmp_path / "store")
    store = Store(tmp_path / "store")
    assert [int(store.read_episode(ref, "frame")["frame"].max()) for ref in store.episodes] == [*range(1, 13)]


def test_an_episode_that_came_between_is_noticed(tmp_path: Path) -> None:
    """Else the last one would be there twice, and the new one not at all."""
    long_source(tmp_path / "noise", episodes=9, rows=20)
    import_source(open_source(tmp_path / "noise"), tmp_path / "store")
    np.savez(tmp_path / "noise" / "04b.npz", frames=np.zeros((20, 8, 8, 1), np.uint8), actions=np.zeros((19, 1)))
    with pytest.raises(TinyJEPAError, match="holds other episodes by the name 'noise'"):
        import_source(open_source(tmp_path / "noise"), tmp_path / "store")
    assert len(Store(tmp_path / "store").episodes) == 9


def test_what_no_store_could_be_read_with_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "noise").mkdir()
    for seed in (-1, 1 << 40):
        rows = {"frames": np.zeros((5, 8, 8, 1), np.uint8), "actions": np.zeros((4, 1))}
        np.savez(tmp_path / "noise" / f"{seed}.npz", **rows, seed=seed)
    command = ["import", str(tmp_path / "noise"), "--quiet", "--store"]
    assert run(cli, "factory", [*command, str(tmp_path / "named"), "--name", "my\trun"]) == 2
    error = capsys.readouterr().err
    assert "choose another --name" in error and error.count("\n") == 1 and not (tmp_path / "named").exists()
    assert run(cli, "factory", [*command, str(tmp_path / "store")]) == 0
    store = Store(tmp_path / "store")
    assert sorted(ref.seed for ref in store.episodes) == [1, 1 << 40], "its number where the seed can be none"
    spec, (ref, *_) = store.spec, store.episodes
    with pytest.raises(StoreError, match="cannot be named"):
        StreamWriter(tmp_path / "store", spec, RunSpec(seed=0, policy="a\nb", max_episode_steps=9), 0)
    fields = store.read_episode(ref, "frame", "action", "reward", "state")
    episode = Episode(index=7, seed=7, policy="noise", terminated=True, truncated=False, **fields)
    with StreamWriter(tmp_path / "store", spec, ref.run, 0) as writer:
        for wrong in ({"seed": -1}, {"index": -1}, {"policy": "\t"}, {"factors": {"size": float("nan")}}):
            with pytest.raises(StoreError, match=r"no episode|is no name|is no number"):
                writer.append(replace(episode, **wrong))
        writer.append(episode)
    assert len(Store(tmp_path / "store").episodes) == 3


@pytest.mark.parametrize("change", ["length", "content"])
def test_another_source_of_the_same_name_is_refused(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    for number, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        long_source(tmp_path / folder / "noise", episodes=2, rows=20 + number * (change == "length"))
    if change == "content":
        np.savez(tmp_path / "b/noise/00.npz", frames=np.ones((20, 8, 8, 1), np.uint8), actions=np.zeros((19, 1)))
    import_source(open_source(tmp_path / "a/noise"), store)
    command = ["import", str(tmp_path / "b/noise"), "--store", str(store), "--quiet"]
    assert run(cli, "factory", command) == 2
    assert "holds other episodes by the name 'noise'" in capsys.readouterr().err
    assert run(cli, "factory", [*command, "--name", "other"]) == 0
    assert sorted(run.policy for run in Store(store).runs) == ["noise", "other"] and len(Store(store).episodes) == 4


def test_the_same_source_in_other_parts_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else its frames would be there twice, some in training and some in test episodes."""
    long_source(tmp_path / "noise", episodes=2, rows=30)
    store = tmp_path / "store"
    command = ["import", str(tmp_path / "noise"), "--store", str(store), "--quiet"]
    assert run(cli, "factory", command) == 0
    capsys.readouterr()
    assert run(cli, "factory", [*command, "--max-episode-steps", "20"]) == 2
    assert "in parts of 1000 steps: give --max-episode-steps 1000" in capsys.readouterr().err
    assert len(Store(store).runs) == 1 and len(Store(store).episodes) == 2


def test_refusals_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "h").mkdir()
    (tmp_path / "text.h5").write_text("no HDF5")
    (tmp_path / "empty").mkdir()
    path = sources.lerobot(tmp_path).path
    robomimic = sources.robomimic(tmp_path / "h").path
    with h5py.File(robomimic, "a") as file:
        file.move("data/demo_0/obs/agentview_image", "data/demo_0/obs/front_image")
    store = ["--store", str(tmp_path / "store")]
    cases = [
        ([str(tmp_path / "nothing"), *store], "there is nothing at"),
        ([str(tmp_path / "empty"), *store], "has no recognised format (lerobot, minari"),
        ([str(tmp_path / "text.h5"), *store], "text.h5 cannot be read: OSError"),
        ([str(path), "--format", "minari", *store], "no data set of format minari"),
        ([str(path), "--format", "lerobo", *store], "Did you mean 'lerobot'?"),
        ([str(path), "--image", "wrist", *store], "no camera 'wrist'. Choices: observation.images.top"),
        ([str(path), "--state", "joint", *store], "no state 'joint'. Choices: observation.state"),
        ([str(path), "--rate", "10", *store], "noise has 20 steps per second: leave out --rate"),
        ([str(robomimic), *store], "more than one image: choose by --image front_image, or robot0_eye_in_hand_image"),
        (["s3://bucket/data", *store], "is a URL"),
    ]
    for arguments, words in cases:
        assert run(cli, "factory", ["import", *arguments]) == 2
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1, error
    assert not (tmp_path / "store").exists()
    old = path / "meta/info.json"
    old.write_text(old.read_text().replace("v3.0", "v2.1"))
    assert run(cli, "factory", ["import", str(path), *store]) == 2
    assert "version v2.1, and this reads version 3" in capsys.readouterr().err
