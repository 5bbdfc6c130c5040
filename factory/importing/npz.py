"""Episodes as .npz files: one each, in a folder or alone. ``factory export --format npz`` writes such a folder.

An array is known by its name; of L + 1 observations there are L actions and rewards, or L + 1 of which the last count
for nothing.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from factory.importing.source import (
    Choice,
    Entry,
    Reader,
    Rows,
    beside,
    blaming,
    column_names,
    ends,
    flat,
    name_of,
    natural,
    one_of,
    some_of,
    taken_at,
)
from shared.errors import TinyJEPAError
from shared.store.schema import Factors, check_factors

FRAMES = ("frame", "frames", "pixels", "image", "images", "observation", "observations", "obs")
ACTIONS = ("action", "actions")
REWARDS = ("reward", "rewards")
TERMINATED = ("terminated", "terminations", "terminals")
TRUNCATED = ("truncated", "truncations", "timeouts")
STATES = ("state", "states")
OTHER = {*ACTIONS, *REWARDS, *TERMINATED, *TRUNCATED, "dones", "flags", "episode", "seed", "policy"}


class Npz(Reader):
    """A folder's files in the order of their names and the numbers in them, or one file."""

    rate = None

    @classmethod
    def knows(cls, path: Path) -> bool:
        return bool(_files(path))

    def __init__(self, path: Path, choice: Choice) -> None:
        self.name, self.former_name = name_of(path), path.stem
        files = _files(path)
        with blaming(files[0]):
            shapes = next(filter(None, map(_readable, files)), None) or _shapes(files[0])
            images = [key for key, shape in shapes.items() if len(shape) in (3, 4) and min(shape[1:3]) > 0]
            columns = [key for key, shape in shapes.items() if len(shape) in (1, 2) and key not in OTHER]
            self._image = one_of(images, choice.image, "image array", "--image", FRAMES)
            self._states = some_of(columns, choice.states, STATES)
            self._states = tuple(key for key in self._states if 0 not in shapes[key])
            actions = _first(ACTIONS, list(shapes))
            self.action_dim = int(np.prod(shapes[actions][1:], dtype=int)) if actions else 0
        self.without_images = self._image is None
        self.state_names = tuple(
            name for key in self._states for name in column_names(key, int(np.prod(shapes[key][1:], dtype=int)))
        )
        self._rows_of = self._image or next(iter(self._states), "")
        if not self._rows_of:
            raise TinyJEPAError(f"{files[0]} has neither images ({', '.join(FRAMES)}) nor states ({', '.join(STATES)})")
        self.episodes = [self._entry(file) for file in files]

    def read(self, number: int, start: int, stop: int) -> Rows:
        entry = self.episodes[number]
        with np.load(entry.file, allow_pickle=False) as data:
            keys = data.files
            count = stop - start
            action = np.zeros((count, 0), np.float32)
            if self.action_dim and (key := _first(ACTIONS, keys)):
                action = flat(taken_at(data[key], entry.rows, "actions", start, stop), count)
            reward = np.zeros(count, np.float32)
            if key := _first(REWARDS, keys):
                reward = taken_at(data[key].reshape(-1), entry.rows, "rewards", start, stop)
            over = _first((*TERMINATED, "dones"), keys)
            cut = _first(TRUNCATED, keys)
            return Rows(
                frames=None if self._image is None else data[self._image][start:stop],
                action=action,
                reward=reward,
                state=beside({key: data[key][start:stop] for key in self._states}, count),
                terminated=ends(data[over]) if over else False,
                truncated=ends(data[cut]) if cut else False,
            )

    def _entry(self, file: Path) -> Entry:
        try:
            with blaming(file):
                found = _shapes(file)
                if self._rows_of not in found:
                    raise ValueError(f"it has no array '{self._rows_of}'")
                return Entry(file.stem, file, found[self._rows_of][0], *_origin(file, found))
        except TinyJEPAError as error:
            return Entry(file.stem, file, 0, broken=str(error))


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return sorted(path.glob("*.npz"), key=lambda file: natural(file.name))
    return [path] if path.suffix == ".npz" and path.is_file() else []


def _first(names: Sequence[str], keys: Sequence[str]) -> str | None:
    return next((name for name in names if name in keys), None)


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    """Of every array in a file, read from its header."""
    shapes = {}
    with zipfile.ZipFile(file) as archive:
        for name in archive.namelist():
            with archive.open(name) as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shapes[name.removesuffix(".npy")] = tuple(read(member)[0])
    return shapes


def _readable(file: Path) -> dict[str, tuple[int, ...]] | None:
    """The shapes in a file; None for a broken one."""
    try:
        return _shapes(file)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None


def _origin(file: Path, found: Mapping[str, tuple[int, ...]]) -> tuple[int | None, str, Factors | None]:
    """Seed, policy and factors of variation, where the file names them; ``found``: the shapes in it."""
    with np.load(file, allow_pickle=False) as data:
        seed = int(data["seed"]) if "seed" in data.files and data["seed"].ndim == 0 else None
        policy = str(data["policy"]) if "policy" in data.files and data["policy"].dtype.kind == "U" else ""
        factors = check_factors(json.loads(str(data["factors"]))) if found.get("factors") == () else None
    return seed, policy, factors
