"""The ``factory`` commands as a user types them; every bad input is one line and exit code 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from factory.cli import COMMANDS, cli
from shared.cli.console import run
from shared.cores import usable_cores
from shared.store.reader import Store
from tests import ROOT

SMALL = ["collect", "--local", "--frame-size", "16", "--max-episode-steps", "30", "--frames", "200", "--quiet"]


def factory(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "factory.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, **environment})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "cars"
    assert run(cli, "factory", [*SMALL, "--store", str(path)]) == 0
    return path


def test_collect_again_extend_look_and_list(tmp_path: Path) -> None:
    """The whole command line in real processes."""
    first = factory(*SMALL, TINYJEPA_DATA=str(tmp_path))
    path = tmp_path / "car-racing"
    assert first.returncode == 0 and first.stderr == "", first.stderr
    assert first.stdout.startswith(f"{path}: 217 frames in 7 episodes") and "217 new" in first.stdout
    again = factory(*SMALL, TINYJEPA_DATA=str(tmp_path))
    assert again.returncode == 0 and again.stdout.startswith(f"nothing to do: {path} holds 217 frames in 7 episodes")
    more = factory(*SMALL, "--frames", "300", TINYJEPA_DATA=str(tmp_path))
    assert more.returncode == 0 and "93 new" in more.stdout

    status = factory("status", path)
    assert status.returncode == 0
    for words in ("310 frames in 10 episodes", "train ", "16x16x3 uint8", "2 closed", "% on road", "pursuit"):
        assert words in status.stdout


def test_preview_draws_a_sheet_and_a_video(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, "factory", ["preview", str(store), "--out", str(tmp_path / "new" / "pictures")]) == 0
    sheet, video, plots = map(Path, capsys.readouterr().out.split())
    image = cv2.imread(str(sheet))
    assert image is not None and image.shape[0] > 7 * 128 and image.shape[1] >= 10 * 128
    drawn = cv2.imread(str(plots))
    assert drawn is not None and drawn.shape[0] > 800 and len(np.unique(drawn.reshape(-1, 3), axis=0)) > 50
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264" and stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 50
    assert len(frames) == 31
    shown = Store(store).read_episode(Store(store).episodes[0], "frame")["frame"][20]
    large = shown.repeat(8, axis=0).repeat(8, axis=1).astype(float)
    assert np.abs(frames[20][18 : 18 + 128, :128] - large).mean() < 12


def test_status_of_a_store_that_is_being_written_or_was_left(store: Path, tmp_path: Path) -> None:
    from factory.collecting.episodes import run_episode
    from factory.collecting.job import make_job
    from factory.inspection.status import status_lines
    from shared.store.dataset import create_store
    from shared.store.writer import StreamWriter
    from shared.worlds import make_world

    spec = create_store(tmp_path, (job := make_job("CartPole-v1", "mixed", frame_size=16)).spec)
    assert "0 frames in 0 episodes" in "\n".join(status_lines(tmp_path))
    writer = StreamWriter(tmp_path, spec, job.run, 0)
    writer.append(run_episode(make_world("CartPole-v1", 16), "mixed", 0, 2, 50))
    assert "1 being written" in "\n".join(status_lines(tmp_path))
    writer.close()
    lines = "\n".join(status_lines(tmp_path))
    assert "1 closed, 0 being written" in lines and "2 episodes before number 2 are missing" in lines
    assert "coverage   unknown: this world names no states" in lines


def test_worlds_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, "factory", ["worlds"]) == 0
    output = capsys.readouterr().out
    assert "car-racing" in output and "tinyjepa/CarRacing-v0" in output and "Gymnasium id" in output
    for command in COMMANDS:
        assert run(cli, "factory", [command, "--help"]) == 0
        assert f"  factory {command}" in capsys.readouterr().out


def test_default_store() -> None:
    from shared.store.source import default_store

    assert default_store("ale_py:ALE/Pong-v5").name == "ale_py-ALE-Pong-v5"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--world", "car-racin"], ["unknown world 'car-racin'", "Did you mean 'car-racing'?", "Choices:"]),
        (["--policy", "persuit"], ["unknown policy 'persuit'", "Did you mean 'pursuit'?", "mixed"]),
        (["--world", "CartPole-v1", "--policy", "pursuit"], ["pursuit", "centre line", "mixed"]),
        (["--option", "hud"], ["key=value"]),
        (["--option", "hdu=1"], ["unknown option 'hdu'", "Did you mean 'hud'?"]),
        (["--option", "hud=perhaps"], ["'perhaps'", "bool"]),
        (["--option", "frame_size=32"], ["frame_size is no option", "--frame-size"]),
        (["--option", "name=3"], ["name is no option", "--world"]),
        (["--option", "lap_complete_percent=NaN"], ["'lap_complete_percent' is nan", "finite"]),
        (["--frames", "0"], ["--frames", "not a whole number of at least 1", "'0'"]),
        (["--frames", "many"], ["--frames", "'many'"]),
        (["--seed", "-1"], ["--seed"]),
        (["--frame-size", "2"], ["frame size 2"]),
        (["--max-episode-steps", "0"], ["--max-episode-steps"]),
        (["--workers", "2"], ["--local", "--workers"]),
        (["--wrokers", "2"], ["No such option: --wrokers", "Did you mean '--workers'?"]),
        (["--store", "s3://bucket/cars"], ["s3://bucket/cars is a URL", "copy a finished store"]),
    ],
)
def test_bad_arguments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: list[str]
) -> None:
    path = tmp_path / "store"
    assert run(cli, "factory", [*SMALL, "--store", str(path), *arguments]) == 2
    assert_one_line(capsys.readouterr(), words)
    assert not path.exists()


def assert_one_line(captured: object, words: list[str]) -> None:
    output, error = captured.out, captured.err  # type: ignore[attr-defined]
    assert output == "" and error.startswith("factory: error: ") and error.count("\n") == 1, error
    for word in words:
        assert word in error


def test_more_workers_than_cores_are_said_in_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cores = usable_cores()
    for workers in (cores, cores + 1):
        estimate = [
            "collect",
            "--world",
            "bouncing-logo",
            "--episodes",
            "4",
            "--dry-run",
            "--store",
            str(tmp_path / "a"),
        ]
        assert run(cli, "factory", [*estimate, "--workers", str(workers)]) == 0
        notes = [line for line in capsys.readouterr().err.splitlines() if "workers share" in line]
        assert notes == [
            f"factory: note: {workers} workers share {cores} cores, which is slower than {cores} workers: "
            "leave out --workers"
        ] * (workers > cores)


@pytest.mark.parametrize("workers", ["0", "-3"])
def test_workers_must_be_positive(capsys: pytest.CaptureFixture[str], workers: str) -> None:
    assert run(cli, "factory", ["collect", "--workers", workers]) == 2
    assert_one_line(capsys.readouterr(), ["--workers", "greater than or equal to 1"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--seed", "3"], ["seed 0, not 3", "--append"]),
        (["--world", "CartPole-v1"], ["world", "car-racing", "CartPole-v1"]),
        (["--frame-size", "24"], ["frame_shape", "16", "24"]),
        (["--policy", "uniform"], ["policy", "mixed", "uniform"]),
        (["--option", "hud=true"], ["world_options", "hud"]),
    ],
)
def test_a_store_of_another_run_is_refused_and_left_alone(
    store: Path, capsys: pytest.CaptureFixture[str], change: list[str], words: list[str]
) -> None:
    before = {file: file.stat().st_mtime_ns for file in store.rglob("*")}
    assert run(cli, "factory", [*SMALL, "--store", str(store), *change]) == 2
    assert_one_line(capsys.readouterr(), [str(store), *words])
    assert {file: file.stat().st_mtime_ns for file in store.rglob("*")} == before


def test_json_for_scripts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*SMALL, "--store", str(tmp_path / "store"), "--json"]
    assert run(cli, "factory", [*command, "--dry-run"]) == 0
    (estimate,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert estimate["event"] == "estimate" and estimate["frames"] > 0 and not (tmp_path / "store").exists()
    assert run(cli, "factory", command) == 0
    *progress, done = map(json.loads, capsys.readouterr().out.splitlines())
    assert progress and all(event["event"] == "progress" and event["goal"] for event in progress)
    assert done["event"] == "done" and done["frames"] == Store(tmp_path / "store").rows == done["new_frames"]
    assert 0.3 < estimate["bytes"] / done["bytes_on_disk"] < 3, "the estimate rests on the run's own episodes"
    assert run(cli, "factory", [*command, "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["frames"] == 0


def test_json_through_ray_is_all_that_stdout_has(tmp_path: Path) -> None:
    small = [part for part in SMALL if part not in ("--local", "--quiet")]
    done = factory(*small, "--frames", "1500", "--workers", "2", "--json", "--store", tmp_path / "store")
    assert done.returncode == 0 and done.stderr == "", done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["event"] for event in events] == ["progress"] * (len(events) - 1) + ["done"] and len(events) > 1


def test_dry_run_says_what_would_be_refused(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cli, "factory", [*SMALL, "--store", str(store), "--dry-run", "--seed", "3"]) == 2
    assert_one_line(capsys.readouterr(), ["--append"])
    assert run(cli, "factory", [*SMALL, "--store", str(store), "--dry-run", "--seed", "3", "--append"]) == 0
    assert "would make" in capsys.readouterr().out


def test_several_worlds_fill_sibling_stores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worlds = ["--world", "CartPole-v1", "--world", "MountainCar-v0", "--frame-size", "16", "--episodes", "2"]
    arguments = ["collect", *worlds, "--max-episode-steps", "20", "--local", "--quiet"]
    assert run(cli, "factory", [*arguments, "--data", str(tmp_path)]) == 0
    assert [len(Store(tmp_path / name).episodes) for name in ("CartPole-v1", "MountainCar-v0")] == [2, 2]
    capsys.readouterr()
    assert run(cli, "factory", [*arguments, "--store", str(tmp_path / "one")]) == 2
    assert_one_line(capsys.readouterr(), ["--data"])
    assert run(cli, "factory", [*arguments, "--frames", "3"]) == 2
    assert_one_line(capsys.readouterr(), ["--episodes", "one goal"])


@pytest.mark.parametrize("command", ["status", "preview"])
def test_stores_that_cannot_be_read(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert run(cli, "factory", [command, str(tmp_path / "nowhere")]) == 2
    assert_one_line(capsys.readouterr(), ["nowhere"])
    assert not (tmp_path / "nowhere").exists()
    assert run(cli, "factory", [command, str(tmp_path)]) == 2
    assert_one_line(capsys.readouterr(), ["not a store"])
    newer = tmp_path / "newer"
    newer.mkdir()
    document = json.loads((store / "dataset.json").read_text())
    (newer / "dataset.json").write_text(json.dumps({**document, "schema_version": 99}))
    assert run(cli, "factory", [command, str(newer)]) == 2
    assert_one_line(capsys.readouterr(), ["newer"])


def test_an_empty_store_cannot_be_previewed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from factory.collecting.job import make_job
    from shared.store.dataset import create_store

    create_store(tmp_path / "empty", make_job("CartPole-v1", "mixed", frame_size=16).spec)
    assert run(cli, "factory", ["preview", str(tmp_path / "empty")]) == 2
    assert_one_line(capsys.readouterr(), ["empty"])


def test_a_corrupt_shard_is_named(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    damaged = tmp_path / "damaged"
    shutil.copytree(store, damaged)
    shard = next(damaged.glob("data.zarr/*/frame/c.0.0.0.0"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 3] ^= 0xFF
    shard.write_bytes(content)
    assert run(cli, "factory", ["preview", str(damaged)]) == 2
    assert_one_line(capsys.readouterr(), [str(shard)])


@pytest.mark.parametrize("place", ["/proc/store", "file"])
def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str) -> None:
    (tmp_path / "file").write_text("here already")
    path = place if place.startswith("/") else str(tmp_path / place)
    assert run(cli, "factory", [*SMALL, "--store", path]) == 2
    assert_one_line(capsys.readouterr(), [path])
    assert (tmp_path / "file").read_text() == "here already"


def test_without_ray_the_way_out_is_named(tmp_path: Path) -> None:
    (tmp_path / "ray.py").write_text("raise ImportError('No module named ray')\n")
    done = factory(
        "collect", "--workers", "2", "--frames", "2000", "--store", tmp_path / "s", "--quiet", PYTHONPATH=str(tmp_path)
    )
    assert done.returncode == 2
    assert done.stderr == (
        "factory: error: Ray is not installed: pip install 'tinyjepa[factory]', or simulate with --local\n"
    )


@pytest.mark.parametrize("address", ["127.0.0.1:1", "a..b:6379", "x" * 70 + ":6379"])
def test_an_address_that_nobody_answers(tmp_path: Path, address: str) -> None:
    done = factory("collect", "--address", address, "--frames", "2000", "--store", tmp_path / "s", "--quiet")
    assert done.returncode == 2
    assert done.stderr.startswith(f"factory: error: no Ray cluster answers at {address}")
    assert done.stderr.count("\n") == 1


def test_an_option_that_is_the_default_anyway_is_no_other_world(tmp_path: Path) -> None:
    """The default dataset of two rooms names the walls that a policy alone leaves to the default."""
    small = ["collect", "--world", "two-room", "--episodes", "2", "--local", "--quiet", "--store", tmp_path / "s"]
    assert factory(*small).returncode == 0
    done = factory(*small, "--policy", "wander", "--seed", "5", "--append")
    assert done.returncode == 0, done.stderr
    assert len(Store(tmp_path / "s").runs) == 2
    done = factory(*small, "--policy", "wander", "--seed", "6", "--append", "--option", "collision=stop")
    assert done.returncode == 2 and "has world_options" in done.stderr
    done = factory(*small[:-1], tmp_path / "t", "--policy", "wander", "--seed", "5")
    assert done.returncode == 0 and Store(tmp_path / "t").spec.world_options == {}
    assert factory(*small[:-1], tmp_path / "t", "--append").returncode == 0


def test_factors_are_sampled_set_shown_and_refused(tmp_path: Path) -> None:
    small = ("collect", "--local", "--quiet", "--world", "bouncing-logo", "--episodes", "3", "--store", tmp_path / "a")
    assert factory(*small, "--vary", "speed", "--set-factor", "logo_size=1.5").returncode == 0
    status = factory("status", tmp_path / "a").stdout
    assert "logo_size 1.5 in every episode; speed sampled per episode, " in status
    assert factory(*small, "--vary", "speed").returncode == 2  # another choice is another store
    wrong = factory(*small, "--vary", "sped")
    assert wrong.returncode == 2 and "unknown factor 'sped'. Did you mean 'speed'?" in wrong.stderr
