"""The contract of the two machines: the worlds and the store. Imports neither torch nor ray.

``open_store`` and ``make_world`` are the public API. Importing ``shared`` imports nothing else; the functions import
zarr's codecs and Gymnasium.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shared.store.reader import Store
    from shared.worlds import World

__all__ = ["make_world", "open_store"]


def open_store(path: Path | str) -> Store:
    """A store, open for reading: a directory, or a URL such as ``s3://bucket/path``.

    ``store.split("train")`` (or ``"validation"``, ``"test"``) lists episodes, and ``store.read_episode(episode)``
    reads one of L steps: ``frame`` uint8 (L + 1, H, W, C), ``action`` float32 (L + 1, A), ``reward`` float32 (L + 1,)
    and ``state`` float32 (L + 1, S), among others. ``store.spec`` says world, shapes and control rate.

    Raises ``shared.errors.MissingStoreError`` if there is no store, and ``StoreError`` if it is damaged or newer than
    this version.
    """
    from shared.store.reader import Store

    return Store(path)


def make_world(name: str, frame_size: int | None = None, **options: Any) -> World:
    """A world as a Gymnasium environment, by its name, its ``tinyjepa/...`` id or any Gymnasium id.

    Observations are uint8 (frame_size, frame_size, C); the default size is the world's own. ``options`` go to the
    world. Raises ``shared.errors.TinyJEPAError`` for an unknown name or option, and for a world without pictures.
    """
    from shared.worlds import make_world

    return make_world(name, frame_size, **options)
