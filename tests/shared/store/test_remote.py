"""A store behind a URL, over real HTTP: moto's S3 server and Python's own web server, each a process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from brain.data.loader import Stream
from shared.errors import DamageError, StoreError, TinyJEPAError
from shared.store.reader import Store
from tests.support.dots import RUN, dot_episode, make_dot_store
from tests.support.stores import FIELDS
from tests.support.training import RECIPE, command, here

pytest.importorskip("obstore")
boto3 = pytest.importorskip("boto3")  # comes with moto

KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_REGION": "us-east-1"}


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def serve(arguments: list[str], port: int, directory: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=directory, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            assert process.poll() is None, "the server did not start"
            time.sleep(0.05)
    raise AssertionError("the server does not answer")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of an S3 server with a bucket."""
    port = free_port()
    folder = tmp_path_factory.mktemp("moto")
    process = serve(["moto.server", "-H", "127.0.0.1", "-p", str(port)], port, folder)
    client(port).create_bucket(Bucket="bucket")
    yield port
    process.send_signal(signal.SIGTERM)
    process.wait()


@pytest.fixture(autouse=True)
def credentials(s3: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}"}).items():
        monkeypatch.setenv(name, value)


def client(port: int) -> Any:
    return boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1", aws_access_key_id="test",
        aws_secret_access_key="test",
    )  # fmt: skip


def upload(port: int, path: Path, name: str) -> str:
    bucket = client(port)
    for file in path.rglob("*"):
        if file.is_file():
            bucket.upload_file(str(file), "bucket", f"{name}/{file.relative_to(path).as_posix()}")
    return f"s3://bucket/{name}"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dot_store(tmp_path_factory.mktemp("remote") / "dots")


@pytest.fixture(scope="module")
def url(s3: int, local: Path) -> str:
    return upload(s3, local, "dots")


def assert_same(remote: Store, local: Store) -> None:
    assert remote.spec == local.spec and remote.episodes == local.episodes and remote.episodes
    for ref in local.episodes[:12]:
        mine, theirs = local.read_episode(ref), remote.read_episode(ref)
        assert all(np.array_equal(mine[field], theirs[field]) for field in FIELDS)


def test_every_byte_comes_through(url: str, local: Path) -> None:
    assert_same(Store(url), Store(local))


def test_the_same_batches_with_many_requests_at_once(url: str, local: Path) -> None:
    streams = [
        Stream(
            Store(place), "train", stack=2, stride=2, steps=1, batch=32, seed=0, device=torch.device("cpu"),
            memory=2 * 500 * 16 * 16 * 3,
        )
        for place in (url, local)
    ]  # fmt: skip
    for number in range(60):
        one, other = (stream.batch(number) for stream in streams)
        assert torch.equal(one.frames, other.frames) and torch.equal(one.actions, other.actions)
    for stream in streams:
        stream.close()


def test_what_is_added_is_found(s3: int, tmp_path: Path) -> None:
    from shared.store.dataset import create_store
    from shared.store.writer import StreamWriter
    from tests.support.dots import dot_spec

    spec = create_store(tmp_path / "store", dot_spec())
    with StreamWriter(tmp_path / "store", spec, RUN, 0) as writer:
        for index in range(6):
            writer.append(dot_episode(index))
        place = upload(s3, tmp_path / "store", "growing")
        store = Store(place)
        before = len(store.episodes)
        assert store.refresh() == 0
        for index in range(6, 12):
            writer.append(dot_episode(index))
    upload(s3, tmp_path / "store", "growing")
    assert store.refresh() == 12 - before > 0
    assert_same(store, Store(tmp_path / "store"))


def test_a_web_server_without_ranges_is_refused(local: Path) -> None:
    """Python's own answers a range with the whole file: that must not pass for the right bytes."""
    port = free_port()
    process = serve(["http.server", str(port), "--bind", "127.0.0.1"], port, local.parent)
    try:
        with pytest.raises(StoreError, match="the web server ignores byte ranges"):
            Store(f"http://127.0.0.1:{port}/dots")
    finally:
        process.terminate()
        process.wait()


def test_training_reads_from_a_bucket(url: str, local: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE)
    arguments = command(Path("x"), recipe, tmp_path / "run", "--steps", "10", "--stage", "encoder")
    arguments[arguments.index("x")] = url
    done = here(arguments)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("encoder: trained (10 steps") and url in (tmp_path / "run" / "run.json").read_text()


def test_damage_names_the_object(s3: int, local: Path) -> None:
    place = upload(s3, local, "damaged")
    store = Store(place)
    victims = sorted(local.glob("data.zarr/*/frame/c.*"))[2:6]
    for how, victim in zip(("missing", "shorter", "longer", "flipped"), victims, strict=True):
        key = f"damaged/{victim.relative_to(local).as_posix()}"
        data = bytearray(victim.read_bytes())
        if how == "missing":
            client(s3).delete_object(Bucket="bucket", Key=key)
        else:
            flipped = data[:40] + bytes([data[40] ^ 4]) + data[41:]
            changed = {"shorter": data[:-3], "longer": data + b"x", "flipped": flipped}[how]
            client(s3).put_object(Bucket="bucket", Key=key, Body=bytes(changed))
        stream, first = victim.parent.parent.name, 128 * int(victim.name.split(".")[1])
        expected = rf"stream {stream}, rows {first}\.\.\d+, file s3://bucket/{key}"
        with pytest.raises(DamageError, match=expected) as caught:
            store.read(stream, first, first + 16, "frame")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("place", "changes", "words"),
    [
        ("s3://bucket/nothing", {}, "there is no store at s3://bucket/nothing"),
        ("s3://no-such-bucket/dots", {}, "there is no such bucket"),
        ("s3://bucket/dots", {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "cannot be reached"),
        ("s3://bucket/dots", {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "no credentials: set AWS_"),
        ("http://127.0.0.1:1/dots", {}, "cannot be reached"),
        ("ftp://host/dots", {}, "is no address of a store"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line(
    place: str, changes: dict[str, str | None], words: str, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in changes.items():
        monkeypatch.delenv(name) if value is None else monkeypatch.setenv(name, value)
    with pytest.raises(TinyJEPAError, match=re.escape(words)) as caught:
        Store(place)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_the_command_refuses_in_one_line(tmp_path: Path) -> None:
    arguments = command(Path("x"), Path("car-racing"), tmp_path / "run")
    arguments[arguments.index("x")] = "s3://no-such-bucket/dots"
    done = here(arguments)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
