"""Stores from strangers: they cannot run code, write elsewhere, or end us untidily."""

from __future__ import annotations

import ast
import json
import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brain.cli import cli as brain_cli
from factory.cli import cli as factory_cli
from shared.cli.console import run as run_command
from shared.errors import StoreError, TinyJEPAError
from shared.store.codec import ShardEncoder, crc32c, encode_chunk
from shared.store.gc import leftovers, remove
from shared.store.merge import merge
from shared.store.reader import Store
from shared.store.schema import StoreSpec
from shared.store.source import TAIL_BYTES
from shared.store.verify import verify
from shared.worlds import stored_world
from tests import ROOT
from tests.support.dots import dot_spec, make_dot_store
from tests.support.stores import Body, rewrite_log

FIELDS = ("frame", "action", "reward", "flags", "episode", "state")
TINY = [
    "--steps", "2", "--set", "encoder.width=8", "--set", "encoder.dim=8", "--set", "objective.batch=8",
    "--set", "prediction.batch=16", "--set", "prediction.steps=2", "--set", "energy.anchors=50",
]  # fmt: skip
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dot_store(tmp_path_factory.mktemp("honest") / "store", episodes=6)


@pytest.fixture
def store(honest: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(honest, tmp_path / "store"))


def log_of(store: Path) -> Path:
    return sorted((store / "log").iterdir())[0]


def write_description(store: Path, **changes: Any) -> None:
    """``dataset.json`` with a right checksum."""
    document = json.loads((store / "dataset.json").read_bytes())
    del document["checksum"]
    document |= changes
    text = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    (store / "dataset.json").write_text(json.dumps(document | {"checksum": crc32c(text)}))


def refused(store: Path) -> str:
    """The store, or every episode of its damaged part, is refused in one line."""
    with pytest.raises(StoreError) as caught:
        opened = Store(store)
        for ref in opened.episodes:
            opened.read_episode(ref)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1000
    return str(caught.value)


@pytest.mark.parametrize("name", ["../evil-w00-00000000", "/etc/x-w00-00000000", "a\0b-w00-00000000"])
def test_a_log_that_calls_its_stream_by_a_path(store: Path, name: str) -> None:
    rewrite_log(log_of(store), lambda n, body: body.update(stream=name) if n == 0 else None)
    assert "log of stream" in refused(store)


@pytest.mark.parametrize("key", ["../../../etc/passwd", "/etc/passwd", "frame/../../x", "c\0"])
def test_files_that_a_log_names_are_never_looked_for(store: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rewrite_log(log_of(store), lambda n, body: body.get("files", {}).update({key: [1, 1]}))
    asked: list[str] = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest, **more: (asked.append(str(path)), real(path, *rest, **more))[1])
    opened = Store(store)
    for ref in opened.episodes:
        opened.read_episode(ref)
    assert asked and all(Path(path).resolve().is_relative_to(store) and key not in path for path in asked)


def hostile_bodies() -> dict[str, Callable[[int, Body], None]]:
    def commit(**changes: Any) -> Callable[[int, Body], None]:
        return lambda n, body: body.update(changes) if "i" in body else None

    def header(**changes: Any) -> Callable[[int, Body], None]:
        return lambda n, body: body.update(changes) if n == 0 else None

    def episode(column: int, value: Any) -> Callable[[int, Body], None]:
        return lambda n, body: [entry.__setitem__(column, value) for entry in body.get("episodes", [])] and None

    run = {"seed": 0, "policy": "\x1b]0;evil\x07", "max_episode_steps": 5}
    return {
        "a run that is a list": header(run=[1, 2]),
        "a policy of terminal commands": header(run=run),
        "columns that are a number": header(episode_columns=7),
        "a process number beyond all": header(pid=10**30),
        "rows that are no number": commit(rows="128"),
        "half a row": commit(rows=0.5),
        "files that are a list": commit(files=[]),
        "a size below zero": commit(files={"frame": [-1, 0]}),
        "a petabyte": commit(files={name: [1 << 50, 0] for name in FIELDS}),
        "episodes that are text": commit(episodes="abc"),
        "an episode before the first row": episode(3, -5),
        "an episode number beyond all": episode(0, 10**25),
        "an episode called by terminal commands": episode(2, "\x1b[2J"),
        "factors that are a list": episode(7, [1, 2]),
        "a factor that is text": episode(7, {"friction": "high"}),
        "a factor of no numbers": episode(7, {"friction": []}),
        "a factor called by terminal commands": episode(7, {"\x1b[2J": 1}),
        "more factors than any world has": episode(7, {str(n): 1 for n in range(300)}),
    }


