"""The numbers of imported episodes: they stay what they are when a broken episode turns out to have several parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from factory.cli import cli
from factory.importing import open_source
from factory.importing.importer import Plan, import_source
from factory.importing.parts import LATER, Part, numbered, parts_of
from factory.importing.source import Entry
from shared.cli.console import run
from shared.store.reader import Store
from shared.store.verify import verify

STEPS = 20
SKIP = Plan(max_steps=STEPS, skip_broken=True)


def write(folder: Path, number: int, rows: int = 50, nan: int | None = None) -> None:
    """An episode of noise; ``nan``: a row whose action is no number."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(number)
    frames, actions = rng.integers(0, 256, (rows, 8, 8, 1), dtype=np.uint8), rng.normal(size=(rows - 1, 1))
    if nan is not None:
        actions[nan] = np.nan
    np.savez(folder / f"{number}.npz", frames=frames, actions=actions)


def spoil(folder: Path, number: int) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{number}.npz").write_bytes(b"PK")


def numbers(path: Path) -> list[int]:
    return [ref.index for ref in Store(path).episodes]


def frames_of(path: Path, wanted: list[int]) -> np.ndarray:
    """Of an episode whose parts have these numbers, each frame once."""
    store = Store(path)
    found = {ref.index: store.read_episode(ref, "frame")["frame"] for ref in store.episodes}
    return np.concatenate([found[wanted[0]], *(found[number][1:] for number in wanted[1:])])


def test_a_long_episode_can_be_repaired(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All parts are of one length, so that lengths do not tell whose they are."""
    folder, store = tmp_path / "noise", tmp_path / "store"
    for number in range(4):
        write(folder, number, 41)
    spoil(folder, 0)
    command = ["import", str(folder), "--store", str(store), "--quiet", "--max-episode-steps", str(STEPS)]
    assert run(cli, "factory", [*command, "--skip-broken"]) == 0
    assert numbers(store) == [*range(1, 7)], "these are the numbers that earlier versions gave"
    write(folder, 0, 41)
    assert run(cli, "factory", command) == 0, capsys.readouterr().err
    assert numbers(store) == [*range(7), LATER]
    with np.load(folder / "0.npz") as data:
        assert np.array_equal(frames_of(store, [0, LATER]), data["frames"])
    write(folder, 4, 60)
    assert run(cli, "factory", command) == 0
    assert numbers(store) == [*range(10), LATER] and not verify(store).faults
    assert import_source(open_source(folder), store, SKIP).new_episodes == 0
    capsys.readouterr()
    assert run(cli, "factory", ["status", str(store)]) == 0 and "missing" not in capsys.readouterr().out


def test_several_are_repaired_one_after_the_other(tmp_path: Path) -> None:
    folder, store = tmp_path / "noise", tmp_path / "store"
    for number in range(5):
        write(folder, number)
    for number in (0, 1, 3):
        spoil(folder, number)
    import_source(open_source(folder), store, SKIP)
    for number in (1, 3, 0):
        write(folder, number)
        assert import_source(open_source(folder), store, SKIP).new_episodes == 3
    for number, parts in enumerate(([0, LATER, 2 * LATER], [1, LATER + 1, 2 * LATER + 1], [2, 3, 4])):
        with np.load(folder / f"{number}.npz") as data:
            assert np.array_equal(frames_of(store, parts), data["frames"])


def test_a_repaired_episode_that_is_broken_elsewhere_waits(tmp_path: Path) -> None:
    """Its first part alone would look like the beginning of an episode that was never broken."""
    folder, store = tmp_path / "noise", tmp_path / "store"
    spoil(folder, 0)
    for number in (1, 2):
        write(folder, number, 41)
    import_source(open_source(folder), store, SKIP)
    write(folder, 0, 41, nan=30)
    done = import_source(open_source(folder), store, SKIP)
    assert done.new_episodes == 0 and len(done.broken) == 1 and "not finite in row 30" in done.broken[0]
    write(folder, 0, 41)
    assert import_source(open_source(folder), store, SKIP).new_episodes == 2
    assert numbers(store) == [*range(5), LATER]


def test_parts_that_are_missing_for_another_reason_keep_their_numbers(tmp_path: Path) -> None:
    folder, store = tmp_path / "noise", tmp_path / "store"
    for number in range(3):
        write(folder, number, 41, nan=5 if number else None)
    assert import_source(open_source(folder), store, SKIP).new_episodes == 4 and numbers(store) == [0, 1, 3, 5]
    write(folder, 1, 41)
    import_source(open_source(folder), store, SKIP)
    assert numbers(store) == [0, 1, 2, 3, 5]


def test_an_episode_that_broke_after_its_import_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, store = tmp_path / "noise", tmp_path / "store"
    for number in range(3):
        write(folder, number)
    import_source(open_source(folder), store)
    spoil(folder, 1)
    assert run(cli, "factory", ["import", str(folder), "--store", str(store), "--quiet", "--skip-broken"]) == 2
    error = capsys.readouterr().err
    assert f"mend {folder / '1.npz'} if it was whole before" in error and error.count("\n") == 1


@pytest.mark.parametrize("seed", [*range(20), 134, 297, 394, 650])
def test_what_is_stored_keeps_its_number_whatever_breaks_and_grows(seed: int) -> None:
    """A source that grows, breaks and is repaired, imports that are killed, and streams that are lost."""
    rng = np.random.default_rng(seed)
    rows: list[int] = []
    broken: set[int] = set()
    store: dict[int, Part] = {}

    def parts() -> list[list[Part]]:
        entries = [Entry(str(k), Path("x"), 0 if k in broken else count) for k, count in enumerate(rows)]
        return parts_of(entries, STEPS)

    def make(most: int) -> None:
        held = {number: part.stop - part.start for number, part in store.items()}
        found = numbered(parts(), held, lambda number, part: store[number] == part)
        assert found is not None and all(found[number] == part for number, part in store.items())
        ready = [number for number in found if number not in store and found[number].entry not in broken]
        store.update((number, found[number]) for number in ready[:most])

    for _ in range(6):
        for _ in range(rng.integers(4)):
            rows.append(int(rng.choice([5, 41, 41, 61, 50])))
            if rng.random() < 0.5:
                broken.add(len(rows) - 1)
        make(int(rng.integers(12)))
        if rng.random() < 0.3:  # a stream is lost, but none of those parts that alone say what was repaired
            first = int(rng.integers(20))
            store = {number: part for number, part in store.items() if not first <= number < first + 8}
        broken -= {number for number in broken if rng.random() < 0.4}
    broken.clear()
    make(1000)
    assert sorted(store.values()) == [part for own in parts() for part in own]
