"""The observations that a run is evaluated on: the same for energies, probes and rewards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from brain.data.sampling import choose, dense, strided
from brain.data.splits import judged_splits
from brain.data.windows import Timing
from brain.evaluation.baselines import PCA, pca_width
from brain.evaluation.probes import Rows
from brain.models.latents import Encoder, LatentTable, encoder_of, sample_observations
from brain.models.space import LatentSpace
from brain.models.untrained import OBSERVATIONS, random_encoder
from brain.models.world_model import WorldModel
from shared.store.reader import Store
from shared.store.schema import EpisodeRef, Split

TRAIN_OBSERVATIONS = 8_000
"""Number of train observations, one model step apart, to which probes and baselines are fitted."""

HELD_OUT_OBSERVATIONS = 12_000
"""Maximum number of validation (and test) observations: all rows of episodes spread evenly over the split."""

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


@dataclass(frozen=True)
class Samples:
    """Tables of the three splits, not embedded yet."""

    refs: Mapping[Split, list[EpisodeRef]]
    """all episodes of each split"""
    tables: Mapping[Split, LatentTable]
    space: LatentSpace
    """of the model's latents"""
    baseline: np.ndarray
    """uint8 (N, stack, H, W, C): a few raw train observations"""
    rng: np.random.Generator
    """for what is drawn next"""
    probed: int
    """probes use every ``every``-th held-out observation, so that these are a model step apart"""

    def rows(self, split: Split, space: str) -> Rows:
        """One split's rows for probing, a model step apart, under a representation that the tables hold."""
        table = self.tables[split]
        flat = table.observed(1 if split == "train" else self.probed)
        latents = table.latents[space][table.at(flat)]
        return Rows(latents if latents.ndim == 2 else self.space.features(latents), table.state[flat])

    @property
    def train(self) -> LatentTable:
        return self.tables["train"]

    @property
    def validation(self) -> LatentTable:
        return self.tables["validation"]

    @property
    def test(self) -> LatentTable:
        return self.tables["test"]


def draw_samples(store: Store, model: WorldModel, seed: int, *, every: int = 1) -> Samples:
    """The samples of a store; a function of its content, the model's timing and ``seed``.

    With ``every`` set to the stride, only those held-out observations are taken that are probed. Raises
    ``TinyJEPAError`` where a split has no episode that holds a transition.
    """
    rng, timing = np.random.default_rng(seed), Timing.of(model.recipe.observation)
    refs = judged_splits(store, timing)
    chosen = choose(refs["train"], timing, TRAIN_OBSERVATIONS, every=timing.stride)
    train = LatentTable(store.spec, chosen, timing, [strided(ref, timing, rng) for ref in chosen])
    tables: dict[Split, LatentTable] = {"train": train}
    for split in ("validation", "test"):
        chosen = choose(refs[split], timing, HELD_OUT_OBSERVATIONS)
        tables[split] = LatentTable(store.spec, chosen, timing, [dense(ref, timing)[::every] for ref in chosen])
    sample = sample_observations(store, train, OBSERVATIONS, rng)
    return Samples(refs, tables, model.space, sample, rng, max(1, timing.stride // every))


def representations(model: WorldModel, store: Store, samples: Samples, seed: int) -> dict[str, Encoder]:
    """Representations of an observation: ``model``, and the baselines ``random-encoder`` and ``pca`` (of its width)."""
    untrained = random_encoder(model.recipe, store.spec, samples.baseline, seed, model.device)
    return {
        "model": encoder_of(model),
        "random-encoder": encoder_of(untrained),
        "pca": PCA(samples.baseline, pca_width(model.space), seed),
    }
