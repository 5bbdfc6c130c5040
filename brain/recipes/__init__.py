"""Recipes: small typed files that hold a whole experiment. A stock recipe is one TOML file in this folder."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from brain.parts import ENCODERS, FLAT_ENCODERS, OBJECTIVES, PREDICTORS
from brain.recipes.schema import Recipe
from shared.errors import TinyJEPAError
from shared.registry import closest

DEFAULT = "car-racing"
_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The stock recipes, the default first."""
    return sorted((path.stem for path in _FOLDER.glob("*.toml")), key=lambda name: (name != DEFAULT, name))


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A stock recipe by name, or the user's own by path (``.toml``), with ``key=value`` overrides applied.

    Keys are dotted (``objective.covariance=0.2``); values are TOML, bare words count as strings. Raises
    ``TinyJEPAError`` with the closest match for an unknown recipe or key, and with the reason for a bad value.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if "/" in name:
            raise TinyJEPAError(f"no recipe file {name}: a recipe of your own is a file that ends in .toml")
        if name not in names():
            raise TinyJEPAError(closest(name, names(), "recipe"))
        path = _FOLDER / f"{name}.toml"
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TinyJEPAError(f"no recipe file {path}: check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TinyJEPAError(f"{path} is not a TOML recipe ({error}): mend it, or see brain recipes") from None
    for override in overrides:
        _override(tree, override)
    return validate(tree, " ".join([name, *(f"--set {override}" for override in overrides)]))


def validate(tree: dict[str, Any], source: str) -> Recipe:
    """A parsed recipe, checked; ``source`` is named in errors."""
    try:
        recipe = Recipe.model_validate(tree)
    except ValidationError as error:
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise TinyJEPAError(_unknown(key)) from None
        reason = first["msg"].removeprefix("Value error, ")
        raise TinyJEPAError(f"recipe {source}: {key}: {reason}{_got(first['input'])}") from None
    for registry, name in (
        (ENCODERS, recipe.encoder.kind),
        (OBJECTIVES, recipe.objective.views),
        (PREDICTORS, recipe.objective.predictor.kind),
        (PREDICTORS, recipe.prediction.predictor.kind),
    ):
        if name not in registry:
            raise TinyJEPAError(closest(name, registry.names(), registry.kind))
    if recipe.observation.mode == "state" and recipe.encoder.kind not in FLAT_ENCODERS:
        raise TinyJEPAError(
            f"recipe {source}: encoder {recipe.encoder.kind} needs pictures, which observation.mode state has none of: "
            f"set encoder.kind={' or '.join(FLAT_ENCODERS)}"
        )
    return recipe


def dump(recipe: Recipe) -> str:
    """The recipe as TOML; ``load`` of it gives the same recipe."""
    return tomli_w.dumps(recipe.model_dump(mode="json"))


def explain(recipe: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted key, value, explanation) of every leaf."""
    for name, field in type(recipe).model_fields.items():
        value = getattr(recipe, name)
        if isinstance(value, BaseModel):
            yield from explain(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""


def keys() -> list[str]:
    """Every dotted key a recipe may set."""
    return [key for key, _, _ in explain(Recipe(name="keys"))]


def _unknown(key: str) -> str:
    """One line on a key that no recipe has: the closest one, and those of its section."""
    section, _, leaf = key.rpartition(".")
    near = [name.rpartition(".")[2] for name in keys() if section and name.rpartition(".")[0] == section]
    match = difflib.get_close_matches(leaf if near else key, near or keys(), n=1, cutoff=0.5)
    hint = f" Did you mean '{section + '.' if near else ''}{match[0]}'?" if match else ""
    listing = f" Keys of {section}: {', '.join(near)}." if near else ""
    return f"unknown recipe key '{key}'.{hint}{listing} All, explained: brain recipes {DEFAULT}"


def _got(value: Any) -> str:
    return "" if isinstance(value, dict) else f" (got {value!r})"


def _override(tree: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals:
        raise TinyJEPAError(f"--set {override}: write it as key=value, such as objective.covariance=0.2")
    if key not in keys():
        raise TinyJEPAError(_unknown(key))
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    *sections, leaf = key.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[leaf] = value
