"""HDF5 in the layout of `stable-worldmodel <https://github.com/galilai-group/stable-worldmodel>`_.

Every column is a dataset of all rows end to end; ``ep_len`` and ``ep_offset`` say where an episode lies. A row is an
observation and the action taken there; the last row's action is NaN. Reward and flags come from the step before the
row, and the first row's reward is then NaN: they are moved to the row whose action earned them.
"""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

from factory.importing.hdf5 import file_at, is_column, is_image, looks_like, width
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
    one_of,
    some_of,
)

LENGTHS, OFFSETS = "ep_len", "ep_offset"
OTHER = {LENGTHS, OFFSETS, "ep_idx", "episode_idx", "step_idx", "action", "reward", "terminated", "truncated", "policy"}
"""Columns that are no state."""


class StableWorldModel(Reader):
    """One file, or a folder with a single one."""

    rate = None

    @classmethod
    def knows(cls, path: Path) -> bool:
        return looks_like(path, lambda file: LENGTHS in file and OFFSETS in file)

    def __init__(self, path: Path, choice: Choice) -> None:
        file = file_at(path)
        assert file is not None
        self.name = file.stem
        with blaming(file):
            self._file = h5py.File(file, "r")
            lengths, self._offsets = self._file[LENGTHS][:].astype(int), self._file[OFFSETS][:].astype(int)
            columns = [key for key in self._file if is_column(self._file[key]) and key not in OTHER]
            images = [key for key in self._file if is_image(self._file[key]) and not key.startswith("goal")]
            self._image = one_of(images, choice.image, "image column", "--image", ["pixels"])
            self._states = some_of(columns, choice.states, ["state", "proprio"])
        self.without_images = self._image is None
        self.episodes = [Entry(str(i), file, int(rows)) for i, rows in enumerate(lengths)]
        self.action_dim = width(self._file["action"]) if "action" in self._file else 0
        self.state_names = tuple(name for key in self._states for name in column_names(key, width(self._file[key])))

    def read(self, number: int, start: int, stop: int) -> Rows:
        first, total = self._offsets[number], self.episodes[number].rows
        rows = slice(first + start, first + stop)
        count = stop - start
        reward = np.zeros(count, np.float32)
        if "reward" in self._file:
            earned = np.asarray(self._file["reward"][first : first + total], np.float32).reshape(total)
            if np.isnan(earned[0]):
                earned = np.append(earned[1:], np.float32(0))
            reward = earned[start:stop]
        flags = {
            name: self._file[name][first : first + total] if name in self._file else None
            for name in ("terminated", "truncated")
        }
        return Rows(
            frames=None if self._image is None else self._file[self._image][rows],
            action=flat(self._file["action"][rows], count) if self.action_dim else np.zeros((count, 0), np.float32),
            reward=reward,
            state=beside({key: self._file[key][rows] for key in self._states}, count),
            terminated=ends(flags["terminated"]),
            truncated=ends(flags["truncated"]),
        )
