"""``factory gc`` takes what killed writers left, and nothing else; real writer processes, killed with -9."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from factory.cli import cli
from shared.cli.console import run
from shared.store import process
from shared.store.dataset import create_store
from shared.store.gc import leftovers, remove
from shared.store.reader import Store
from shared.store.verify import verify
from shared.store.writer import StreamWriter
from tests.support.stores import RUN, Body, check_episodes, noise_episode, rewrite_log, small_spec

CODE = """
import sys, time
from pathlib import Path
from shared.store import process
from shared.store.dataset import create_store
from shared.store.writer import StreamWriter
from tests.support.stores import RUN, noise_episode, small_spec
path, process.BOOT, process.PID_NAMESPACE = map(Path, sys.argv[1:])
writer = StreamWriter(path, create_store(path, small_spec()), RUN, 0)
for index in range(6):
    writer.append(noise_episode(small_spec(), index))
stray = path / "data.zarr" / writer.name / "frame" / "c.40.0.0.0"
stray.write_bytes(b"written, and not committed")
print("ready", flush=True)
time.sleep(600)
"""


@contextmanager
def writer_process(path: Path, *prefix: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds a stream open; it is gone afterwards, whatever happens."""
    places = [str(place) for place in (path, process.BOOT, process.PID_NAMESPACE)]
    with subprocess.Popen([*prefix, sys.executable, "-c", CODE, *places], stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
            yield child
        finally:
            child.kill()


def age(path: Path, seconds: float) -> None:
    then = time.time() - seconds
    for inner in [path, *path.rglob("*")]:
        os.utime(inner, (then, then))


@pytest.mark.usefixtures("this_machine")
def test_nothing_of_a_living_writer_goes_and_all_of_a_dead_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with writer_process(tmp_path):
        assert not leftovers(tmp_path, older_than=0)
    before = [ref.index for ref in Store(tmp_path).episodes]
    assert run(cli, "factory", ["gc", str(tmp_path), "--dry-run"]) == 0
    assert "would free" in capsys.readouterr().out and len(verify(tmp_path).unknown) == 1
    assert run(cli, "factory", ["gc", str(tmp_path)]) == 0
    assert "c.40.0.0.0: a shard that was never committed, 26 bytes" in capsys.readouterr().out
    store = Store(tmp_path)
    assert [ref.index for ref in store.episodes] == before and before
    check_episodes(store)
    assert not verify(tmp_path).unknown and not verify(tmp_path).faults
    assert run(cli, "factory", ["gc", str(tmp_path / "nowhere")]) == 2


def long_ago(path: Path, change: Callable[[Body], None]) -> None:
    """The first line of each log changed, and the store's last change two hours ago."""

    def back(number: int, body: Body) -> None:
        body["time"] -= 7200
        if number == 0:
            change(body)

    for log in (path / "log").glob("*.jsonl"):
        rewrite_log(log, back)
    age(path, 7200)


def of_an_earlier_version(body: Body) -> None:
    body.pop("boot", None), body.pop("pid_namespace", None)


@pytest.mark.usefixtures("this_machine")
@pytest.mark.parametrize(
    "change",
    [
        lambda body: body.update(boot="another"),
        lambda body: body.update(pid_namespace="pid:[1]"),
        lambda body: body.update(boot="", pid_namespace=""),
        lambda body: body.update(host="elsewhere"),
        of_an_earlier_version,
    ],
)
def test_a_process_that_cannot_be_looked_for_here_is_not_gone(tmp_path: Path, change: Callable[[Body], None]) -> None:
    """Its number is that of no process here; it may run in a container, or on a machine of the same name."""
    with writer_process(tmp_path):
        pass
    assert len(leftovers(tmp_path)) == 1
    long_ago(tmp_path, change)
    assert not leftovers(tmp_path)
    (found,) = leftovers(tmp_path, older_than=3600)
    assert found.why == "a shard that was never committed"


def test_a_process_of_an_earlier_version_that_runs_keeps_its_files(tmp_path: Path) -> None:
    with writer_process(tmp_path):
        long_ago(tmp_path, of_an_earlier_version)
        found = leftovers(tmp_path, older_than=0)
    assert not found


def test_a_writer_in_a_container_that_is_called_as_its_host(tmp_path: Path) -> None:
    contain = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
    if shutil.which("unshare") is None or subprocess.run([*contain, "true"], capture_output=True).returncode:
        pytest.skip("no pid namespaces here")
    with writer_process(tmp_path, *contain):
        (stream,) = Store(tmp_path).streams.values()
        log = tmp_path / "log" / f"{stream.name}.jsonl"
        rewrite_log(log, lambda number, body: body.update(pid=1 << 22))  # its number there, which nobody has here
        found = leftovers(tmp_path)
    assert stream.header["host"] == socket.gethostname() and not found


def test_a_writer_process_of_a_failed_test_does_not_stay(tmp_path: Path) -> None:
    began = time.monotonic()
    with pytest.raises(AssertionError), writer_process(tmp_path) as child:
        raise AssertionError
    assert child.returncode == -9 and time.monotonic() - began < 300


def test_where_the_system_tells_no_boot_even_an_own_dead_writer_is_unknown(tmp_path: Path, this_machine: Path) -> None:
    (this_machine / "boot_id").unlink()
    with writer_process(tmp_path):
        pass
    assert not leftovers(tmp_path)
    long_ago(tmp_path, lambda body: None)
    assert len(leftovers(tmp_path, older_than=3600)) == 1


def test_what_has_no_known_writer_goes_by_its_age(tmp_path: Path) -> None:
    spec = create_store(tmp_path, small_spec())
    with StreamWriter(tmp_path, spec, RUN, 0) as writer:
        writer.append(noise_episode(spec, 0))
    data = tmp_path / "data.zarr"
    made = [data / ".vm-w01-00000000.partial", data / "vm-w02-00000001"]
    for folder in made:
        (folder / "frame").mkdir(parents=True)
        (folder / "frame" / "c.0.0.0.0").write_bytes(b"x" * 10)
    made += [tmp_path / "log" / "vm-w03-00000002.jsonl", tmp_path / "dataset.json.abcd1234.partial"]
    for file in made[2:]:
        file.write_bytes(b"half")
    mine = tmp_path / "notes.txt"
    mine.write_text("keep")
    assert not leftovers(tmp_path, older_than=3600)
    for path in made:
        age(path, 7200)
    found = leftovers(tmp_path, older_than=3600)
    assert {leftover.path for leftover in found} == set(made)
    assert remove(found) == sum(leftover.bytes for leftover in found) == 28
    assert not any(path.exists() for path in made) and mine.exists()
    check_episodes(Store(tmp_path))


def test_a_file_that_its_writer_renames_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with writer_process(tmp_path):
        (stream,) = Store(tmp_path).streams
        gone = tmp_path / "data.zarr" / stream / "frame" / "c.9.0.0.0.abcd1234.partial"
        walked = os.walk

        def walk(place: Path) -> Iterator[tuple[str, list[str], list[str]]]:
            for folder, folders, files in walked(place):
                yield folder, folders, [*files, gone.name] if Path(folder) == gone.parent else files

        monkeypatch.setattr(os, "walk", walk)
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
        assert not leftovers(tmp_path, older_than=3600)
