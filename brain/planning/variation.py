"""How plans hold when one factor of variation of the world changes: beside ``brain.evaluation.variation``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from brain.data.state_mode import StateStore
from brain.models.world_model import WorldModel
from brain.planning.job import Choices, Job
from shared.store.reader import Store
from shared.worlds import world_class
from shared.worlds.tasks import Reach

PLANNER = "tree"
"""It needs a goal, and nothing that is fitted."""
OPTIONS = ("nodes=100", "receding=6")
"""Fewer moments and fewer decisions than by default: where the model is wrong, every decision grows the tree anew."""


@dataclass(frozen=True)
class Planning:
    """Plays the first ``episodes`` of the world's first task in one condition after the other."""

    model: WorldModel
    run: Path
    store: Store
    episodes: int
    seed: int

    @property
    def possible(self) -> bool:
        """Whether the world's first task has goals, somebody acts, and the model sees pictures."""
        spec = self.store.spec
        first = next(iter(world_class(spec.world).tasks.values()), None)
        return bool(
            self.episodes and isinstance(first, Reach) and spec.action_dim and not isinstance(self.store, StateStore)
        )

    def read(self, options: dict[str, Any]) -> dict[str, Any]:
        """Success at the end with these world options, as ``plan.json`` has it, and of what: under ``plans``."""
        choices = Choices(
            planner=PLANNER, options=OPTIONS, episodes=self.episodes, seed=self.seed, shown=0, baselines=False,
            world_options=options,
        )  # fmt: skip
        job = Job(choices, self.run, self.model, self.store)
        figures, _ = job.evaluate(None, lambda line: None)
        job.world.close()
        return {"plans": {"task": job.name, "planner": PLANNER, **figures["success"]["at_end"]}}
