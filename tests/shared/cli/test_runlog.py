"""The log file of a run: what a person wants after two days, no secrets, and nothing that it can break."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from brain.cli import cli as brain
from factory.cli import cli as factory
from shared.cli import runlog
from shared.cli.console import run
from shared.cli.runlog import LOG, keep
from shared.cli.secrets import without_secrets
from shared.errors import TinyJEPAError
from shared.store.reader import Store
from shared.store.verify import verify
from shared.store.writer import host_name
from tests.factory.test_collect import ROOT
from tests.support.disks import tmpfs

TOKEN = "5f1e0c9a77b24d3e8f60aa51c2d94b7e"
KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ (INFO|WARNING|ERROR|CRITICAL) +\S")


def collect(store: Path, *more: str) -> int:
    command = ["collect", "--world", "bouncing-logo", "--local", "--quiet", "--store", str(store), *more]
    return run(factory, "factory", command)


def log_of(store: Path) -> Path:
    return store / f"collect-{host_name()}.log"


def train(store: Path, folder: Path, *more: str) -> int:
    command = ["train", "--recipe", "bouncing-logo", "--store", str(store), "--run", str(folder), "--stage", "encoder"]
    return run(brain, "brain", [*command, "--steps", "3", "--quiet", *more])


def test_a_collection_and_a_training_tell_how_they_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog, "EVERY_SECONDS", 0.0)
    store, folder = tmp_path / "store", tmp_path / "run"
    assert collect(store, "--episodes", "8") == 0
    text = log_of(store).read_text()
    assert all(STAMP.match(line) for line in text.splitlines())
    assert f"started: factory collect --world bouncing-logo --local --quiet --store {store} --episodes 8" in text
    for words in ("versions: Python 3.", "numpy ", "machine: ", " cores", "of 8 episodes", "frames/s", "ended well"):
        assert words in text, words
    assert not verify(store).faults and Store(store).rows > 0
    assert train(store, folder) == 0
    text = (folder / "train.log").read_text()
    for words in ("started: brain train", "torch ", f"store {store} on cpu", "encoder: begins at step 0", "loss"):
        assert words in text, words
    assert "encoder: trained (3 steps" in text and "ended well" in text


def test_a_second_start_appends(tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert collect(store, "--episodes", "2") == 0
    with log_of(store).open("a") as file:
        file.write("half a line of a process that was killed")
    assert collect(store, "--episodes", "3") == 0
    lines = log_of(store).read_text().splitlines()
    assert sum("started: " in line for line in lines) == 2
    assert all(STAMP.match(line) for line in lines if not line.startswith("half"))
    assert log_of(store).stat().st_mode & 0o007 == 0


def test_the_end_is_told_whatever_it_was(tmp_path: Path) -> None:
    for error in (TinyJEPAError("no such luck"), KeyboardInterrupt(), ZeroDivisionError("a bug")):
        with pytest.raises(type(error)), keep() as log:
            log.open(tmp_path / "run.log")
            warnings.warn("the moon is full", stacklevel=1)
            try:
                raise OSError("the cause")
            except OSError as cause:
                raise error from cause
    text = (tmp_path / "run.log").read_text()
    assert "ERROR    ended after 0:00:00: no such luck\n    Traceback" in text and "OSError: the cause" in text
    assert "WARNING  interrupted after 0:00:00" in text
    assert "CRITICAL ended after 0:00:00 by an error: ZeroDivisionError\n    Traceback" in text and "a bug" in text
    assert "WARNING  UserWarning: the moon is full" in text
    assert not [handler for handler in LOG.handlers if type(handler).__module__ == runlog.__name__]


def test_no_secret_gets_in(tmp_path: Path) -> None:
    """A token in the environment and in Ray's file, keys in URLs, arguments, errors, causes and warnings."""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text(TOKEN + "\n")
    code = (
        "import sys, warnings; from pathlib import Path; from shared.cli.runlog import LOG, keep\n"
        "words = sys.stdin.read().split()\n"
        "with keep() as log:\n"
        "    log.open(Path(sys.argv[1]))\n"
        "    LOG.info('joined with %s and %s', words[0], words[1])\n"
        "    warnings.warn('Authorization: Bearer ' + words[2])\n"
        "    raise RuntimeError(f'GET {words[3]} failed') from OSError(f'password={words[4]}')\n"
    )
    live = "Qm7xLive-Token_0123456789"
    words = [TOKEN, SECRET, "eyJhbGciOi.J9.abc", f"https://u:{live}@host/x?X-Amz-Signature=deadbeef01", "hunter2222"]
    command = [sys.executable, "-c", code, str(tmp_path / "run.log"), "--token", live, f"--key={KEY}", TOKEN[::-1]]
    environment = {**os.environ, "HOME": str(tmp_path), "AWS_SECRET_ACCESS_KEY": SECRET, "PYTHONPATH": str(ROOT)}
    environment["RAY_AUTH_TOKEN"] = TOKEN[::-1]
    done = subprocess.run(command, input=" ".join(words), env=environment, capture_output=True, text=True, timeout=60)
    text = (tmp_path / "run.log").read_text()
    assert done.returncode == 1 and "RuntimeError" in text and "joined with *** and ***" in text
    for secret in (TOKEN, TOKEN[::-1], SECRET, KEY, live, "eyJhbGciOi", "deadbeef01", "hunter2222"):
        assert secret not in text, secret


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (f"s3://{KEY}:{SECRET}@bucket/cars", "s3://***@bucket/cars"),
        ("https://host/store?sig=abc&se=1 is away", "https://host/store?*** is away"),
        ("brain live --token Qm7x0123456789ab --port 8000", "brain live --token *** --port 8000"),
        (f"aws_secret_access_key = {SECRET}", "aws_secret_access_key = ***"),
        ('{"api_key": "abcdef123"}', '{"api_key": "***"}'),
        (f"as {KEY}", "as ***"),
        ("copy the token from its head to ~/.ray/auth_token on 10.0.0.2:6379", None),
        ("encoder: step 12, loss 0.5, http://10.0.0.2:6379/page", None),
    ],
)
def test_what_is_blacked_out(text: str, clean: str | None) -> None:
    assert without_secrets(text, []) == (text if clean is None else clean)


