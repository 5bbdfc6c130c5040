"""Environments that print, exit, cannot be imported or are too large: one line, or it works; in real processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shared.store.reader import Store
from tests import ROOT
from tests.support.misbehaving import ID

SMALL = ["--frame-size", "16", "--frames", "60"]


def factory(*arguments: str | Path, folder: Path = ROOT, modules: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "factory.cli", *map(str, arguments)]
    path = os.pathsep.join([str(ROOT), str(modules)])
    environment = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


def assert_one_line(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2 and done.stdout == "", done
    assert done.stderr.startswith("factory: error: ") and done.stderr.count("\n") == 1, done.stderr
    for word in words:
        assert word in done.stderr


@pytest.mark.parametrize("how", [["--local"], ["--local", "--dry-run"], ["--workers", "2", "--frames", "400"]])
def test_what_a_simulation_prints_is_not_among_the_results(tmp_path: Path, how: list[str]) -> None:
    arguments = ["--world", ID, "--option", "how=print", "--store", tmp_path / "store", "--json"]
    done = factory("collect", *SMALL, *how, *arguments)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events[-1] == ("estimate" if "--dry-run" in how else "done") and set(events[:-1]) <= {"progress"}
    for source in ("Python", "C", "the descriptor"):
        assert f"hello from {source}\n" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", ["SyntaxError", "line 1"]),
        ("raise RuntimeError('not\\ntoday')\n", ["RuntimeError: not today"]),
        ("import sys; sys.exit(0)\n", ["SystemExit"]),
        ("import nothing_of_the_kind\n", ["nothing_of_the_kind", "install"]),
        ("x = '\\x00'\n\x00", ["import"]),
    ],
)
def test_a_module_that_cannot_be_imported(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "odd_module.py").write_text(text)
    done = factory("collect", "--local", "--world", "odd_module:X-v0", "--store", tmp_path / "store", modules=tmp_path)
    assert_one_line(done, "odd_module:X-v0", *words)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("option", "more", "words"),
    [
        ("how=exit", [], ["failed in episode 0", "SystemExit: 3"]),
        ("how=exit", ["--dry-run"], ["failed in episode 0", "SystemExit: 3"]),
        ("how=quit", [], ["fails while it is made", "made no more"]),
        ("actions=100000", [], ["Discrete(100000)", "4,096 at most"]),
    ],
)
def test_environments_that_do_not_fit(tmp_path: Path, option: str, more: list[str], words: list[str]) -> None:
    arguments = ["--world", ID, "--option", option, "--store", tmp_path / "store"]
    assert_one_line(factory("collect", *SMALL, "--local", "--quiet", *arguments, *more), ID, *words)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_an_environment_that_fails_as_it_is_closed_loses_nothing(tmp_path: Path, more: list[str]) -> None:
    arguments = ["--world", ID, "--option", "how=unclosable", "--store", tmp_path / "store", "--quiet"]
    done = factory("collect", *SMALL, "--local", *arguments, *more)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert more or Store(tmp_path / "store").rows >= 60


def test_an_environment_that_exits_in_an_actor_is_one_line_too(tmp_path: Path) -> None:
    arguments = ["--world", ID, "--option", "how=exit", "--store", tmp_path / "store", "--quiet"]
    done = factory("collect", "--frame-size", "16", "--frames", "4000", "--workers", "2", *arguments)
    assert_one_line(done, "SystemExit: 3")


@pytest.mark.parametrize("how", [["--local"], ["--workers", "2", "--frames", "400"]])
def test_an_environment_may_change_the_working_directory(tmp_path: Path, how: list[str]) -> None:
    arguments = ["--world", ID, "--option", "how=chdir", "--store", "here/store", "--quiet"]
    done = factory("collect", *SMALL, *how, *arguments, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Store(tmp_path / "here" / "store").rows >= 60
    assert done.stdout.startswith(str(tmp_path / "here" / "store"))


def test_a_reader_finds_its_store_after_a_change_of_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert factory("collect", *SMALL, "--local", "--world", ID, "--store", "s", folder=tmp_path).returncode == 0
    store = Store(Path("s"))
    monkeypatch.chdir("/")
    assert store.read_episode(store.episodes[0])["frame"].any() and store.refresh() == 0


def test_the_largest_seeds_work(tmp_path: Path) -> None:
    for seed in (2**63, 2**80):
        path = tmp_path / str(seed)
        done = factory("collect", *SMALL, "--local", "--world", ID, "--seed", str(seed), "--store", path)
        assert done.returncode == 0, done.stderr
        assert [run.seed for run in Store(path).runs] == [seed]
