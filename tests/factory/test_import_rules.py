"""What an import makes of sizes, rates, tables and spaces, and of this project's own exports."""

from __future__ import annotations

from pathlib import Path

import av
import gymnasium as gym
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer
from minari.dataset.minari_storage import MinariStorage

from factory.cli import cli
from factory.collecting.collect import collect
from factory.collecting.job import make_job
from factory.export import FORMATS, export_store
from factory.importing import open_source
from factory.importing.frames import as_frame, fit, frame_shape
from factory.importing.importer import Plan, import_source
from factory.importing.source import Choice
from factory.importing.videofile import VideoFile
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.worlds import stored_world
from tests.support import sources
from tests.support.sources import write_video


@pytest.mark.parametrize("world", ["car-racing", "CartPole-v1", "two-room"])
@pytest.mark.parametrize("form", [*FORMATS])
def test_every_export_can_be_imported_bit_for_bit(world: str, form: str, tmp_path: Path) -> None:
    size = None if world == "two-room" else 16
    collect(tmp_path / "store", make_job(world, frame_size=size, max_episode_steps=20), episodes=3)
    store = Store(tmp_path / "store")
    export_store(tmp_path / "store", form, tmp_path / ("out.h5" if form == "hdf5" else "out"))
    reader = open_source(tmp_path / ("out.h5" if form == "hdf5" else "out"))
    import_source(reader, tmp_path / "back", Plan(rate=reader.rate or store.spec.control_rate))
    back = Store(tmp_path / "back")
    assert back.spec.control_rate == store.spec.control_rate
    assert len(back.spec.state_names) == len(store.spec.state_names)
    for ours, theirs in zip(store.episodes, back.episodes, strict=True):
        before, after = store.read_episode(ours), back.read_episode(theirs)
        if world == "two-room" and form == "lerobot":  # its PNG hold two channels and a third of zeros
            assert not after["frame"][..., 2].any()
            after["frame"] = after["frame"][..., :2]
        assert all(np.array_equal(before[name], after[name]) for name in before if name != "episode")
        assert (ours.terminated, ours.truncated) == (theirs.terminated, theirs.truncated)


def test_sizes() -> None:
    rng = np.random.default_rng(0)
    wide, square = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((48, 96, 3), (65, 65, 2)))
    assert frame_shape(square, None) == (65, 65, 2) and frame_shape(wide, None) == (64, 64, 3)
    assert frame_shape(np.zeros((200, 200), np.uint8), None) == (64, 64, 1) and frame_shape(wide, 32) == (32, 32, 3)
    assert np.array_equal(fit([square], 1, (65, 65, 2), crop=False)[0], square)
    squeezed = fit([wide], 1, (24, 24, 3), crop=False)[0]
    blocks = wide.reshape(24, 2, 24, 4, 3).mean((1, 3))
    assert np.abs(squeezed - blocks).max() <= 0.5, "the mean of the pixels that an output pixel covers"
    assert np.array_equal(fit([wide], 1, (48, 48, 3), crop=True)[0], wide[:, 24:72])
    assert np.array_equal(as_frame(wide.transpose(2, 0, 1)), wide)
    assert np.array_equal(as_frame(wide / np.float32(255)), wide)
    assert np.array_equal(fit([wide[:, :, :1]], 1, (48, 96, 3), crop=False)[0], wide[:, :, :1].repeat(3, 2))
    for images in ([wide], [wide] * 3):
        with pytest.raises(ValueError, match="images for 2 rows"):
            fit(images, 2, (8, 8, 3), crop=False)


def grey(level: int) -> np.ndarray:
    return np.full((16, 16, 3), level, np.uint8)


@pytest.mark.parametrize("ending", ["mp4", "mkv", "avi"])
def test_frames_of_a_video_by_number(ending: str, tmp_path: Path) -> None:
    write_video(tmp_path / f"a.{ending}", [grey(10 * i) for i in range(25)], rate=25)
    video = VideoFile(tmp_path / f"a.{ending}")
    assert np.allclose(video.times - video.times[0], np.arange(25) / 25, atol=1e-3) and round(video.rate) == 25
    for numbers in ([0], [24], [3, 4, 4, 17], [*range(25)]):
        levels = [frame.mean() for frame in video.frames(np.array(numbers))]
        assert np.allclose(levels, [10 * number for number in numbers], atol=3)


