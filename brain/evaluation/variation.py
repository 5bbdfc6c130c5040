"""How a judged model holds when one factor of variation of its world changes.

For every factor the simulator makes fresh episodes, with it at its default, sampled within its training range, and
sampled outside of it; all other factors are at their defaults. Seeds, drivers and random numbers are the same in every
condition, so that columns differ by the factor alone. Form, thresholds and aggregate are those of ``judge.json``; the
probe is fitted once, to the run's training episodes.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from brain.data.sampling import choose, dense, strided
from brain.data.state_mode import StateStore, picture_shape, reader, stored_spec
from brain.data.states import States
from brain.data.windows import Timing
from brain.evaluation import metrics
from brain.evaluation.baselines import Fitted
from brain.evaluation.energies import Forecasts, LatentScorer, score
from brain.evaluation.negatives import HARD, LONG, draw_anchors, propose
from brain.evaluation.observers import Observers, observe
from brain.evaluation.pairs import PAST, STEPS, fresh_seeds
from brain.evaluation.probes import LinearProbe, Rows, score_columns, typical
from brain.evaluation.summary import energy_figures
from brain.evaluation.violations import AGGREGATES
from brain.models.latents import LatentTable, embed, encoder_of
from brain.models.world_model import WorldModel
from brain.runs.judgement import Judgement
from shared.errors import TinyJEPAError
from shared.registry import closest
from shared.store.dataset import create_store
from shared.store.reader import Store
from shared.store.schema import Episode, EpisodeRef, RunSpec, Split, StoreSpec
from shared.store.writer import StreamWriter
from shared.worlds import stored_world, world_class
from shared.worlds.base import World
from shared.worlds.episode import play, record
from shared.worlds.factors import OUTSIDE, Factor
from shared.worlds.policy import Policy, driver_of
from shared.worlds.violations import draw_pairs

Where = Literal["default", "inside", "outside"]
PLACES: tuple[Where, ...] = ("default", "inside", "outside")
"""Of a factor's values: its default, its training range, what can be set beyond it."""

SCORED = ("teleport", *HARD, "wrong-action-1", f"wrong-action-{LONG}")
"""Negatives that are scored."""

SHORTEST, LONGEST = 64, 200
"""Steps of an episode: between these, the median of the store's test episodes."""
TRAIN_OBSERVATIONS, VALIDATION_OBSERVATIONS = 4_000, 1_500
"""To which the probe is fitted, and by which its penalty is chosen."""
SHOWN = 6
"""Episodes of which a frame is kept."""


@dataclass(frozen=True)
class Condition:
    """A world that differs from the run's own in one factor, or (with no factor) in none."""

    factor: str
    where: Where
    options: dict[str, Any]
    """World options."""

    def __str__(self) -> str:
        return f"{self.factor}, {self.where}" if self.factor else "default"


@dataclass(frozen=True)
class Sizes:
    """How much is drawn in each condition."""

    episodes: int = 24
    pairs: int = 8
    """Of each violation; 0 leaves violations out."""


def chosen_factors(spec: StoreSpec, names: Sequence[str]) -> list[Factor]:
    """The factors of the store's world of these names, all of them for none.

    Raises ``TinyJEPAError`` for an unknown name, and for a world that has no factors or cannot be made here.
    """
    known = {factor.name: factor for factor in world_class(spec.world).factors}
    if not known:
        raise TinyJEPAError(f"world '{spec.world}' has no factors of variation: leave out --vary")
    for name in names:
        if name not in known:
            raise TinyJEPAError(closest(name, [*known], "factor"))
    return [known[name] for name in dict.fromkeys(names or known)]


