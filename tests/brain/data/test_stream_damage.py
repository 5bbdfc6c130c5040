"""Damage under a trainer: raised with its place by default; with ``skip`` left out, counted and reported."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch

from brain.runs import checkpoint
from brain.runs.folder import Run
from shared.errors import DamageError, StoreError
from shared.store.quarantine import set_aside
from shared.store.reader import Store
from tests.brain.data.test_stream import LENGTHS, SMALL, WINDOWS, drawn, stream, write_numbered
from tests.support.dots import make_dot_store
from tests.support.training import RECIPE, command, here

SHARD = 256  # rows of a shard of the numbered store


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    return write_numbered(tmp_path / "store")


def shard_files(path: Path, field: str) -> list[Path]:
    return sorted(path.glob(f"data.zarr/*/{field}/c.*"), key=lambda file: int(file.name.split(".")[1]))


def damage(file: Path, how: str, rng: random.Random) -> None:
    data = bytearray(file.read_bytes())
    if how == "flipped":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif how == "shorter":
        del data[rng.randrange(len(data)) :]
    elif how == "holed":
        middle = len(data) // 3
        data[middle : middle + 60] = bytes(60)
    file.write_bytes(data)
    if how == "missing":
        file.unlink()


def touching(shards: set[int]) -> set[tuple[int, int]]:
    """The windows that touch these shards of the one stream."""
    found, first = set(), 0
    for episode, rows in enumerate(LENGTHS):
        for row in range(rows - 9):
            if shards & {(first + row) // SHARD, (first + row + 9) // SHARD}:
                found.add((episode, row))
        first += rows
    return found


@pytest.mark.parametrize("how", ["flipped", "shorter", "holed", "missing"])
@pytest.mark.parametrize("field", ["frame", "action"])
def test_damage_reaches_the_trainer(numbered: Path, field: str, how: str) -> None:
    file = shard_files(numbered, field)[2]
    damage(file, how, random.Random(0))
    source = stream(numbered)
    with pytest.raises(DamageError, match=rf"stream \S+, rows \d+\.\.\d+, file {file}") as caught:
        source.batch(0)
    assert "\n" not in str(caught.value)
    source.close()


@pytest.mark.parametrize("memory", [1 << 20, SMALL])
@pytest.mark.parametrize("how", ["flipped", "missing"])
def test_skipping_leaves_out_the_shard_and_nothing_else(numbered: Path, memory: int, how: str) -> None:
    damage(shard_files(numbered, "frame")[1], how, random.Random(1))
    damage(shard_files(numbered, "action")[4], how, random.Random(2))
    source = stream(numbered, "skip", batch=1, memory=memory)
    seen = drawn(source, 2 * source.windows)
    lost = touching({1, 4})
    if memory != SMALL:
        assert set(seen[: source.windows]) == WINDOWS - lost
    assert set(seen[source.windows :]) == WINDOWS - lost, "only before the damage is met may a pool draw from the shard"
    assert {shard for _, shard in source.damaged} == {1, 4}
    assert source.lost >= len(lost)
    source.close()


def test_what_is_set_aside_is_not_drawn_from(numbered: Path) -> None:
    """After ``factory verify --quarantine`` training goes on without a word, without the episodes that it cost."""
    damage(shard_files(numbered, "frame")[1], "flipped", random.Random(5))
    before = Store(numbered)
    set_aside(numbered, before.spec, {}, {next(iter(before.streams)): {1}})
    cost = {episode for episode, _ in touching({1})}
    source = stream(numbered, batch=1)
    assert set(drawn(source, source.windows)) == {window for window in WINDOWS if window[0] not in cost}
    source.close()


def test_skipping_is_repeatable_after_a_kill(numbered: Path) -> None:
    """Which batch holds what does not depend on when the damage was met."""
    damage(shard_files(numbered, "frame")[2], "flipped", random.Random(3))
    straight = stream(numbered, "skip", memory=SMALL)
    batches = [straight.batch(number) for number in range(150)]
    for stop in (4, 31, 77):
        killed = stream(numbered, "skip", memory=SMALL)
        for number in range(stop):
            killed.batch(number)
        state = json.loads(json.dumps(killed.state(stop)))
        killed.close()
        resumed = stream(numbered, "skip", memory=SMALL, state=state)
        for number in range(stop, 150):
            assert torch.equal(resumed.batch(number).frames, batches[number].frames), (stop, number)
        resumed.close()
    straight.close()


def test_a_store_of_nothing_but_damage_is_one_line(numbered: Path) -> None:
    for file in shard_files(numbered, "frame"):
        file.unlink()
    source = stream(numbered, "skip")
    with pytest.raises(StoreError, match=r"every shard that a pool of .* is damaged, the first: stream .* is missing"):
        source.batch(0)
    source.close()


@pytest.mark.parametrize("where", ["first line", "middle"])
def test_a_damaged_log_ends_its_stream(tmp_path: Path, where: str) -> None:
    path = make_dot_store(tmp_path / "store")
    whole = Store(path)
    log = sorted(path.glob("log/*.jsonl"))[0]
    lines = log.read_bytes().splitlines(keepends=True)
    broken = 0 if where == "first line" else len(lines) // 2
    lines[broken] = lines[broken].replace(b'"time":1', b'"time":7')
    log.write_bytes(b"".join(lines))
    with pytest.raises(StoreError, match=rf"{log}, line {broken + 1}: the log is damaged"):
        Store(path)
    store = Store(path, "skip")
    assert store.streams[log.stem].shards == max(0, broken - 1)
    other = {ref for ref in whole.episodes if ref.stream != log.stem}
    assert other <= set(store.episodes) < set(whole.episodes)
    assert store.damaged_logs.keys() == {log.stem}
    store.refresh()
    for ref in store.episodes:
        store.read_episode(ref)


def test_training_over_damage(tmp_path: Path) -> None:
    """All stages: one line by default; with skip the run ends, and says what is missing."""
    store, recipe, run = tmp_path / "store", tmp_path / "small.toml", tmp_path / "run"
    make_dot_store(store)
    recipe.write_text(RECIPE)
    victim = shard_files(store, "frame")[3]
    damage(victim, "flipped", random.Random(4))
    log = sorted(store.glob("log/*.jsonl"))[1]
    arguments = command(store, recipe, run, "--steps", "15")
    log.write_bytes(log.read_bytes()[:-40] + b"x" * 20 + b"\n")
    refused = here(arguments)
    assert refused.returncode == 2 and str(log) in refused.stderr and refused.stderr.count("\n") == 1, refused.stderr
    done = here([*arguments, "--on-corrupt", "skip"])
    assert done.returncode == 0, done.stderr
    assert f"skipped the rest of stream {log.stem}" in done.stdout and f"file {victim}" in done.stdout
    assert checkpoint.load(Run(run).encoder)[1]["skipped"]