def write_avi(path: Path, codec: str) -> None:
    """25 grey pictures with B-frames in a container that keeps no time of showing."""
    with av.open(str(path), "w", format=path.suffix[1:]) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 64
        stream.pix_fmt, stream.options = "yuv420p", {"bf": "2", "g": "6"}
        for number in range(25):
            image = np.full((64, 64, 3), 10 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize(("name", "codec"), [("a.avi", "mpeg4"), ("b.avi", "libx264"), ("raw.m4v", "mpeg4")])
def test_frames_with_b_frames_and_no_times_are_counted(name: str, codec: str, tmp_path: Path) -> None:
    write_avi(tmp_path / name, codec)
    video = VideoFile(tmp_path / name)
    assert np.allclose(np.diff(video.times), 1 / 25) or name == "raw.m4v"
    for numbers in ([0], [3, 4, 4, 17], [17, 18], [24], [*range(25)]):  # on from the last, and back
        levels = [frame.mean() for frame in video.frames(np.array(numbers))]
        assert np.allclose(levels, [10 * number for number in numbers], atol=9)
    video.close()
    assert next(video.frames(np.array([1]))).mean() == pytest.approx(10, abs=9)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_a_damaged_file_whose_frames_are_counted_is_refused(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "a.avi"
    write_avi(path, codec)
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    whole = path.read_bytes()
    for start, size in packets[3:20]:
        path.write_bytes(whole[: start + 8] + bytes(size) + whole[start + 8 + size :])
        with pytest.raises((ValueError, av.FFmpegError)):
            list(VideoFile(path).frames(np.arange(3)))


@pytest.mark.parametrize("form", ["npz", "videos"])
def test_a_folder_is_called_by_its_whole_name(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pusht.v1", "pusht.v2"):
        (tmp_path / name).mkdir()
        made = sources.MAKERS[form](tmp_path / name).path
        for file in [*made.iterdir()]:
            file.rename(tmp_path / name / file.name)
        made.rmdir()
        assert open_source(tmp_path / name).name == name
    monkeypatch.chdir(tmp_path / "pusht.v2")
    assert open_source(Path()).name == "pusht.v2"
    file = next(path for path in Path().iterdir() if path.suffix != ".csv")
    assert open_source(file).name == file.stem


@pytest.mark.parametrize("world", [None, "two-room-seen"])
def test_a_store_that_knows_a_folder_by_its_former_name_goes_on(world: str | None, tmp_path: Path) -> None:
    """Earlier versions left out what follows the last dot."""
    folder, store = sources.npz(tmp_path).path.rename(tmp_path / "noise.v1"), tmp_path / "store"
    import_source(open_source(folder), store, Plan(world or "imported/noise", "noise"))
    assert import_source(open_source(folder), store, Plan(world)).new_episodes == 0
    assert [run.policy for run in Store(store).runs] == ["noise"]


@pytest.mark.parametrize(("rate", "numbers"), [(12.5, [0, 2, 4, 6, 8, 10, 12]), (75, [0, 0, 1, 1, 1, 2, 2, 2, 3])])
def test_videos_without_actions_are_resampled_by_time(rate: float, numbers: list[int], tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    write_video(tmp_path / "clips" / "a.mp4", [grey(10 * i) for i in range(14)], rate=25)
    reader = open_source(tmp_path / "clips", choice=Choice(rate=rate))
    assert reader.rate == rate
    images = reader.read(0, 0, reader.episodes[0].rows).frames
    assert images is not None
    levels = [image.mean() for image in images]
    assert np.allclose(levels[: len(numbers)], [10 * number for number in numbers], atol=3)
    assert len(levels) == int(13 / 25 * rate + 1e-6) + 1


def test_rates_that_differ_are_refused_or_resampled(tmp_path: Path) -> None:
    for name, rate in (("a", 25), ("b", 30)):
        write_video(tmp_path / "clips" / f"{name}.mp4", [grey(0)] * 10, rate=rate)
    with pytest.raises(TinyJEPAError, match=r"b\.mp4 has 30 frames per second, a\.mp4 25: resample them by --rate 25"):
        open_source(tmp_path / "clips")
    assert [entry.rows for entry in open_source(tmp_path / "clips", choice=Choice(rate=5)).episodes] == [2, 2]


def test_one_table_for_all_videos(tmp_path: Path) -> None:
    for name in ("left", "right"):
        write_video(tmp_path / "clips" / f"{name}.mp4", [grey(9)] * 3)
    lines = ["video,steer", "left,-1", "left.mp4,-2", "right.mp4,1", "right,2", "right,3"]
    (tmp_path / "clips" / "actions.csv").write_text("\n".join(lines))
    reader = open_source(tmp_path / "clips")
    assert reader.read(0, 0, 3).action.tolist() == [[-1], [-2], [0]]
    assert reader.read(1, 0, 3).action.tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("steer\n1\n", "it has 1 of actions for 3 observations, not 3 or 2"),
        ("steer\n1\nleft\n", "line 3, column 'steer': 'left' is no number"),
        ("steer\n", "it has no rows below its header"),
        ("steer,state\n1,2\n1,2\n", "its table has 2 rows of states for 3 frames"),
        (None, r"b\.mp4 has no table of actions, and others have"),
    ],
)
def test_tables_that_do_not_fit_are_named(table: str | None, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    for name in ("a", "b"):
        write_video(folder / f"{name}.mp4", [grey(9)] * 3)
        (folder / f"{name}.csv").write_text("steer\n1\n2\n")
    (folder / "b.csv").unlink()
    if table is not None:
        for name in ("a", "b"):
            (folder / f"{name}.csv").write_text(table)
    with pytest.raises(TinyJEPAError, match=words):
        import_source(open_source(folder), tmp_path / "store")


def test_a_minari_data_set_of_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By its name; an observation with an image and a nested vector, Discrete actions."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    joint = gym.spaces.Dict({"joint": gym.spaces.Box(-9, 9, (2,), np.float32)})
    space = gym.spaces.Dict({"camera": gym.spaces.Box(0, 255, (12, 12, 3), np.uint8), "arm": joint})
    place = tmp_path / "test" / "dictionary-v0"
    place.mkdir(parents=True)
    storage = MinariStorage.new(place / "data", space, gym.spaces.Discrete(3), None, jpeg_encoding=False)
    steps = np.arange(7)
    seen = {
        "camera": np.broadcast_to(steps[:, None, None, None], (7, 12, 12, 3)).astype(np.uint8),
        "arm": {"joint": np.stack([steps, -steps], 1).astype(np.float32)},
    }
    storage.update_episodes(
        EpisodeBuffer(
            id=number, seed=number, observations=seen, actions=(steps[:-1] + number) % 3, rewards=steps[:-1] / 2,
            terminations=np.zeros(6, bool), truncations=steps[:-1] == 5, infos=None,
        )
        for number in range(2)
    )  # fmt: skip
    storage.update_metadata({"dataset_id": "test/dictionary-v0", "algorithm_name": "cycle", "minari_version": "0.5.4"})
    command = ["import", "test/dictionary-v0", "--store", str(tmp_path / "store"), "--rate", "5", "--quiet"]
    assert run(cli, "factory", command) == 0
    store = Store(tmp_path / "store")
    assert store.spec.state_names == ("arm/joint.0", "arm/joint.1") and store.spec.action_dim == 3
    for number, ref in enumerate(store.episodes):
        rows = store.read_episode(ref)
        assert ref.policy == "cycle" and ref.truncated and not ref.terminated
        assert np.array_equal(rows["action"][:-1], np.eye(3)[(steps[:-1] + number) % 3])
        assert rows["reward"].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 0]
        assert np.array_equal(rows["frame"].mean((1, 2, 3)), steps)
        assert np.array_equal(rows["state"], np.stack([steps, -steps], 1))
    capsys.readouterr()


def test_an_imported_world_has_no_simulator_and_says_so(tmp_path: Path) -> None:
    import_source(open_source(sources.npz(tmp_path).path), tmp_path / "store")
    with pytest.raises(TinyJEPAError, match="imported/noise' has no simulator: its episodes were imported"):
        stored_world(Store(tmp_path / "store").spec.world, 16, {})