@pytest.mark.parametrize("name", hostile_bodies())
def test_log_lines_with_right_checksums_and_wrong_values(store: Path, name: str) -> None:
    rewrite_log(log_of(store), hostile_bodies()[name])
    assert "the log is damaged" in refused(store)
    assert verify(store).faults
    assert Store(store, on_corrupt="skip").damaged_logs


def test_log_lines_that_are_too_deep_too_long_or_no_json(store: Path) -> None:
    log = log_of(store)
    text = b'{"a":' + DEEP.encode()
    log.write_bytes(text + b',"c":"%08x"}\n' % crc32c(text))
    assert "the log is damaged" in refused(store)
    with log.open("wb") as file:
        file.truncate(TAIL_BYTES * 1000)  # sparse: zeros without end
    assert "a line without end" in refused(store)


@pytest.mark.parametrize("place", ["log", "data.zarr", "stream", "field", "chunk", "line"])
def test_symbolic_links_lead_nowhere(store: Path, tmp_path: Path, place: str) -> None:
    log = log_of(store)
    stream = store / "data.zarr" / log.stem
    victim = {
        "log": store / "log", "data.zarr": store / "data.zarr", "stream": stream, "field": stream / "frame",
        "chunk": stream / "frame" / "c.0.0.0.0", "line": log,
    }[place]  # fmt: skip
    outside = tmp_path / "outside"
    victim.rename(outside)
    victim.symlink_to(outside)
    assert "symbolic link" in refused(store)
    with pytest.raises((TinyJEPAError, OSError), match="symbolic link"):
        merge([store], tmp_path / "merged")


