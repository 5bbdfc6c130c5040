"""``brain live`` without a browser: scenes, viewers, access, and what is said of bad input."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from brain.cli import cli
from brain.live.events import Event
from brain.live.loaded import Loaded
from brain.live.messages import Command, Packed, pack, scene_state
from brain.live.rides import KEYS, Recordings, WorldRide, keyed_action
from brain.live.scene import Scene
from brain.live.server import bind
from brain.live.viewers import POINTS, Hall
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.worlds import make_world
from tests.support.living import opened

TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def loaded(logo: Path) -> Loaded:
    return opened(logo, logo.parent / "store")


def test_a_teleport_is_noticed_and_overcome(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=3)
    threshold = loaded.calibration.threshold
    assert threshold is not None
    moments = [scene.advance() for _ in range(20)]
    assert moments[0].cut and moments[0].energy is None and moments[5].energy is not None
    assert scene.play("teleport")
    moments += [scene.advance() for _ in range(20)]
    energies = [moment.energy for moment in moments]
    assert all(energy < threshold for energy in energies[3:20]), "the world as it is is plausible"
    assert energies[20] > threshold and moments[20].intervention == "teleport"
    assert all(energy < threshold for energy in energies[23:]), "two frames on it sees true frames again"
    (event,) = scene.events
    assert (event.start, event.seen, event.over, event.open) == (21, 21, 23, False) and event.peak >= energies[20]
    elsewhere = [moment.elsewhere_energy for moment in moments[3:20]]
    assert np.median(elsewhere) > threshold, "the proposal of another course is impossible"


def test_the_energy_is_the_models(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=5)
    moments = [scene.advance() for _ in range(8)]
    model = loaded.model
    frames = torch.from_numpy(np.stack([moment.frame for moment in moments]))[None]
    z = model.encode(frames)[0]  # (7, D): stack 2, stride 1
    none = torch.zeros(len(z) - 1, 0)
    expected = model.energy(z[:-1], none, z[1:], loaded.calibration.kind)
    got = [moment.energy for moment in moments[2:]]
    assert np.allclose(got, expected.numpy(), rtol=1e-4)
    assert np.allclose(moments[-1].z, z[-1].numpy(), atol=1e-5)
    foreseen, _ = model.predict(z[-2:-1], none[:1])
    assert np.allclose(moments[-1].foreseen, foreseen[0].numpy(), atol=1e-5)


@pytest.mark.parametrize("replay", [False, True])
def test_interventions_show_what_they_say(loaded: Loaded, logo: Path, replay: bool) -> None:
    scene = Scene(opened(logo, logo.parent / "store", replay=True) if replay else loaded, seed=2)
    before = [scene.advance() for _ in range(20)]
    assert scene.play("teleport") and scene.play("freeze"), "the last one counts"
    frozen = [scene.advance() for _ in range(scene.intervention_frames)]
    assert all(np.array_equal(moment.frame, before[-1].frame) for moment in frozen)
    after = scene.advance()
    assert after.intervention is None and not np.array_equal(after.frame, frozen[-1].frame)
    assert scene.play("reverse")
    video = [*before, *frozen, after]
    backwards = [scene.advance() for _ in range(scene.intervention_frames)]
    for shown, past in zip(backwards, reversed(video[-1 - scene.intervention_frames : -1])):
        assert np.array_equal(shown.frame, past.frame)
    assert scene.play("freeze"), "it waits until all frames are true again"
    there_and_back = [scene.advance() for _ in range(scene.intervention_frames)]
    assert np.array_equal(there_and_back[-1].frame, after.frame) and there_and_back[-1].intervention == "reverse"
    assert scene.advance().intervention == "freeze"
    assert scene.why_not("wrong-action") and not scene.play("wrong-action"), "nobody acts here"


@pytest.mark.parametrize("shape", [(3,), (200,), (49, 12)])
def test_the_bars_are_spread_over_a_latent_of_any_shape(loaded: Loaded, shape: tuple[int, ...]) -> None:
    latent = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    scene = Scene(loaded, seed=1)
    moment = dataclasses.replace(scene.advance(), z=latent, foreseen=None)
    shown = json.loads(pack(moment).view)["z"]
    assert len(shown) == min(128, latent.size) and shown == sorted(shown)
    assert (shown[0], shown[-1]) == (0, latent.size - 1)


def test_numbers_that_are_not_finite_are_valid_json(loaded: Loaded) -> None:
    """Python writes Infinity and NaN, which no browser reads."""

    def read(text: bytes | str) -> Any:
        return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    calibration = dataclasses.replace(loaded.calibration, threshold=float("inf"))
    scene = Scene(dataclasses.replace(loaded, calibration=calibration), seed=1)
    scene.events.append(Event("freeze", 1, 2, peak=float("inf")))
    wild = np.full(8, np.nan, np.float32)
    moment = dataclasses.replace(
        scene.advance(), energy=float("nan"), z=wild, foreseen=wild, place=(float("inf"), 0.0),
        dream=(1, 2, float("inf"), None),
    )  # fmt: skip
    packed = pack(moment)
    assert read(json.dumps(packed.point))[1] is None
    assert read(packed.view)["dream"]["error"] is None and set(read(packed.view)["z"]) == {None}
    state = read(json.dumps(scene_state(scene)))
    assert state["events"][-1]["peak"] is None and state["threshold"] is None
    state = scene_state(Scene(loaded, seed=1))
    assert state["threshold"] == loaded.calibration.threshold


def test_a_scene_is_deterministic(loaded: Loaded) -> None:
    def video() -> list[tuple[Any, ...]]:
        scene = Scene(loaded, seed=11)
        seen = []
        for number in range(40):
            if number == 20:
                scene.play("teleport")
            moment = scene.advance()
            seen.append((moment.number, moment.energy, moment.elsewhere_energy, moment.frame.tobytes()))
        return seen

    assert video() == video()


def test_a_dream_goes_on_alone(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=1)
    assert not scene.dream(5), "nothing was seen yet"
    for _ in range(10):
        latest = scene.advance()
    assert scene.dream(5) and latest.z is not None
    moments = [scene.advance() for _ in range(8)]
    assert [moment.dream[0] for moment in moments if moment.dream] == [1, 2, 3, 4, 5, 5, 5, 5]
    expected = loaded.model.rollout(torch.from_numpy(latest.z)[None], torch.zeros(1, 5, 0))[0, -1].numpy()
    assert moments[4].z is not None and moments[4].dream is not None
    assert np.isclose(moments[4].dream[2], np.square(expected - moments[4].z).mean(), rtol=1e-3)
    assert moments[4].dream[3] is not None and moments[4].dream[3].shape == (16, 16, 1)


def test_another_episode_begins_where_one_ends(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=4)
    moments = [scene.advance() for _ in range(130)]
    cuts = [moment.number for moment in moments if moment.cut]
    assert cuts == [1, 65, 129], "episodes of 64 rows"
    assert moments[64].energy is None and moments[66].energy is not None, "nothing leads from one to the next"


def test_an_event_ends_with_its_episode(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=4)
    for _ in range(63):
        scene.advance()
    assert scene.play("freeze")
    for _ in range(scene.intervention_frames):
        scene.advance()
    (event,) = scene.events
    assert event.start == 64 and event.stop == 64 + scene.intervention_frames and event.open
    event.seen = event.start  # whatever the model makes of it
    event.follow = lambda *_: None  # type: ignore[method-assign]
    while not (moment := scene.advance()).cut:
        assert event.open
    assert not event.open and event.over == moment.number


def test_a_click_between_two_episodes_is_not_lost(loaded: Loaded) -> None:
    scene = Scene(loaded, seed=4)
    while scene.number < 65:
        moment = scene.advance()
    assert moment.cut and scene.play("teleport"), "one frame is no clip yet"
    assert [scene.advance().intervention for _ in range(3)] == [None, "teleport", None]


@pytest.mark.parametrize("replay", [False, True])
def test_no_teleport_is_lost_wherever_the_other_trajectory_is(loaded: Loaded, logo: Path, replay: bool) -> None:
    """At its last frame it leads nowhere: another one begins for it."""
    scene = Scene(opened(logo, logo.parent / "store", replay=True) if replay else loaded, seed=4)
    for _ in range(200):
        assert scene.play("teleport")
        shown = [scene.advance() for _ in range(4)]
        cuts = [moment.cut for moment in shown]
        assert [moment.intervention for moment in shown].count("teleport") == 1
        assert shown[0].intervention == "teleport" or any(cuts), "it waits for nothing but an episode's beginning"


def test_keys_steer_a_world() -> None:
    world = make_world("car-racing", 16)
    assert keyed_action(world, frozenset({"left", "up", "other"})).tolist() == [-1.0, 1.0, 0.0]
    assert keyed_action(world, frozenset({"left", "right"})).tolist() == [0.0, 0.0, 0.0]
    ride = WorldRide(world, Recordings(None, {}), np.random.default_rng(0))
    ride.begin(KEYS)
    actions = [ride.step(KEYS, frozenset({"up"})) for _ in range(3)]
    assert all(action is not None and action.tolist() == [0.0, 1.0, 0.0] for action in actions)
    ride.begin("random")
    held = [ride.step("random", frozenset()).tolist() for _ in range(40)]  # type: ignore[union-attr]
    assert 2 < len({tuple(action) for action in held}) < 21, "held for several steps each"


def test_a_slow_viewer_gets_all_points_and_the_newest_picture(loaded: Loaded) -> None:
    async def main() -> None:
        hall = Hall()
        scene = Scene(loaded)
        slow = hall.enter()
        for _ in range(POINTS + 50):
            hall.moment(pack(scene.advance()))
        assert len(slow._points) == POINTS
        (data,) = await slow.take()
        assert isinstance(data, bytes)
        header, pixels = parse(data)
        assert [point[0] for point in header["points"]] == list(range(51, POINTS + 51))
        names = [name for name, _, _ in header["view"]["tiles"]]
        assert names == ["world", "elsewhere", "foreseen"] and len(pixels) == 3 * 16 * 16 * 3
        late = hall.enter()
        assert len(late._points) == POINTS, "who comes later sees the past too"
        hall.leave(slow)
        hall.state({"scene": 2}, fresh=True)
        assert [type(item) for item in await late.take()] == [str], "points of another scene mean nothing"

    asyncio.run(main())


def parse(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:4], "little")
    return json.loads(data[4 : 4 + length]), data[4 + length :]


@pytest.mark.parametrize("text", ["", "[]", "[" * 4000, '{"do": "rm"}', '{"do": 3}', '{"value": 1}'])
def test_what_is_no_command(text: str) -> None:
    with pytest.raises(TinyJEPAError):
        Command.parse(text)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run(cli, "brain", ["live", *arguments]) == 2
    error = capsys.readouterr().err
    lines = [line for line in error.splitlines() if line.startswith("brain: error:")]
    assert len(lines) == 1 and "Traceback" not in error
    return lines[0]


def test_bad_input_is_one_line(logo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert f"port {port}" in refused(capsys, "--run", str(logo), "--port", str(port))
    assert "no run folder" in refused(capsys, "--run", str(tmp_path))
    assert "token" in refused(capsys, "--run", str(logo), "--token", "x")
    assert "no address" in refused(capsys, "--run", str(logo), "--host", "no.such.host.invalid")
    for name, content in (
        ("encoder.safetensors", b"x"), ("decoder.safetensors", b"x" * 99), ("judge.json", b"{"),
        ("judge.json", b'{"energy": 3}'), ("run.json", b"{}"), ("run.json", b"[1]"), ("recipe.toml", b"name = ["),
    ):  # fmt: skip
        damaged = tmp_path / "damaged"
        shutil.rmtree(damaged, ignore_errors=True)
        shutil.copytree(logo, damaged)
        (damaged / name).write_bytes(content)
        assert name in refused(capsys, "--run", str(damaged), "--port", "0"), (name, content)


def test_what_is_missing_is_said(logo: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(logo, bare)
    (bare / "decoder.safetensors").unlink()
    alone = opened(bare, None)
    assert alone.policies == ("random",) and alone.decoder is None
    assert any("brain dream" in note for note in alone.notes) and any("No stored" in note for note in alone.notes)
    assert Scene(alone).advance().drawn is None
    (bare / "judge.json").unlink()
    with pytest.raises(TinyJEPAError, match="--store"):
        opened(bare, None)
    unjudged = opened(bare, logo.parent / "store", replay=True)
    assert unjudged.calibration.threshold is None and not unjudged.simulated
    assert unjudged.policies == ("recorded:none",) and any("brain judge" in note for note in unjudged.notes)
    scene = Scene(unjudged)
    for _ in range(12):
        scene.advance()
    assert scene.play("teleport") and pack(scene.advance()).point[3] == "teleport"


def test_a_world_that_is_not_installed_is_replayed(dots: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = ["--set", "encoder.dim=8", "--set", "encoder.width=4", "--set", "objective.batch=16", "--steps", "5"]
    for stage in ("encoder", "predictor"):
        arguments = ["train", "--store", str(dots), "--run", str(folder), *small, "--stage", stage, "--quiet"]
        assert run(cli, "brain", arguments) == 0
    found = opened(folder, dots)
    assert not found.simulated and any("cannot run" in note for note in found.notes)
    scene = Scene(found)
    for _ in range(30):
        scene.advance()
    assert scene.play("wrong-action")
    assert isinstance(pack(scene.advance()), Packed)


def test_the_film(logo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "video.mp4"
    assert run(cli, "brain", ["judge", "--run", str(logo), "--video", str(file), "--seconds", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("Teleport at frame") and "noticed after 0 frames" in lines[0]
    with av.open(str(file)) as video:
        pictures = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(pictures) == 75 and pictures[0].shape == (480, 1280, 3)
    assert run(cli, "brain", ["judge", "--run", str(logo), "--video", str(tmp_path / "no" / "video.mp4")]) == 2
    assert run(cli, "brain", ["judge", "--run", str(logo), "--video", str(tmp_path / "video.txt")]) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_the_command(logo: Path) -> None:
    """A real process: two runs of one name, a token, Ctrl-C."""
    command = [sys.executable, "-m", "brain.cli", "live", "--run", str(logo), "--run", f"{logo}/../logo", "--port", "0"]
    environment = os.environ | {"TINYJEPA_LIVE_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as live:
        try:
            assert live.stdout and live.stderr
            url = live.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:") and url.endswith(f"/?token={TOKEN}"), live.stderr.read()
            with urllib.request.urlopen(url, timeout=10) as answer:
                assert b"TinyJEPA" in answer.read()
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(url.split("?")[0], timeout=10)
            live.send_signal(signal.SIGINT)
            assert live.wait(20) == 0 and live.stderr.read() == ""
        finally:
            live.kill()


def test_a_port_is_bound_once() -> None:
    with bind("127.0.0.1", 0) as one, pytest.raises(TinyJEPAError, match="in use"):
        bind("127.0.0.1", one.getsockname()[1])
    assert isinstance(one, socket.socket)
