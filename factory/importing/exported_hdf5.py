"""HDF5 as ``factory export --format hdf5`` writes it: fields end to end, and a table of episodes."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np

from factory.importing.hdf5 import file_at, looks_like
from factory.importing.source import Choice, Entry, Reader, Rows, blaming, one_of, some_of
from shared.store.schema import check_factors


class ExportedHdf5(Reader):
    """One file, or a folder with a single one."""

    without_images = False

    @classmethod
    def knows(cls, path: Path) -> bool:
        return looks_like(path, lambda file: "frame" in file and "episodes/first" in file)

    def __init__(self, path: Path, choice: Choice) -> None:
        file = file_at(path)
        assert file is not None
        self.name = file.stem
        with blaming(file):
            self._file = h5py.File(file, "r")
            table = {name: self._file["episodes"][name][:] for name in self._file["episodes"]}
            self.rate = float(self._file.attrs["control_rate_hz"])
            names = tuple(str(name) for name in self._file.attrs["state_names"])
        one_of(["frame"], choice.image, "image", "--image")
        self.state_names = some_of(names, choice.states, names)
        self._columns = [names.index(name) for name in self.state_names]
        self._first, self._ends = table["first"], (table["terminated"], table["truncated"])
        self.action_dim = self._file["action"].shape[1] if "action" in self._file else 0
        told = table.get("factors", [b"null"] * len(table["rows"]))
        with blaming(file):
            factors = [check_factors(json.loads(text)) for text in told]
        self.episodes = [
            Entry(str(number), file, int(rows), int(seed), policy.decode(), factors[number])
            for number, (rows, seed, policy) in enumerate(zip(table["rows"], table["seed"], table["policy"]))
        ]

    def read(self, number: int, start: int, stop: int) -> Rows:
        rows = slice(self._first[number] + start, self._first[number] + stop)
        nothing = np.zeros((stop - start, 0), np.float32)
        terminated, truncated = self._ends
        return Rows(
            frames=self._file["frame"][rows],
            action=self._file["action"][rows] if self.action_dim else nothing,
            reward=self._file["reward"][rows],
            state=self._file["state"][rows][:, self._columns] if self._columns else nothing,
            terminated=bool(terminated[number]),
            truncated=bool(truncated[number]),
        )
