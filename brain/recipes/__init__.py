"""Recipes: small typed files that hold a whole experiment. A stock recipe is one TOML file in this folder."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ValidationError

from brain.recipes import earlier
from brain.recipes.schema import PartOptions, Recipe
from shared.errors import TinyJEPAError
from shared.registry import closest

DEFAULT = "car-racing"
_FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The stock recipes, the default first."""
    return sorted((path.stem for path in _FOLDER.glob("*.toml")), key=lambda name: (name != DEFAULT, name))


def summary(name: str) -> str:
    """A stock recipe's line on itself; its parts are not imported."""
    return str(_read(_FOLDER / f"{name}.toml").get("summary", ""))


def load(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A stock recipe by name, or the user's own by path (``.toml``), with ``key=value`` overrides applied.

    Keys are dotted (``objective.covariance=0.2``); values are TOML, bare words count as strings. An override that
    chooses another part (``encoder.kind=vit``) leaves out the file's options that this part does not have. Raises
    ``TinyJEPAError`` with the closest match for an unknown recipe or key, and with the reason for a bad value.
    The modules of the chosen parts, which declare their options, are imported.
    """
    path = Path(name)
    if path.suffix != ".toml":
        if "/" in name:
            raise TinyJEPAError(f"no recipe file {name}: a recipe of your own is a file that ends in .toml")
        if name not in names():
            raise TinyJEPAError(closest(name, names(), "recipe"))
        path = _FOLDER / f"{name}.toml"
    tree = _read(path)
    source = " ".join([name, *(f"--set {override}" for override in overrides)])
    if earlier.is_earlier(tree):
        known = {section: {*_fields(tree, [section])} for section in earlier.FLAT}
        tree = earlier.without_dead_keys(tree, known)
    given = [_parsed(override) for override in overrides]
    for key, value in given:
        _set(tree, key, value)
    _leave_out_foreign(tree, [key for key, _ in given])
    return validate(tree, source)


def validate(tree: dict[str, Any], source: str) -> Recipe:
    """A parsed recipe, checked; ``source`` is named in errors."""
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        first = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
        path = [str(part) for part in first["loc"]]
        if first["type"] == "extra_forbidden":
            raise TinyJEPAError(_unknown(tree, path)) from None
        reason = first["msg"].removeprefix("Value error, ")
        where = f"{'.'.join(path)}: " if path else ""
        raise TinyJEPAError(f"recipe {source}: {where}{reason}{_got(first['input'])}") from None


def dump(recipe: Recipe) -> str:
    """The recipe as TOML; ``load`` of it gives the same recipe."""
    return tomli_w.dumps(recipe.model_dump(mode="json"))


def explain(recipe: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str]]:
    """(dotted key, value, explanation) of every leaf: the options of the chosen parts among them."""
    for name, field in type(recipe).model_fields.items():
        value = getattr(recipe, name)
        if isinstance(value, BaseModel):
            yield from explain(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value, field.description or ""


def annotated(recipe: BaseModel, section: str = "") -> str:
    """The recipe as TOML with every key's explanation as a comment; ``load`` of it gives the same recipe."""
    values = {name: getattr(recipe, name) for name in type(recipe).model_fields}
    lines = [f"\n[{section}]"] if section else []
    for name, value in values.items():
        if not isinstance(value, BaseModel):
            said = tomli_w.dumps({name: recipe.model_dump(mode="json")[name]}).strip()
            lines.append(f"{said:<34}  # {type(recipe).model_fields[name].description or ''}")
    parts = ["\n".join(lines) + "\n"]  # a table's own keys come before the tables in it
    for name, value in values.items():
        if isinstance(value, BaseModel):
            parts.append(annotated(value, f"{section}.{name}" if section else name))
    return "".join(parts)


def differences(recipe: Recipe, other: Recipe) -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value, other value) of every leaf that differs; None where one of them has no such key."""
    ours, theirs = ({key: value for key, value, _ in explain(one)} for one in (recipe, other))
    for key in [*ours, *(key for key in theirs if key not in ours)]:
        if ours.get(key) != theirs.get(key):
            yield key, ours.get(key), theirs.get(key)


def labelled_as(recipe: Recipe, other: Recipe) -> Recipe:
    """``recipe`` with the world and the summary of ``other``, which change nothing that is trained: where the result
    equals ``other``, both train the same."""
    return recipe.model_copy(update={"world": other.world, "summary": other.summary})


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TinyJEPAError(f"no recipe file {path}: check the path") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TinyJEPAError(f"{path} is not a TOML recipe ({error}): fix it, or see brain recipes") from None


def _got(value: Any) -> str:
    return "" if isinstance(value, dict | BaseModel) else f" (got {value!r})"


def _parsed(override: str) -> tuple[str, Any]:
    key, equals, text = override.partition("=")
    if not equals:
        raise TinyJEPAError(f"--set {override}: write it as key=value, such as objective.covariance=0.2")
    try:
        return key.strip(), tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), text.strip()


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *sections, leaf = key.split(".")
    for depth, section in enumerate(sections):
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise TinyJEPAError(f"unknown recipe key '{key}': {'.'.join(sections[: depth + 1])} is no section")
    tree[leaf] = value


def _section(tree: dict[str, Any], path: Sequence[str]) -> tuple[type[BaseModel] | None, dict[str, Any]]:
    """The class of the section at ``path``, by the parts that the tree chooses, and what the tree says there."""
    model: type[BaseModel] = Recipe
    for name in path:
        field = model.model_fields.get(name)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None, {}
        model, tree = field.annotation, tree.get(name, {})
        if not isinstance(tree, dict):
            return None, {}
        if issubclass(model, PartOptions):
            model = model.chosen(tree)
    return model, tree


def _fields(tree: dict[str, Any], path: Sequence[str]) -> list[str]:
    model, _ = _section(tree, path)
    return [] if model is None else list(model.model_fields)


def _leave_out_foreign(tree: dict[str, Any], given: Sequence[str]) -> None:
    """Where ``given`` overrides choose a part: drop the other options of the section that it does not have."""
    for key in sorted(given, key=lambda key: key.count(".")):
        *path, leaf = key.split(".")
        model, section = _section(tree, path)
        if model is not None and issubclass(model, PartOptions) and leaf == model.key:
            said = {other.removeprefix(".".join(path) + ".").split(".")[0] for other in given}
            for name in section.keys() - model.model_fields.keys() - said:
                del section[name]


def _unknown(tree: dict[str, Any], path: Sequence[str]) -> str:
    """One line on a key that its section does not have: the closest one, those of the section, and whose it is."""
    *section, leaf = path
    line = f"unknown recipe key '{'.'.join(path)}'."
    model, values = _section(tree, section)
    near = [] if model is None else list(model.model_fields)
    match = difflib.get_close_matches(leaf, near, n=1, cutoff=0.5)
    if match:
        line += f" Did you mean '{'.'.join([*section, match[0]])}'?"
    if not section:
        return f"{line} Sections: {', '.join(near)}. All keys, explained: brain recipes {DEFAULT}"
    title = ".".join(section)
    if model is not None and issubclass(model, PartOptions):
        kind = values.get(model.key, model.default)
        owners = [name for name in model.registry if leaf in model.registry.get(name).Options.model_fields]
        if owners:
            line += f" It is an option of {' and '.join(owners)}: leave it out, or set {title}.{model.key}={owners[0]}."
        return f"{line} Keys of {title} with {model.key}={kind}: {', '.join(near)}. Explained: brain recipes"
    return f"{line} Keys of {title}: {', '.join(near)}. Explained: brain recipes"