def test_it_rotates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runlog, "FILE_BYTES", 2_000)
    with keep() as log:
        log.open(tmp_path / "run.log")
        for k in range(400):
            LOG.info("line %s, %s", k, "x" * 40)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["run.log", *(f"run.log.{k}" for k in range(1, runlog.OLDER_FILES + 1))]
    assert all(path.stat().st_size <= 2_000 for path in tmp_path.iterdir())
    assert "line 399, " in (tmp_path / "run.log").read_text()


def test_a_full_disk_loses_lines_and_nothing_else(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with tmpfs(tmp_path / "disk", "size=64k") as disk, keep() as log:
        log.open(disk / "run.log")
        LOG.info("there is room")
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        for k in range(200):
            LOG.info("line %s %s", k, "y" * 100)
        filler.unlink()
        LOG.info("there is room again")
        text = (disk / "run.log").read_text()
        lost = re.search(r"WARNING  (\d+) lines before this could not be written\n", text)
        assert lost and 150 <= int(lost[1]) <= 200 and text.endswith("there is room again\n")
    assert capfd.readouterr().err == ""


def test_a_log_that_cannot_be_is_no_reason_to_stop(tmp_path: Path) -> None:
    """A planted link is not followed, and a folder in its place is let be; the work is done all the same."""
    store, elsewhere = tmp_path / "store", tmp_path / "elsewhere"
    elsewhere.write_text("mine")
    (tmp_path / "run.log").symlink_to(elsewhere)
    with keep() as log:
        log.open(tmp_path / "run.log")
        LOG.info("not into what is not ours")
    assert elsewhere.read_text() == "mine"
    assert collect(store, "--episodes", "2") == 0
    log_of(store).unlink()
    log_of(store).mkdir()
    assert collect(store, "--episodes", "4") == 0 and len(Store(store).episodes) == 4


def test_nothing_is_written_where_the_command_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, foreign = tmp_path / "store", tmp_path / "foreign"
    assert collect(store, "--episodes", "2") == 0
    before = log_of(store).read_text()
    assert collect(store, "--episodes", "2", "--seed", "9") == 2
    foreign.mkdir()
    (foreign / "thesis.txt").touch()
    assert train(store, foreign) == 2 and [path.name for path in foreign.iterdir()] == ["thesis.txt"]
    assert log_of(store).read_text() == before
    assert capsys.readouterr().err.count("error") == 2
