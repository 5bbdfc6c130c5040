"""HDF5 in the layout of `robomimic <https://robomimic.github.io/docs/datasets/overview.html>`_.

``data/demo_<i>`` holds an episode of N steps: ``actions``, ``rewards``, ``dones``, ``states`` and ``obs/<key>``, N rows
each, and often ``next_obs/<key>``. With ``next_obs`` its last row is the observation after the last action; without it
(or where a chosen state has no next value) the last action led to nothing the file shows, and is dropped.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    taken_at,
)

STATES = "states"
PREFERRED = ["agentview_image", "image"]


class Robomimic(Reader):
    """One file, or a folder with a single one."""

    @classmethod
    def knows(cls, path: Path) -> bool:
        return looks_like(path, lambda file: "data" in file and any(key.startswith("demo_") for key in file["data"]))

    def __init__(self, path: Path, choice: Choice) -> None:
        file = file_at(path)
        assert file is not None
        self.name = file.stem
        with blaming(file):
            self._data = h5py.File(file, "r")["data"]
            self.rate = _rate(self._data.attrs.get("env_args"))
            demos = sorted((key for key in self._data if key.startswith("demo_")), key=_number)
            first = self._data[demos[0]]
            seen = dict(first["obs"]) if "obs" in first else {}
            images = [key for key in seen if is_image(seen[key])]
            columns = [key for key in seen if is_column(seen[key])]
            if STATES in first and is_column(first[STATES]):
                columns.append(STATES)
            self._image = one_of(images, choice.image, "image", "--image", PREFERRED)
            self._states = some_of(columns, choice.states, [STATES])
            self.action_dim = width(first["actions"])
            self.state_names = tuple(
                name for key in self._states for name in column_names(key, width(_column(first, key)))
            )
        self.without_images = self._image is None
        self.episodes = []
        for demo in demos:
            with blaming(file, demo):
                group = self._data[demo]
                rows = len(group["actions"]) + self._goes_on(group)
                self.episodes.append(Entry(demo, file, rows))

    def read(self, number: int, start: int, stop: int) -> Rows:
        entry = self.episodes[number]
        group = self._data[entry.name]
        beyond = stop == entry.rows and self._goes_on(group)
        inside = slice(start, stop - beyond)
        frames = None
        if self._image is not None:
            frames = group["obs"][self._image][inside]
            if beyond:
                frames = np.concatenate([frames, group["next_obs"][self._image][-1:]])
        states = {}
        for key in self._states:
            values = _column(group, key)[inside]
            states[key] = np.concatenate([values, group["next_obs"][key][-1:]]) if beyond else values
        count = stop - start
        rewards = group["rewards"][:] if "rewards" in group else np.zeros(entry.rows, np.float32)
        return Rows(
            frames=frames,
            action=flat(taken_at(group["actions"], entry.rows, "actions", start, stop), count),
            reward=taken_at(rewards, entry.rows, "rewards", start, stop).reshape(count),
            state=beside(states, count),
            terminated=ends(group["dones"][:]) if "dones" in group else False,
        )

    def _goes_on(self, group: Any) -> bool:
        """Whether the observation after the last action is there."""
        if "next_obs" not in group:
            return False
        return all(key in group["next_obs"] for key in (self._image, *self._states) if key is not None)


def _column(group: Any, key: str) -> Any:
    return group[STATES] if key == STATES and STATES not in group["obs"] else group["obs"][key]


def _number(demo: str) -> tuple[int, str]:
    digits = demo.removeprefix("demo_")
    return (int(digits), "") if digits.isdigit() else (1 << 62, demo)


def _rate(env_args: Any) -> float | None:
    """``control_freq`` of the environment's arguments, Hz."""
    try:
        frequency = float(json.loads(env_args)["env_kwargs"]["control_freq"])
    except (KeyError, TypeError, ValueError):
        return None
    return frequency if frequency > 0 else None