def test_gc_and_preview_follow_no_link(store: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.partial").write_text("years")
    (precious / "c.99.0.0.0").write_text("years")
    stream = store / "data.zarr" / log_of(store).stem
    shutil.rmtree(stream / "frame")
    (stream / "frame").symlink_to(precious)
    (store / "data.zarr" / "evil-w00-00000000").symlink_to(precious)
    os.utime(precious, (0, 0))
    remove(leftovers(store, older_than=0))
    assert {path.name for path in precious.iterdir()} == {"thesis.partial", "c.99.0.0.0"}
    (store / "preview").mkdir()
    (store / "preview" / "contact-sheet.png").symlink_to(precious / "thesis.partial")
    assert run_command(factory_cli, "factory", ["preview", str(store)]) == 2
    assert (precious / "thesis.partial").read_text() == "years"


@pytest.mark.parametrize(
    "changes",
    [
        {"frame_shape": [60000, 60000, 3]},
        {"shard_rows": 1 << 40, "inner_rows": 1 << 39},
        {"state_names": ["x"] * 100_000},
        {"action_dim": 1 << 40},
        {"control_rate": 1e400},
        {"world": "\x1b[2Jcars"},
        {"state_names": ["x\n", "y", "vx", "vy"]},
        {"inner_rows": 0},
    ],
)  # fmt: skip
def test_a_description_that_asks_for_too_much(store: Path, changes: Body) -> None:
    write_description(store, **changes)
    assert "dataset.json is damaged" in refused(store)


def test_a_description_that_is_no_description(store: Path) -> None:
    for text in (DEEP, '{"schema_version": 2, "x": %s}' % ("[" * 900 + "]" * 900), "1" * 10_000, "[]", "null", '"x"'):
        (store / "dataset.json").write_text(text)
        refused(store)
    with (store / "dataset.json").open("wb") as file:
        file.truncate(1 << 40)
    assert "larger than any" in refused(store)
    (store / "dataset.json").unlink()
    os.mkfifo(store / "dataset.json")
    assert "plain file" in refused(store)


def test_bombs_and_lies_in_chunks(store: Path) -> None:
    """Chunks that decode to more than their rows, and an index that points outside, with right checksums."""
    spec = dot_spec()
    stream = store / "data.zarr" / log_of(store).stem
    log = log_of(store)
    honest = log.read_bytes()

    def claim(field: str, size: int, crc: int) -> None:
        log.write_bytes(honest)
        rewrite_log(log, lambda n, body: body["files"].update({field: [size, crc]}) if body.get("i") == 0 else None)

    flags = (stream / "flags" / "c.0").read_bytes()
    for megabytes, reason in ((16, "expected at least"), (128, "more than its rows")):
        bomb, crc = encode_chunk(np.zeros(megabytes << 20, np.uint8))
        (stream / "flags" / "c.0").write_bytes(bomb)
        claim("flags", len(bomb), crc)
        assert reason in refused(store)
    (stream / "flags" / "c.0").write_bytes(flags)
    encoder = ShardEncoder(spec.shard_rows // spec.inner_rows)
    for _ in range(spec.shard_rows // spec.inner_rows):
        encoder.add(np.zeros((spec.inner_rows, *spec.frame_shape), np.uint8))
    for offset, size in ((1 << 60, 100), (0, 1 << 60), (0, 2), (-1 % (1 << 64), 5)):
        encoder._index[3] = offset, size
        parts, crc = encoder.finish()
        data = b"".join(parts)
        (stream / "frame" / "c.0.0.0.0").write_bytes(data)
        claim("frame", len(data), crc)
        assert "outside the file" in refused(store)


def test_a_quarantine_list_of_other_things(store: Path) -> None:
    for shards in ({"x": 5}, {"x": ["../.."]}, {"x": [[]]}, 7):
        text = json.dumps(shards, sort_keys=True, separators=(",", ":")).encode()
        (store / "quarantine.json").write_text(json.dumps({"shards": shards, "checksum": crc32c(text)}))
        assert "quarantine.json" in refused(store)
    (store / "quarantine.json").write_text(DEEP)
    assert "quarantine.json" in refused(store)


def test_a_world_that_names_a_module_is_not_imported(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evilmodule.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    monkeypatch.syspath_prepend(tmp_path)
    shutil.rmtree(store)
    spec = dot_spec().model_dump() | {"world": "evilmodule:Evil-v0"}
    monkeypatch.setattr("tests.support.dots.dot_spec", lambda size: StoreSpec(**spec))
    make_dot_store(store)
    export = ["export", "--format", "minari", "--out", str(tmp_path / "o")]
    for arguments in (["status"], ["verify"], ["preview"], export):
        run_command(factory_cli, "factory", [arguments[0], str(store), *arguments[1:]])
    assert not (tmp_path / "ran").exists()
    trained = str(tmp_path / "run")
    assert run_command(brain_cli, "brain", ["train", "--store", str(store), "--run", trained, "--quiet", *TINY]) == 0
    assert run_command(brain_cli, "brain", ["judge", "--run", trained, "--quiet"]) == 0
    run_command(brain_cli, "brain", ["export", "--run", trained, "--onnx", "--out", str(tmp_path / "graphs")])
    run_command(brain_cli, "brain", ["export", "--run", trained, "--web", str(tmp_path / "page")])
    plan = ["plan", "--run", trained, "--task", "reward", "--quiet"]
    with socket.create_server(("127.0.0.1", 0)) as taken:  # so that brain live ends once it has opened the run
        live = ["live", "--run", trained, "--port", str(taken.getsockname()[1])]
        for command in (plan, live):
            capsys.readouterr()
            assert run_command(brain_cli, "brain", command) == 2
            assert "the store names a module to import, in 'evilmodule:Evil-v0'" in capsys.readouterr().err
        assert not (tmp_path / "ran").exists()
        for command in (plan, live):
            assert run_command(brain_cli, "brain", [*command, "--trust-world"]) == 2
            assert (tmp_path / "ran").exists(), "it is imported when told"
            (tmp_path / "ran").unlink()
            del sys.modules["evilmodule"]


def test_a_stores_world_options_cannot_name_another_world() -> None:
    for options in ({"id": "evilmodule:Evil-v0"}, {"name": "two-room"}, {"frame_size": 8}):
        with pytest.raises(TinyJEPAError, match="world options set"):
            stored_world("CartPole-v1", 16, options)


def test_nothing_unpickles() -> None:
    """No module of ours imports pickle or its like, calls ``torch.load``, or lets numpy load objects."""
    forbidden = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    within = {"multiprocessing.reduction", "multiprocessing.managers"}
    calls = {("torch", "load"), ("yaml", "load"), ("yaml", "unsafe_load"), ("np", "load"), ("numpy", "load")}
    guilty = []
    for package in ("shared", "factory", "brain"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import) and forbidden & {alias.name.split(".")[0] for alias in node.names}:
                    guilty.append(f"{file}:{node.lineno}")
                if isinstance(node, ast.ImportFrom) and (
                    (node.module or "").split(".")[0] in forbidden or node.module in within
                ):
                    guilty.append(f"{file}:{node.lineno}")
                if isinstance(node, ast.Call) and _is_loading(node, calls):
                    guilty.append(f"{file}:{node.lineno}")
    assert not guilty


def _is_loading(node: ast.Call, calls: set[tuple[str, str]]) -> bool:
    """A call of one of ``calls``, or of ``eval`` or ``exec``; ``np.load`` of our own package's tables is fine."""
    if isinstance(node.func, ast.Name):
        return node.func.id in ("eval", "exec", "__import__")
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        if (node.func.value.id, node.func.attr) not in calls:
            return False
        return not any(key.arg == "allow_pickle" and not ast.literal_eval(key.value) for key in node.keywords)
    return False
