"""Small networks on frozen latents for planning: fitted once, kept in the run folder.

Each is fitted to whole episodes of a store by hindsight: what was reached later in an episode was, looking back, its
goal. The encoder and the predictor do not change. ``reward``, ``value`` and a ``policy`` with ``advantage`` read the
store's rewards, which are labels; ``inverse`` and ``goal-steps`` read frames and actions only. ``states``
(``brain.planning.paths``) reads true states, to draw what is imagined: no planner uses it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from brain.data.sampling import choose, dense
from brain.data.windows import Timing
from brain.models.latents import LatentTable, embed, encoder_of
from brain.models.layers.mlp import mlp
from brain.models.world_model import WorldModel
from brain.planning.actions import ActionSpace
from brain.planning.baselines import effort
from brain.planning.costs.base import Setting
from brain.planning.dynamics import Counted, Imagined
from brain.recipes.schema import PartOptions
from brain.runs import checkpoint
from brain.training.loop import one_cycle
from shared.errors import TinyJEPAError
from shared.store.reader import Store

Kind = Literal["inverse", "goal-steps", "reward", "value", "policy", "states"]

WIDTH, DEPTH, BATCH, PEAK = 384, 3, 256, 1e-3
TOKEN_WIDTH = 32
"""Channels to which the tokens of a grid are reduced."""
MOST_NUMBERS = 64_000_000
MOST_LATENTS = 120_000
"""Limits of the latents held in memory while fitting; the smaller one applies."""
SECONDS = 5.0
"""Between lines of progress."""
THINNED = 3
"""Pairs of moments are drawn from every third frame: neighbours are alike, and more episodes teach more."""


class Reader(nn.Module):
    """Latents (N, ..., D), features last, to features (N, ``width``): a vector as it is, a grid of tokens by
    convolutions that keep where things are."""

    def __init__(self, latent_shape: torch.Size) -> None:
        super().__init__()
        *places, dim = latent_shape
        if len(places) == 1:
            side = int(places[0] ** 0.5)
            places = [side, side] if side * side == places[0] else [1, places[0]]
        self.places = tuple(places)
        if not places:
            self.width = dim
            return
        self.network = nn.Sequential(
            nn.Conv2d(dim, TOKEN_WIDTH, 1), nn.SiLU(), nn.Conv2d(TOKEN_WIDTH, TOKEN_WIDTH, 3, 2, 1), nn.SiLU(),
            nn.Conv2d(TOKEN_WIDTH, TOKEN_WIDTH, 3, 2, 1), nn.SiLU(), nn.Flatten(),
        )  # fmt: skip
        with torch.no_grad():
            self.width = self.network(torch.zeros(1, dim, *places)).shape[1]

    def forward(self, z: Tensor) -> Tensor:
        if not self.places:
            return z
        return self.network(z.reshape(len(z), *self.places, -1).movedim(-1, 1))


class Head(nn.Module):
    """An MLP on latents (N, *L), or on pairs of latents of one moment each, and numbers beside them (N, extra)."""

    def __init__(self, latent_shape: torch.Size, outputs: int, *, pair: bool = False, extra: int = 0) -> None:
        super().__init__()
        *places, dim = latent_shape
        self.reader = Reader(torch.Size((*places, dim * (1 + pair))))
        self.network = mlp(self.reader.width + extra, WIDTH, outputs, DEPTH)
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))

    def forward(self, z: Tensor, goal: Tensor | None = None, extra: Tensor | None = None) -> Tensor:
        features = self.reader(z if goal is None else torch.cat([z, goal], -1))
        return self.network(features if extra is None else torch.cat([features, extra], 1)) * self.scale


@dataclass(frozen=True)
class Examples:
    """Embedded episodes end to end, a row for each of their observations."""

    z: Tensor
    """standardised latents, float32 (R, *L)"""
    state: np.ndarray
    """the true state, float32 (R, S)"""
    actions: Tensor
    """float32 (R, A): the action taken at each row"""
    rewards: Tensor
    """float32 (R,): its reward"""
    last: Tensor
    """int64 (R,): the last row of the episode that each row belongs to"""
    terminated: Tensor
    """bool (R,): whether the episode of each row ended for good, and nothing can be earned after it"""
    stride: int
    """frames of a model step"""
    every: int = 1
    """frames between rows; only with 1 do rows hold all actions and rewards"""

    def starts(self, steps: int) -> Tensor:
        """int64 (M,): rows from which ``steps`` model steps stay within the episode."""
        return torch.nonzero(self.rest >= steps * self.stride)[:, 0]

    @cached_property
    def rest(self) -> Tensor:
        """int64 (R,): rows of the same episode after each."""
        return self.last - torch.arange(len(self.last))

    @cached_property
    def followed(self) -> Tensor:
        """int64 (M,): rows that others follow in the episode."""
        return torch.nonzero(self.rest > 0)[:, 0]

    @cached_property
    def earned(self) -> Tensor:
        """float32 (R,): the reward of the model step from each row."""
        total = torch.cumsum(F.pad(self.rewards.double(), (1, 0)), 0)
        rows = torch.arange(len(self.rewards))
        return (total[torch.minimum(rows + self.stride, self.last)] - total[rows]).float()


def imagined_of(setting: Setting, kind: str) -> Imagined:
    """The world model as it is planned with. Raises ``TinyJEPAError`` for other dynamics."""
    dynamics = setting.dynamics.inner if isinstance(setting.dynamics, Counted) else setting.dynamics
    if not isinstance(dynamics, Imagined):
        raise TinyJEPAError(f"{kind} reads a model's latents: it cannot be used with --dynamics true")
    return dynamics


def model_of(setting: Setting, kind: str) -> WorldModel:
    """The world model. Raises ``TinyJEPAError`` for other dynamics."""
    return imagined_of(setting, kind).model


def examples(imagined: Imagined, store: Store, most: int = MOST_LATENTS, every: int = 1) -> Examples:
    """Training episodes, evenly spread, of about ``most`` observations, each ``every``-th of an episode, as the latents
    that are planned with.

    Raises ``TinyJEPAError`` where none is long enough for a model step.
    """
    model = imagined.model
    timing = Timing.of(model.recipe.observation)
    most = min(most, MOST_NUMBERS // imagined.latent_shape.numel())
    refs = choose(store.split("train"), timing, most, every=every)
    if not refs:
        raise TinyJEPAError(f"{store.path}: no training episode holds a model step: collect longer ones")
    table = LatentTable(store.spec, refs, timing, [dense(ref, timing)[::every] for ref in refs])
    raw = encoder_of(model)

    def read(observations: np.ndarray) -> np.ndarray:
        z = model.dynamics.standardise(torch.from_numpy(raw(observations)).to(model.device))
        latents: np.ndarray = imagined.latents(z).cpu().numpy()
        return latents

    embed(store, table, {"model": read})
    z = torch.from_numpy(table.latents["model"])
    seen = table.observed()
    lengths = torch.tensor([len(rows) for rows in table.sampled])
    last = (torch.cumsum(lengths, 0) - 1).repeat_interleave(lengths)
    terminated = torch.tensor([ref.terminated for ref in refs]).repeat_interleave(lengths)
    actions, rewards = torch.from_numpy(table.action[seen]), torch.from_numpy(table.reward[seen])
    return Examples(z, table.state[seen], actions, rewards, last, terminated, timing.stride, every)


Loss = Callable[[Head, Examples, torch.Generator], Tensor]


STEPS = "fit_steps"
"""The option of every part that says for how many steps it is fitted."""
NOT_CHOSEN = ("latent_shape", "states")
"""Facts of a part that follow from the model and the world."""


class Part:
    """A learned part of a kind, kept in the run folder as ``planning-KIND.safetensors``; that on a baseline's latents
    as ``planning-KIND-BASELINE.safetensors``."""

    def __init__(self, setting: Setting, kind: Kind, **choices: Any) -> None:
        """``choices``: under which it is fitted."""
        imagined, store = imagined_of(setting, kind), setting.store
        suffix = "" if imagined.made_by == "model" else f"-{imagined.made_by}"
        self.path = setting.run / f"planning-{kind}{suffix}.safetensors"
        self.store = store
        self._setting, self._kind, self._baseline = setting, kind, bool(suffix)
        self._facts: dict[str, Any] = {"latent_shape": list(imagined.latent_shape), **choices}
        if suffix:
            self._facts["seed"] = setting.seed  # a baseline's latents come from the seed, the store and its fit
            self._facts["effort"] = effort(imagined.model.recipe)
        self._source = {} if store is None else {"store": str(store.address), "rows": store.rows}

    @property
    def suits(self) -> bool:
        """Whether one is kept that was fitted to such latents under these choices; where the store was chosen for the
        fit, to no other one and to as many rows."""
        if not self.path.exists():
            return False
        kept = checkpoint.read_facts(self.path)
        wanted = self._facts | (self._source if self._setting.chosen or self._baseline else {})
        return all(kept.get(key) == value for key, value in wanted.items())

    @property
    def to_keep(self) -> bool:
        """Whether one is kept that is not to be replaced: there is nothing to fit another to, or it was fitted to
        another store than the present one, which nobody has chosen for the fit."""
        if not self.path.exists() or self.store is None:
            return self.path.exists()
        foreign = checkpoint.read_facts(self.path).get("store") != str(self.store.address)
        return foreign and not self._setting.chosen and not self._baseline

    def other(self, asked: Collection[str]) -> str:
        """What the one that is kept was fitted with instead of what is ``asked`` for, and to which store; empty where
        it is the same."""
        kept = checkpoint.read_facts(self.path)
        differ = {
            key: kept[key]
            for key in self._facts
            if key in asked and kept.get(key, self._facts[key]) != self._facts[key]
        }
        if not differ:
            return ""
        how = "; ".join(f"{key} {value}, not {self._facts[key]}" for key, value in differ.items())
        return f"{self.path} was fitted with {how}, to {kept['store']}"

    def restore(self, module: nn.Module) -> None:
        """Load the one that is kept."""
        tensors, kept = checkpoint.load(self.path)
        checkpoint.restore(self.path, module, tensors, "head")
        self._in_use(kept)

    def save(self, module: nn.Module) -> None:
        """Keep one that was fitted to the store."""
        assert self.store is not None
        facts = self._facts | self._source | {"seed": self._setting.seed}
        self._in_use(facts)
        checkpoint.save(self.path, checkpoint.state(head=module), facts)

    def _in_use(self, facts: dict[str, Any]) -> None:
        self._setting.fitted_to[self._kind] = str(facts["store"])
        self._setting.fitted_with[self._kind] = {
            key: value for key, value in facts.items() if key not in ("store", *NOT_CHOSEN)
        }

    def say(self, line: str) -> None:
        if not self._setting.quiet:
            print(f"fit: {line}", file=sys.stderr, flush=True)


def learned(
    setting: Setting, kind: Kind, make: Callable[[Imagined], Head], loss: Loss, options: PartOptions, *choices: str
) -> Head:
    """The run's network of this kind; fitted and kept where it is not there yet.

    One that was fitted to other latents, for another number of steps (``fit_steps``) or under other ``choices`` of its
    loss, names of ``options``, is fitted anew; so is one that was fitted to another store, or to fewer rows of it,
    where the store was chosen for the fit. Without a store, and where what is there was fitted to another one than the
    present, which was not chosen, it is taken as it is; ``TinyJEPAError`` where another was asked for.
    """
    steps: int = getattr(options, STEPS)
    imagined = imagined_of(setting, kind)
    part, head = Part(setting, kind, step=steps, **{name: getattr(options, name) for name in choices}), make(imagined)
    if part.suits:
        part.restore(head)
    elif part.to_keep:
        asked = {"step" if name == STEPS else name for name in options.model_fields_set}
        if other := part.other({"latent_shape", *asked}):
            raise TinyJEPAError(f"{other}: leave that option out, or give --fit STORE to fit another")
        part.restore(head)
    elif part.store is None:
        raise TinyJEPAError(f"{part.path} is missing, and there is no store to fit it to: give --fit STORE")
    else:
        thinned = THINNED if kind in ("inverse", "goal-steps") else 1
        if thinned not in setting.examples:
            part.say(f"encodes episodes of {part.store.address}")
            setting.examples[thinned] = examples(imagined, part.store, every=thinned)
        part.say(f"{kind}, to {len(setting.examples[thinned].z):,} moments, kept as {part.path}")
        fit(head, setting.examples[thinned], loss, steps, setting.seed, lambda line: part.say(f"{kind}, {line}"))
        part.save(head)
    return head.to(imagined.model.device).eval().requires_grad_(False)


def fit(
    head: Head, data: Examples, loss: Loss, steps: int, seed: int, say: Callable[[str], None] = lambda line: None
) -> None:
    """AdamW under a one-cycle schedule; the same weights for the same data, steps and seed. ``say`` hears of progress,
    every ``SECONDS`` at most."""
    torch.manual_seed(seed)
    for module in head.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.reset_parameters()
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(head.parameters(), PEAK, weight_decay=1e-4)
    said = time.monotonic()
    for step in range(steps):
        if time.monotonic() > said + SECONDS:
            said = time.monotonic()
            say(f"step {step:,} of {steps:,}")
        for group in optimizer.param_groups:
            group["lr"] = PEAK * one_cycle(step / steps)
        value = loss(head, data, generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        optimizer.step()


def hindsight(data: Examples, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (B,), rows of the same episode after them (B,), as goals, and the frames between (B,), >= 1.

    Half of the goals are uniform over the rest of the episode, half lie near: what is close matters in the end.
    """
    able = data.followed
    rows = able[torch.randint(len(able), (BATCH,), generator=generator)]
    share = torch.rand(BATCH, generator=generator)
    share[BATCH // 2 :] = share[BATCH // 2 :] ** 3
    rest = data.rest[rows]
    ahead = 1 + (share * rest).long().clamp(max=rest - 1)
    return rows, rows + ahead, ahead * data.every


def inverse_loss(space: ActionSpace) -> Loss:
    """The action that was taken: squared error in units of the actions' deviation, or cross-entropy of each choice."""

    def loss(head: Head, data: Examples, generator: torch.Generator) -> Tensor:
        rows, goals, _ = hindsight(data, generator)
        taken = data.actions[rows]
        guess = head(data.z[rows], data.z[goals])
        if space.widths:
            groups = zip(guess.split(space.widths, 1), taken.split(space.widths, 1))
            return torch.stack([F.cross_entropy(g, t.argmax(1)) for g, t in groups]).sum()
        spread = data.actions.std(0, correction=0).clamp_min(1e-4)
        return ((guess - taken) / spread).square().mean()

    return loss
