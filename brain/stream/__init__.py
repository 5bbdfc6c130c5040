"""From the store to shuffled batches: a pool of blocks, loader threads, uint8 all the way to the device.

``blocks`` cuts episodes into blocks, ``plan`` says which blocks a batch draws from, ``pool`` holds them in memory,
``follow`` watches a store that grows, ``stream`` puts them together. See ``docs/stream.md``.
"""

from brain.stream.batch import Batch
from brain.stream.follow import Follower
from brain.stream.stream import Stream

__all__ = ["Batch", "Follower", "Stream"]
