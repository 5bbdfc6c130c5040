"""Factors of variation: named properties of a world that can be set, or sampled per episode."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.errors import TinyJEPAError
from shared.registry import closest

Value = float | tuple[float, ...]
"""A number, or several such as the three of an RGB colour."""

OUTSIDE = "@outside"
"""After a factor's name in ``vary``: it is sampled outside of its training range."""


@dataclass(frozen=True)
class Factor:
    """One factor of variation, declared by its world."""

    name: str
    unit: str
    default: Value
    """What the world is without it."""
    allowed: tuple[float, float]
    """The least and the greatest value that can be set, of each number."""
    training: tuple[float, float]
    """The range that is sampled, of each number: within ``allowed``."""
    physical: bool = False
    """Whether it changes how things move, and not only how they look."""

    def check(self, value: object) -> Value:
        """``value`` as this factor takes it; raises ``TinyJEPAError`` for another shape or one out of ``allowed``."""
        low, high = self.allowed
        many = isinstance(self.default, tuple)
        parts = list(value) if many and isinstance(value, list | tuple) else [value]
        count = len(self.default) if isinstance(self.default, tuple) else 1
        numbers = [float(part) for part in parts if isinstance(part, int | float) and not isinstance(part, bool)]
        if len(parts) != count or len(numbers) != count or not all(low <= number <= high for number in numbers):
            example = list(self.default) if isinstance(self.default, tuple) else self.default
            raise TinyJEPAError(
                f"factor '{self.name}' is {value!r}; give {'a number' if count == 1 else f'{count} numbers'} "
                f"({self.unit}) from {low:g} to {high:g}, such as {example}"
            )
        return tuple(numbers) if many else numbers[0]

    @property
    def has_outside(self) -> bool:
        """Whether anything that can be set is not sampled."""
        return self.allowed != self.training

    def sample(self, seed: int, outside: bool = False) -> Value:
        """Uniform in ``training``, or in what is ``allowed`` and not in it: a function of the arguments and the name.

        Of several numbers, at least one is outside then.
        """
        rng = np.random.default_rng([seed, *self.name.encode()])
        count = len(self.default) if isinstance(self.default, tuple) else 1
        drawn = rng.uniform(*(self.allowed if outside else self.training), count)
        while outside and ((drawn >= self.training[0]) & (drawn <= self.training[1])).all():
            drawn = rng.uniform(*self.allowed, count)
        return tuple(drawn.tolist()) if isinstance(self.default, tuple) else float(drawn[0])


class Variation:
    """Which factors of a world are set, and which are sampled.

    ``given``: values by name; ``vary``: names, with ``@outside`` those to sample outside of the training range. Raises
    ``TinyJEPAError`` for an unknown name, a bad value, or a factor that is both set and sampled, or sampled twice.
    """

    def __init__(
        self, factors: Sequence[Factor], given: Mapping[str, object] | None = None, vary: Sequence[str] = ()
    ) -> None:
        known = {factor.name: factor for factor in factors}
        if given is not None and not isinstance(given, Mapping):
            raise TinyJEPAError(f"factors are {given!r}; give values by name")
        if not isinstance(vary, list | tuple) or not all(isinstance(name, str) for name in vary):
            raise TinyJEPAError(f"vary is {vary!r}; give a list of factors")
        sampled = {name: name.removesuffix(OUTSIDE) for name in vary}
        for name in [*(given or {}), *sampled.values()]:
            if name not in known:
                raise TinyJEPAError(closest(name, [*known], "factor") if known else "this world has no factors")
        if both := [name for name in sampled.values() if name in (given or {})]:
            raise TinyJEPAError(f"factor '{both[0]}' is set and varied: choose one")
        for text, name in sampled.items():
            if text != name and (name in vary or not known[name].has_outside):
                why = "inside as well: choose one" if name in vary else "what can be set: it has no outside"
                raise TinyJEPAError(f"'{text}': factor '{name}' is sampled from {why}")
        self._fixed = {name: factor.default for name, factor in known.items()}
        self._fixed |= {name: known[name].check(value) for name, value in (given or {}).items()}
        self._sampled = [(known[name], text != name) for text, name in sampled.items()]
        self.names = tuple(name for name in known if name in (given or {}) or name in sampled.values())
        """The factors that are set or sampled."""

    @property
    def sampled(self) -> bool:
        """Whether episodes differ in factors."""
        return bool(self._sampled)

    def values(self, seed: int | None) -> dict[str, Value]:
        """The value of every factor in the episode of this seed; without a seed, what is not sampled is."""
        drawn = {} if seed is None else {factor.name: factor.sample(seed, outside) for factor, outside in self._sampled}
        return self._fixed | drawn


def number(value: Value) -> float:
    """The value of a factor of one number."""
    assert not isinstance(value, tuple)
    return value


def text(value: Value) -> str:
    """A value in a few characters."""
    parts = value if isinstance(value, tuple) else (value,)
    return "/".join(f"{part:.3g}" if math.isfinite(part) else str(part) for part in parts)
