"""`Minari <https://minari.farama.org>`_ data sets, read by Minari itself.

An episode of L steps has L + 1 observations and L actions, rewards and flags, so nothing is dropped. Actions of any
space are stored as a collection stores them: a Box flattened, a Discrete one-hot.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
from minari.storage.datasets_root_dir import get_dataset_path

from factory.importing.source import (
    Choice,
    Entry,
    Reader,
    Rows,
    beside,
    blaming,
    column_names,
    name_of,
    one_of,
    some_of,
)
from shared.worlds.actions import Actions
from shared.worlds.base import action_dim
from shared.worlds.images import may_be_image

DATA = "data"
NAME = re.compile(r"([\w-]+/)*[\w-]+-v\d+")
ALONE = "observation"
"""What an observation is called that is no dictionary."""
INFO = "info/"


class Minari(Reader):
    """The folder of a data set, or the name of one that is downloaded, such as ``atari/breakout/expert-v0``."""

    @classmethod
    def knows(cls, path: Path) -> bool:
        return _data(path) is not None

    def __init__(self, path: Path, choice: Choice) -> None:
        place = _data(path)
        assert place is not None
        with blaming(place):
            self._dataset = minari.MinariDataset(place)
            storage = self._dataset.storage
            metadata = storage.metadata
            self.name = str(metadata.get("dataset_id") or name_of(path))
            who = str(metadata.get("algorithm_name") or "")[:100]
            numbers = [int(number) for number in self._dataset.episode_indices]
            about = list(storage.get_episode_metadata(numbers))
            first = self._dataset[numbers[0]]
            self.rate = _rate(self._dataset)
        self.episodes = [
            Entry(str(number), place, int(found["total_steps"]) + 1, found.get("seed"), who)
            for number, found in zip(numbers, about)
        ]
        parts = _parts(self._dataset.observation_space)
        images = [key for key, space in parts.items() if may_be_image(space) or _of_two_channels(space)]
        self._image = one_of(images, choice.image, "image of the observation", "--image", ["pixels", "image"])
        shapes = {key: space.shape for key, space in parts.items() if isinstance(space, gym.spaces.Box)}
        shapes |= {f"{INFO}{key}": value.shape[1:] for key, value in _infos(first).items()}
        columns = [key for key, shape in shapes.items() if shape is not None and len(shape) <= 1]
        likely = [f"{INFO}state"] if f"{INFO}state" in columns else [key for key in columns if INFO not in key]
        self._states = some_of(columns, choice.states, likely)
        self.without_images = self._image is None
        names = metadata.get("state_names")
        self.state_names = tuple(
            name for key in self._states for name in column_names(key, int(np.prod(shapes[key] or (), dtype=int)))
        )
        if self._states == (f"{INFO}state",) and names is not None and len(names) == len(self.state_names):
            self.state_names = tuple(map(str, names))
        self._actions = Actions(self._dataset.action_space)
        self.action_dim = action_dim(self._dataset.action_space)

    def read(self, number: int, start: int, stop: int) -> Rows:
        episode = self._dataset[int(self.episodes[number].name)]
        count, steps = stop - start, len(episode.rewards)
        action = np.zeros((count, self.action_dim), np.float32)
        for row in range(start, min(stop, steps)):
            action[row - start] = self._actions.row(_at(episode.actions, row))
        reward = np.zeros(count, np.float32)
        reward[: min(stop, steps) - start] = episode.rewards[start:stop]
        return Rows(
            frames=None if self._image is None else _part(episode, self._image)[start:stop],
            action=action,
            reward=reward,
            state=beside({key: _part(episode, key)[start:stop] for key in self._states}, count),
            terminated=bool(np.any(episode.terminations)),
            truncated=bool(np.any(episode.truncations)),
        )


def _data(path: Path) -> Path | None:
    """The folder that holds the data, of a path or of a data set's name."""
    places = [path, path / DATA]
    if NAME.fullmatch(str(path)):
        places.append(get_dataset_path() / path / DATA)
    return next((place for place in places if (place / "metadata.json").is_file() and _holds(place)), None)


def _holds(place: Path) -> bool:
    """Whether a folder's description is one of Minari's."""
    text = (place / "metadata.json").read_text(encoding="utf-8", errors="replace")
    return (place / "main_data.hdf5").exists() or "minari_version" in text or "data_format" in text


def _parts(space: gym.Space[Any], above: str = "") -> dict[str, gym.Space[Any]]:
    """The leaves of an observation by name: a dictionary's joined by ``/``."""
    if not isinstance(space, gym.spaces.Dict):
        return {above or ALONE: space}
    parts = dict[str, gym.Space[Any]]()
    for key, part in space.spaces.items():
        parts |= _parts(part, f"{above}/{key}" if above else str(key))
    return parts


def _of_two_channels(space: gym.Space[Any]) -> bool:
    """Whether an observation is a frame as the two rooms' exports have it, uint8 (H, W, 2)."""
    return space.dtype == np.uint8 and space.shape is not None and len(space.shape) == 3 and space.shape[2] == 2


def _infos(episode: Any) -> dict[str, np.ndarray]:
    """What an episode tells beside its observations, a row each."""
    rows = len(episode.rewards) + 1
    return {
        key: value
        for key, value in (episode.infos or {}).items()
        if isinstance(value, np.ndarray) and value.dtype.kind in "uifb" and len(value) == rows and value.ndim <= 2
    }


def _part(episode: Any, key: str) -> np.ndarray:
    if key.startswith(INFO):
        return np.asarray(episode.infos[key.removeprefix(INFO)])
    found = episode.observations
    if key != ALONE or isinstance(found, dict):
        for name in key.split("/"):
            found = found[name]
    return np.asarray(found)


def _at(actions: Any, step: int) -> Any:
    """One action, of arrays or of a dictionary or tuple of them."""
    if isinstance(actions, dict):
        return {key: _at(part, step) for key, part in actions.items()}
    if isinstance(actions, tuple):
        return tuple(_at(part, step) for part in actions)
    return actions[step]


def _rate(dataset: minari.MinariDataset) -> float | None:
    """What the data set's environment says of its own frame rate, Hz, where it is installed."""
    spec = dataset.env_spec
    entry = getattr(spec, "entry_point", None)
    if not isinstance(entry, str) or not entry.startswith("gymnasium.envs."):
        return None
    try:
        maker: Any = gym.envs.registration.load_env_creator(entry)
        rate = float(maker.metadata["render_fps"])
    except Exception:  # a package that is not installed, or that says nothing
        return None
    return rate if rate > 0 else None
