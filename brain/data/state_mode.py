"""A store as a recipe sees it: frames, or (``observation.mode`` state) the world's true state in their place.

What a store shows is called *frame* everywhere in the brain. In mode state a frame is the state's coordinates, float32
(1, 1, S'), in place of uint8 (H, W, C); *pictures* are what the world showed, in either mode.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brain.data.states import States
from brain.recipes.schema import Recipe
from brain.runs.folder import Run, write_whole
from shared.errors import DamageError, TinyJEPAError, cause
from shared.store.reader import OnCorrupt, Store
from shared.store.schema import StoreSpec


class StateSpec(StoreSpec):
    """A store's spec in mode state: ``frame_shape`` is (1, 1, S')."""

    picture_shape: tuple[int, int, int]
    """(height, width, channels) of the pictures."""


@dataclass(frozen=True)
class Scale:
    """What standardises coordinates: mean and standard deviation of each over the training episodes."""

    names: tuple[str, ...]
    """the S states they are made of"""
    mean: tuple[float, ...]
    """S' values"""
    std: tuple[float, ...]
    """S' values, 1 where a coordinate does not vary"""


class StateStore(Store):
    """A store that shows the state: ``frame`` is float32 (rows, 1, 1, S'), its columns standardised by ``scale``.

    An angle is two columns, its sine and its cosine. ``scale`` has to be set before a frame is read: see
    ``standardise``.
    """

    scale: Scale
    spec: StateSpec

    def __init__(self, path: str | Path, on_corrupt: OnCorrupt = "raise") -> None:
        """Raises ``TinyJEPAError`` for a world without state columns, and what ``Store`` raises."""
        super().__init__(path, on_corrupt)
        spec: StoreSpec = self.spec
        names = spec.state_names
        if not names:
            raise TinyJEPAError(f"{path}: world {spec.world} has no state columns to see: set observation.mode=pixels")
        width = len(States.of(spec).owner)
        seen = spec.model_dump() | {"frame_shape": (1, 1, width), "picture_shape": spec.frame_shape}
        self.spec = StateSpec(**seen)

    def read(self, stream: str, start: int, stop: int, field: str, out: np.ndarray | None = None) -> np.ndarray:
        if field != "frame":
            return super().read(stream, start, stop, field, out)
        values = self._coordinates(stream, start, stop)
        if out is None:
            out = np.empty((stop - start, *self.spec.frame_shape), np.float32)
        out[:, 0, 0] = (values - np.array(self.scale.mean)) / np.array(self.scale.std)
        return out

    def measure(self) -> Scale:
        """The scale of the training episodes that are committed now; without damaged ones, where these are skipped."""
        count, total, squares = 0, np.zeros(1), np.zeros(1)
        for ref in self.split("train"):
            try:
                values = self._coordinates(ref.stream, ref.first, ref.first + ref.rows)
            except DamageError:
                if self.on_corrupt == "raise":
                    raise
                continue
            count, total, squares = count + len(values), total + values.sum(0), squares + np.square(values).sum(0)
        mean = total / max(count, 1)
        std = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))
        std = np.where(std > 1e-6 * np.maximum(abs(mean), 1), std, 1.0)
        return Scale(self.spec.state_names, tuple(mean.tolist()), tuple(std.tolist()))

    def _coordinates(self, stream: str, start: int, stop: int) -> np.ndarray:
        """As they are: float64 (rows, S')."""
        return States.of(self.spec).columns(super().read(stream, start, stop, "state"))


def reader(recipe: Recipe) -> type[Store]:
    """The class that a recipe's stores are opened with."""
    return StateStore if recipe.observation.mode == "state" else Store


def standardise(store: Store, run: Run) -> None:
    """In mode state, give a store the run's scale; the first time it is measured and kept as ``coordinates.json``.

    Raises ``TinyJEPAError`` for a store of other states than the run's, or a damaged file.
    """
    if not isinstance(store, StateStore):
        return
    if not run.coordinates.exists():
        write_whole(run.coordinates, json.dumps(asdict(store.measure()), indent=1) + "\n")
    try:
        kept = json.loads(run.coordinates.read_text(encoding="utf-8"))
        scale = Scale(*(tuple(kept[key]) for key in ("names", "mean", "std")))
    except (ValueError, KeyError, TypeError) as error:
        raise TinyJEPAError(f"{run.coordinates} is damaged ({cause(error)}): give another --run") from None
    if scale.names != store.spec.state_names:
        raise TinyJEPAError(
            f"{store.path} has the states {', '.join(store.spec.state_names)}, but the run was trained with "
            f"{', '.join(scale.names)}: give its --store"
        )
    if not len(scale.mean) == len(scale.std) == store.spec.frame_shape[2]:
        raise TinyJEPAError(
            f"{run.path} was trained with {len(scale.mean)} coordinates, and world {store.spec.world} has "
            f"{store.spec.frame_shape[2]} here: it was installed with other angles then; train another --run"
        )
    store.scale = scale


def frame_dtype(spec: StoreSpec) -> torch.dtype:
    """uint8 for pictures, float32 for coordinates."""
    return torch.float32 if isinstance(spec, StateSpec) else torch.uint8


def picture_shape(spec: StoreSpec) -> tuple[int, int, int]:
    """(H, W, C) of ``pictures``."""
    return spec.picture_shape if isinstance(spec, StateSpec) else spec.frame_shape


def stored_spec(spec: StoreSpec, **changes: Any) -> StoreSpec:
    """The spec of a store on disk that holds the same world's pictures, with other values of some fields."""
    plain = {key: value for key, value in spec.model_dump().items() if key in StoreSpec.model_fields}
    return StoreSpec(**plain | {"frame_shape": picture_shape(spec)} | changes)


def pictures(store: Store, stream: str, start: int, stop: int) -> np.ndarray:
    """What the world showed at rows [start, stop), whatever the encoder sees: uint8 (rows, H, W, C)."""
    return Store.read(store, stream, start, stop, "frame")
