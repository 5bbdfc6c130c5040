"""``factory edit``: episodes chosen by number, length, return and policy, in a new store."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from factory.cli import cli
from shared.cli.console import run
from shared.errors import TinyJEPAError
from shared.store.dataset import create_store
from shared.store.edit import edit
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, RunSpec
from shared.store.verify import verify
from shared.store.writer import StreamWriter
from tests.support.stores import RUN, noise_episode, small_spec

OTHER = RunSpec(seed=8, policy="pursuit", max_episode_steps=40)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    path = tmp_path_factory.mktemp("edit") / "store"
    spec = create_store(path, small_spec(split="blocks"))
    for spec_of_run, numbers in ((RUN, range(14)), (OTHER, range(20, 26))):
        with StreamWriter(path, spec, spec_of_run, worker=0) as writer:
            for number in numbers:
                writer.append(noise_episode(spec, number))
    return Store(path)


def total(store: Store, ref: EpisodeRef) -> float:
    return float(store.read_episode(ref, "reward")["reward"].sum())


Kept = Callable[[Store, EpisodeRef], bool]
CHOICES: list[tuple[list[str], list[str], Kept]] = [
    (["0-3,7"], [], lambda store, ref: ref.index in (0, 1, 2, 3, 7)),
    ([], ["0-3, 7", "20"], lambda store, ref: ref.index not in (0, 1, 2, 3, 7, 20)),
    (["steps >= 20"], [], lambda store, ref: ref.rows > 20),
    (["steps>=5", "steps<30"], ["policy=pursuit"], lambda store, ref: 5 < ref.rows <= 30 and ref.policy == "uniform"),
    (["return > 0.5"], [], lambda store, ref: total(store, ref) > 0.5),
    (["policy!=uniform"], ["return<=-1e0"], lambda store, ref: ref.policy == "pursuit" and total(store, ref) > -1),
]


@pytest.mark.parametrize(("keep", "drop", "kept"), CHOICES)
def test_choices(keep: list[str], drop: list[str], kept: Kept, store: Store, tmp_path: Path) -> None:
    expected = [ref for ref in store.episodes if kept(store, ref)]
    assert 0 < len(expected) < len(store.episodes)
    done = edit(Path(store.path), tmp_path / "new", keep, drop, tmp_path / "rest")
    new, rest = Store(tmp_path / "new"), Store(tmp_path / "rest")
    assert done == (len(expected), len(store.episodes) - len(expected)) == (len(new.episodes), len(rest.episodes))
    everything = {(ref.run, ref.index): ref for ref in store.episodes}
    for ref in (*new.episodes, *rest.episodes):
        origin = everything[ref.run, ref.index]
        assert (ref.seed, ref.policy, ref.split) == (origin.seed, origin.policy, origin.split)
        assert (ref.terminated, ref.truncated) == (origin.terminated, origin.truncated)
        source = new if ref in new.episodes else rest
        before, after = store.read_episode(origin), source.read_episode(ref)
        assert all(np.array_equal(before[name], after[name]) for name in before)
    assert [(ref.run, ref.index) for ref in new.episodes] == [(ref.run, ref.index) for ref in expected]
    assert not verify(tmp_path / "new").faults and not verify(tmp_path / "rest").faults


def contents(path: Path) -> dict[str, str]:
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def test_never_in_place(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(Path(store.path))
    command = ["edit", str(store.path), "--drop", "3", "--quiet", "--into"]
    assert run(cli, "factory", [*command, str(store.path)]) == 2
    assert "exists: an edit writes a new store" in capsys.readouterr().err
    assert run(cli, "factory", [*command, str(tmp_path / "new")]) == 0
    assert "19 episodes" in capsys.readouterr().out and contents(Path(store.path)) == before


def test_a_store_is_not_deleted_for_its_name(store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, code in (("new.partial", 0), (".new.partial", 2)):
        source = Path(shutil.copytree(store.path, tmp_path / name))
        before = contents(source)
        for command in (["edit", "--drop", "3", "--into"], ["export", "--format", "hdf5", "--out"]):
            shutil.rmtree(tmp_path / "new", ignore_errors=True)
            (tmp_path / "new").unlink(missing_ok=True)
            arguments = [command[0], str(source), "--quiet", *command[1:], str(tmp_path / "new")]
            assert run(cli, "factory", arguments) == code
            assert contents(source) == before
        error = capsys.readouterr().err
        assert code == 0 or error.count("choose another name") == 2


def test_an_interrupted_edit_is_made_anew(store: Store, tmp_path: Path) -> None:
    """In the first store as in the second: what is there afterwards does not stop the next edit."""
    for last in (5, 15):

        def stop(done: int, total: int, last: int = last) -> None:
            if done == last:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            edit(Path(store.path), tmp_path / "new", ["0-9"], rest=tmp_path / "rest", show=stop)
        assert not (tmp_path / "new").exists() and (tmp_path / ".new.partial").is_dir()
    assert edit(Path(store.path), tmp_path / "new", ["0-9"], rest=tmp_path / "rest").kept == 10
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["new", "rest"]


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("length 3", "chooses no episodes: write numbers such as 0-9,12 or a condition"),
        ("length>3", "has no 'length' to choose by: choose from steps, return, policy"),
        ("steps>many", "'many' is no number"),
        ("policy>pursuit", "compare a policy with"),
        ("7-3", "a range goes from low to high"),
        ("return>1e9", "keeps none of the 20 episodes"),
        ("steps>=0", "all 20 episodes"),
    ],
)
def test_refusals(choice: str, words: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(TinyJEPAError, match=words):
        edit(Path(store.path), tmp_path / "new", [choice], rest=tmp_path / "rest")
    assert not list(tmp_path.iterdir())


def test_a_place_that_would_do_harm_and_a_drop_of_nothing_are_refused(store: Store, tmp_path: Path) -> None:
    path = Path(store.path)
    with pytest.raises(TinyJEPAError, match="lies in the store"):
        edit(path, path / "inside", ["0-9"])
    with pytest.raises(TinyJEPAError, match="the same place"):
        edit(path, tmp_path / "new", ["0-9"], rest=tmp_path / "x" / ".." / "new")
    with pytest.raises(TinyJEPAError, match="--drop 99 selects no episode"):
        edit(path, tmp_path / "new", drop=["3", "99"])
    assert not list(tmp_path.iterdir())