def conditions(spec: StoreSpec, factors: Sequence[Factor]) -> list[Condition]:
    """The default first, then every factor inside and, where there is an outside, outside.

    Factors that the store sets stay set, but for the one in question; what it samples is at its default.
    """
    fixed = {key: value for key, value in spec.world_options.items() if key not in ("vary", "factors")}
    given = dict(spec.world_options.get("factors") or {})
    found = [Condition("", "default", fixed | ({"factors": given} if given else {}))]
    for factor in factors:
        others = {name: value for name, value in given.items() if name != factor.name}
        options = fixed | ({"factors": others} if others else {})
        found.append(Condition(factor.name, "inside", options | {"vary": [factor.name]}))
        if factor.has_outside:
            found.append(Condition(factor.name, "outside", options | {"vary": [factor.name + OUTSIDE]}))
    return found


@dataclass(frozen=True)
class Reading:
    """What was found in one condition."""

    figures: dict[str, Any]
    frames: np.ndarray
    """uint8 (N, H, W, C): the middle of each of a few episodes, the same ones in every condition"""


class Examiner:
    """Reads energies, probes and violations of a model in one condition after the other."""

    def __init__(self, model: WorldModel, store: Store, judgement: Judgement, sizes: Sizes, seed: int) -> None:
        """Fits the probe. Raises ``TinyJEPAError`` for a store without training or validation episodes."""
        self._model, self._store, self._judgement = model, store, judgement
        self._sizes, self._seed = sizes, seed
        self._timing = Timing.of(model.recipe.observation)
        self._states = States.of(store.spec)
        self._space = Fitted(model.dynamics)
        tested = [ref.rows - 1 for ref in store.split("test") if ref.rows >= self._timing.shortest]
        if not tested:
            raise TinyJEPAError(f"{store.path} has no test episode that holds a model step: collect more frames")
        self.steps = int(np.clip(np.median(tested), SHORTEST, LONGEST))
        self._probe = self._fit_probe() if self._states.names else None

    def read(self, condition: Condition) -> Reading:
        """Energies, probes and violations, and example frames. A pure function of what it was made with."""
        spec = self._store.spec
        world = stored_world(spec.world, picture_shape(spec)[0], condition.options)
        try:
            with tempfile.TemporaryDirectory(prefix="tinyjepa-vary-") as folder:
                made, frames = self._collect(world, condition, Path(folder) / "store")
                found = self._observations(made)
            return Reading(found | self._violations(world), frames)
        finally:
            world.close()

    def _collect(self, world: World, condition: Condition, path: Path) -> tuple[Store, np.ndarray]:
        """Fresh episodes as a store of their own, and some of their frames."""
        run = RunSpec(self._seed, "driver", self.steps)
        spec = create_store(path, stored_spec(self._store.spec, world_options=condition.options))
        seeds = fresh_seeds(self._store, "test", [self._seed, *b"variation"])
        shown = []
        with StreamWriter(path, spec, run, 0) as writer:
            for index, seed in enumerate(itertools.islice(seeds, self._sizes.episodes)):

                def begin(seed: int = seed) -> Policy:
                    return driver_of(world, np.random.default_rng([seed, *b"driver"]))

                one = record(world, play(world, seed, begin, self.steps), self.steps)
                writer.append(Episode(index=index, seed=seed, policy=run.policy, **one._asdict()))
                if index < SHOWN:
                    shown.append(one.frame[len(one.frame) // 2])
        made = reader(self._model.recipe)(path)
        if isinstance(made, StateStore) and isinstance(self._store, StateStore):
            made.scale = self._store.scale
        return made, np.stack(shown)

    def _table(self, store: Store, refs: Sequence[EpisodeRef], sampled: Sequence[np.ndarray]) -> LatentTable:
        table = LatentTable(store.spec, refs, self._timing, sampled)
        embed(store, table, {"model": encoder_of(self._model)})
        return table

    def _rows(self, table: LatentTable, every: int) -> Rows:
        flat = table.observed(every)
        latents = table.latents["model"][table.at(flat)]
        features = latents if latents.ndim == 2 else self._model.space.features(latents)
        return typical(self._states, Rows(features, table.state[flat]))

    def _fit_probe(self) -> LinearProbe | None:
        stride, rng, parts = self._timing.stride, np.random.default_rng([self._seed, *b"probe"]), []
        wanted: tuple[tuple[Split, int], ...] = (
            ("train", TRAIN_OBSERVATIONS), ("validation", VALIDATION_OBSERVATIONS),
        )  # fmt: skip
        for split, count in wanted:
            refs = choose(self._store.split(split), self._timing, count, every=stride)
            if not refs:
                raise TinyJEPAError(f"{self._store.path} has no {split} episode that holds a model step: collect more")
            table = self._table(self._store, refs, [strided(ref, self._timing, rng) for ref in refs])
            parts.append(self._rows(table, 1))
        return LinearProbe(self._states, *parts) if min(len(part.states) for part in parts) > 1 else None

    def _observations(self, store: Store) -> dict[str, Any]:
        """Energies of negatives, false alarms and probes, on all episodes of a store."""
        refs = [ref for ref in store.episodes if ref.rows >= self._timing.shortest]
        if len(refs) < 2:
            raise TinyJEPAError("nearly all episodes end before a model step: this factor leaves nothing to evaluate")
        table = self._table(store, refs, [dense(ref, self._timing) for ref in refs])
        energy, rng = self._judgement.energy, np.random.default_rng([self._seed, *b"anchors"])
        anchors = draw_anchors(table, self._model.recipe.energy.anchors, rng)
        proposals = {kind: propose(kind, anchors, table, self._seed) for kind in SCORED}
        latents = self._space.standardise(table.latents["model"])
        forecasts = Forecasts(table, anchors, latents, self._space, self._model.device)
        scorer = LatentScorer(table, anchors, latents, {}, forecasts, energy.form)
        scored = score({energy.form: scorer}, proposals, SCORED)
        limits = {steps: np.nan if limit is None else limit for steps, limit in energy.thresholds.items()}
        limits |= {steps: np.nan for steps in (1, LONG) if steps not in limits}
        kinds = energy_figures(scored, energy.form, limits)
        true = scorer.true(1)
        found: dict[str, Any] = {
            "episodes": len(refs),
            "transitions": int(np.isfinite(true).sum()),
            "energy": {name: kinds[name]["auc"]["model"] for name in ("hard", *SCORED) if name in kinds},
            "false_alarm_rate": metrics.share_above(true[np.isfinite(true)], limits[1]),
        }
        if self._probe is not None:
            rows = self._rows(table, self._timing.stride)
            scores = (
                score_columns(self._states, rows.states, self._probe.predict(rows.features))
                if len(rows.states) > 1
                else {}
            )
            found["probes"] = {name: scores[name].r2 if name in scores else None for name in self._states.headline}
        return found

    def _violations(self, world: World) -> dict[str, Any]:
        """Means over the violations that the simulator makes; nothing in mode state or for a world without any."""
        setup = self._judgement.violations_setup
        if not self._sizes.pairs or not world.violations or setup is None or isinstance(self._store, StateStore):
            return {}
        seeds = fresh_seeds(self._store, "test", [self._seed, *b"varied-violations"])
        past = max(PAST, self._timing.stack + 1)
        pairs = draw_pairs(
            world, world.violations, seeds, self._sizes.pairs, steps=STEPS, past=past, stride=self._timing.stride
        )
        pairs = [one for one in pairs if 2 * len(one) >= self._sizes.pairs]
        if not pairs:
            return {}
        seen, honest = observe(pairs, Observers(self._model, self._judgement.energy.form))
        surprise = AGGREGATES[setup.aggregate]
        clips = [(surprise(each["model"].true), surprise(each["model"].impossible)) for each in seen]
        found: dict[str, Any] = {
            "auc": float(np.mean([metrics.auc(*both) for both in clips])),
            "relative_accuracy": float(np.mean([metrics.pair_accuracy(*both) for both in clips])),
            "violations": len(pairs),
            "pairs": sum(map(len, pairs)),
        }
        if setup.threshold is not None:
            found["detection_rate"] = float(np.mean([metrics.share_above(both[1], setup.threshold) for both in clips]))
            found["false_alarm_rate"] = metrics.share_above(surprise(honest), setup.threshold)
        return {"violations": found}
