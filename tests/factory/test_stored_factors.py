"""Factors of variation, stored with every episode: whatever later versions sample, a store says what it holds."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import h5py
import minari
import pyarrow.parquet as pq
import pytest
import zarr

from factory.cli import cli
from factory.collecting.identity import rebuild
from factory.export import FORMATS, export_store
from factory.inspection.factors import values_of
from shared.cli.console import run
from shared.store.reader import Store
from shared.store.verify import verify
from shared.worlds import make_world
from shared.worlds.bouncing_logo import BouncingLogo
from shared.worlds.car_racing import CarRacing
from tests.support.stores import Body, rewrite_log

VARIED = ["--vary", "road_colour,friction", "--set-factor", "grass_colour=[0,0,200]"]


@pytest.fixture(scope="module")
def cars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("factors") / "cars"
    small = ["collect", "--local", "--quiet", "--episodes", "12", "--frame-size", "16", "--max-episode-steps", "20"]
    assert run(cli, "factory", [*small, *VARIED, "--store", str(path)]) == 0
    return path


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A later version of the world, whose training range of friction is another one."""
    moved = [
        dataclasses.replace(one, training=(1.5, 2.0)) if one.name == "friction" else one for one in CarRacing.factors
    ]
    monkeypatch.setattr(CarRacing, "factors", tuple(moved))
    yield


def older(store: Path) -> None:
    """Its logs as versions before the column wrote them."""

    def without(number: int, body: Body) -> None:
        body.get("episode_columns", []).remove("factors") if number == 0 else None
        for entry in body.get("episodes", []):
            del entry[7]

    for log in (store / "log").iterdir():
        rewrite_log(log, without)


def test_every_episode_has_the_values_it_was_made_with(cars: Path, later: None) -> None:
    store = Store(cars)
    assert len(store.episodes) == 12 and not verify(cars).faults
    streams = zarr.open_group(cars / "data.zarr", mode="r").groups()
    assert sum(stream["frame"].shape[0] for _, stream in streams) == store.rows
    for ref in store.episodes:
        assert ref.factors is not None and set(ref.factors) == {"road_colour", "friction", "grass_colour"}
        assert ref.factors["grass_colour"] == (0, 0, 200) and 0.6 <= ref.factors["friction"] <= 1.2
        world = make_world("car-racing", 16, factors=dict(ref.factors))
        assert (world.reset(seed=ref.seed)[0] == store.read_episode(ref, "frame")["frame"][0]).all()
    assert len({ref.factors["friction"] for ref in store.episodes if ref.factors}) == 12


def test_status_shows_them_whatever_is_sampled_today(
    cars: Path, later: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, "factory", ["status", str(cars)]) == 0
    values = [ref.factors["friction"] for ref in Store(cars).episodes if ref.factors]
    shown = capsys.readouterr().out
    assert f"friction sampled per episode, {min(values):.3g} to {max(values):.3g}" in shown
    assert "grass_colour 0/0/200 in every episode" in shown and "computed" not in shown


def test_logs_from_before_are_read_and_their_values_computed(
    cars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:

    copy = Path(shutil.copytree(cars, tmp_path / "old"))
    older(copy)
    old, new = Store(copy), Store(cars)
    values = values_of(old.spec)
    assert [ref.factors for ref in old.episodes] == [None] * 12
    assert [values(ref) for ref in old.episodes] == [ref.factors for ref in new.episodes]
    assert run(cli, "factory", ["status", str(copy)]) == 0
    assert "12 episodes of older logs: computed from their seeds" in capsys.readouterr().out
    assert run(cli, "factory", ["edit", str(copy), "--drop", "0", "--into", str(tmp_path / "new"), "--quiet"]) == 0
    assert [ref.factors for ref in Store(tmp_path / "new").episodes] == [ref.factors for ref in new.episodes][1:]


def test_a_rebuilt_log_leaves_them_to_the_seeds(cars: Path, tmp_path: Path) -> None:

    copy = Path(shutil.copytree(cars, tmp_path / "copy"))
    for log in list((copy / "log").iterdir()):
        log.unlink()
        rebuild(copy, log.stem)
    back = Store(copy)
    values = values_of(back.spec)
    assert [ref.factors for ref in back.episodes] == [None] * 12
    assert [values(ref) for ref in back.episodes] == [ref.factors for ref in Store(cars).episodes]


@pytest.mark.parametrize("choice", ["friction<0.9", "road_colour[1] >= 100", "grass_colour[2]=200"])
def test_edit_chooses_by_them_and_keeps_them(choice: str, cars: Path, tmp_path: Path) -> None:
    assert run(cli, "factory", ["edit", str(cars), "--keep", choice, "--into", str(tmp_path / "a"), "--quiet"]) == 0
    expected = [
        ref.factors
        for ref in Store(cars).episodes
        if ref.factors
        and {
            "friction<0.9": ref.factors["friction"] < 0.9,
            "road_colour[1] >= 100": ref.factors["road_colour"][1] >= 100,
            "grass_colour[2]=200": True,
        }[choice]
    ]
    assert [ref.factors for ref in Store(tmp_path / "a").episodes] == expected != []


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("length>3", "episode 0 has no 'length' to choose by: choose from steps, return, policy, "),
        ("road_colour>3", "factor 'road_colour' has 3 numbers: write road_colour[0] or road_colour[1] or"),
        ("friction[1]>3", "factor 'friction' has 1 number: write friction"),
    ],
)
def test_bad_choices_are_one_line(
    choice: str, words: str, cars: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(cli, "factory", ["edit", str(cars), "--keep", choice, "--into", str(tmp_path / "a"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_exports_have_them(cars: Path, tmp_path: Path) -> None:
    expected = [{name: list(v) if isinstance(v, tuple) else v for name, v in (ref.factors or {}).items()}
                for ref in Store(cars).episodes]  # fmt: skip
    places = {form: tmp_path / (f"{form}.h5" if form == "hdf5" else form) for form in FORMATS}
    for form, place in places.items():
        export_store(cars, form, place)
    with h5py.File(places["hdf5"]) as file:
        assert [json.loads(text) for text in file["episodes/factors"]] == expected
    kept = minari.MinariDataset(places["minari"] / "data").storage.get_episode_metadata(range(12))
    assert [json.loads(each["factors"]) for each in kept] == expected
    episodes = pq.read_table(places["lerobot"] / "meta/episodes/chunk-000/file-000.parquet")
    assert [json.loads(text) for text in episodes["factors"].to_pylist()] == expected
    for form in ("hdf5", "npz"):
        into = tmp_path / f"{form}-back"
        assert run(cli, "factory", ["import", str(places[form]), "--store", str(into), "--quiet"]) == 0
        found = {ref.seed: ref.factors for ref in Store(into).episodes}
        assert found == {ref.seed: ref.factors for ref in Store(cars).episodes}


def test_a_plain_store_has_none(tmp_path: Path) -> None:
    path = tmp_path / "logos"
    command = ["collect", "--local", "--quiet", "--world", "bouncing-logo", "--episodes", "3", "--store", str(path)]
    assert run(cli, "factory", command) == 0
    assert [ref.factors for ref in Store(path).episodes] == [{}] * 3
    assert BouncingLogo.factors
