"""The data source of the stages: one store, how it is read, and what was skipped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from brain.data.blocks import Known, select
from brain.data.follow import Follower, look
from brain.data.loader import Stream
from brain.data.state_mode import pictures
from brain.distributed import rank, world_size
from brain.recipes.schema import Observation
from shared.errors import DamageError
from shared.store.reader import Store
from shared.store.schema import EpisodeRef


@dataclass
class Feed:
    """A store to learn from. ``follower`` is there while it grows."""

    store: Store
    follower: Follower | None = None
    memory: int = 4 << 30
    """Bytes of frames that a stream holds."""
    pool: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where it holds them."""
    skipped: dict[tuple[str, int], str] = field(default_factory=dict)
    """Damaged shards that were left out, by stream and number: what is wrong with each."""

    def stream(
        self,
        observation: Observation,
        steps: int,
        batch: int,
        seed: int,
        device: torch.device,
        state: dict[str, Any] | None,
    ) -> Stream:
        """A stream of training windows."""
        return Stream(
            self.store,
            "train",
            stack=observation.stack,
            stride=observation.stride,
            steps=steps,
            batch=batch,
            seed=seed,
            device=device,
            pool=self.pool,
            memory=self.memory,
            rank=rank(),
            world_size=world_size(),
            follower=self.follower,
            state=state,
        )

    def known(self) -> Known:
        """The episodes that are committed now, as a checkpoint keeps them."""
        return look(self.store, self.follower, "known")[0]

    def episodes(self, known: Known) -> list[EpisodeRef]:
        """The training episodes of ``known``; without those in damaged shards, where these are skipped."""
        return self.sound(select(self.store, known, "train"))

    def sound(self, episodes: list[EpisodeRef]) -> list[EpisodeRef]:
        """The episodes that can be read: all, unless damage is skipped; then each is read to find out."""
        return episodes if self.store.on_corrupt == "raise" else [ref for ref in episodes if self._sound(ref)]

    def note(self, stream: Stream, step: int) -> str:
        """For the progress line: how far a followed stream is behind, and what was left out."""
        words = ""
        behind = self.behind(stream, step)
        if behind is not None:
            words += f", {behind:,} frames behind" + (", collection finished" if stream.end else "")
        if count := len(stream.damaged) + len(self.store.damaged_logs):
            words += f", {count} damaged left out"
        return words

    def behind(self, stream: Stream, step: int) -> int | None:
        """Committed frames that a followed stream has not shown yet; None where nothing is followed."""
        return stream.behind(step) if self.follower is not None else None

    def account(self, stream: Stream) -> None:
        """Remember what a stream left out."""
        self.skipped |= stream.damaged

    def losses(self) -> list[str]:
        """One line on each damaged log or shard that was left out."""
        logs = [f"skipped the rest of stream {name}: {why}" for name, why in sorted(self.store.damaged_logs.items())]
        rows = self.store.spec.shard_rows
        return logs + [
            f"skipped rows {shard * rows}..{(shard + 1) * rows - 1} of stream {stream}: {why}"
            for (stream, shard), why in sorted(self.skipped.items())
        ]

    def close(self) -> None:
        if self.follower is not None:
            self.follower.close()

    def _sound(self, ref: EpisodeRef) -> bool:
        rows = self.store.spec.shard_rows
        for shard in range(ref.first // rows, (ref.first + ref.rows - 1) // rows + 1):
            start, stop = max(ref.first, shard * rows), min(ref.first + ref.rows, (shard + 1) * rows)
            try:
                pictures(self.store, ref.stream, start, stop)
                for name in ("action", "state"):
                    self.store.read(ref.stream, start, stop, name)
            except DamageError as error:
                self.skipped[ref.stream, shard] = str(error)
                return False
        return True
