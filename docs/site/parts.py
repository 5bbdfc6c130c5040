"""A page for each recipe and for each registered part, and the lists of them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from brain import parts, recipes
from docs.site.text import cell, code, doc, options, table
from factory.policies import POLICIES
from shared.registry import Registry

KINDS: dict[str, tuple[str, Registry, str]] = {
    "parts/encoders": ("Encoders", parts.ENCODERS, "brain train --set encoder.kind={name}"),
    "parts/objectives": ("Objectives", parts.OBJECTIVES, "brain train --set objective.views={name}"),
    "parts/predictors": ("Predictors", parts.PREDICTORS, "brain train --set prediction.predictor.kind={name}"),
    "parts/decoders": ("Decoders", parts.DECODERS, "brain dream --run runs/RUN"),
    "parts/planners": ("Planners", parts.PLANNERS, "brain plan --run runs/RUN --planner {name}"),
    "parts/costs": ("Costs", parts.COSTS, "brain plan --run runs/RUN --cost {name}"),
    "parts/policies": ("Policies", POLICIES, "factory collect --policy {name}"),
}
"""Folder of the pages to title, registry, and the command that chooses a part."""

CHOSEN = {"decoder": "Nobody names a decoder: `brain dream` takes the one that suits the latents and the frames."}
"""Of a registry's kind: what there is to know about the choice."""


def nav() -> list[Any]:
    stock = [f"recipes/{name}.md" for name in recipes.names()]
    kinds = [
        {title: [f"{folder}/index.md", *(f"{folder}/{name}.md" for name in registry)]}
        for folder, (title, registry, _) in KINDS.items()
    ]
    return ["parts.md", {"Recipes": ["recipes/index.md", *stock]}, *kinds]


def pages() -> dict[str, str | bytes]:
    made: dict[str, str | bytes] = {"recipes/index.md": recipe_list()}
    made |= {f"recipes/{name}.md": recipe(name) for name in recipes.names()}
    rows = [["[Recipes](recipes/index.md)", "whole experiments", ", ".join(recipes.names())]]
    for folder, (title, registry, how) in KINDS.items():
        made[f"{folder}/index.md"] = part_list(title, registry, how)
        made |= {f"{folder}/{name}.md": part(registry, name, how) for name in registry}
        rows.append([f"[{title}]({folder}/index.md)", code(how.format(name="NAME")), ", ".join(registry)])
    made["parts.md"] = (
        "# Parts\n\nAn experiment is a recipe: an encoder, an objective and a predictor, with their options. Decoders, "
        "planners and costs go on with a trained model; policies collect data. [Extending](extending.md) shows how to "
        "add one.\n" + table(["", "Chosen by", "There are"], rows)
    )
    return made


def recipe_list() -> str:
    rows = ([f"[{name}]({name}.md)", cell(recipes.summary(name))] for name in recipes.names())
    return "# Recipes\n\nBy `brain train --recipe NAME`.\n" + table(["Recipe", "What it is"], rows)


def recipe(name: str) -> str:
    """Every key of a stock recipe, with its value and meaning."""
    found = recipes.load(name)
    lines = [f"# {name}\n\n{sentence(recipes.summary(name))}\n\n```\nbrain train --recipe {name}\n```\n"]
    lines.append(f"`brain recipes {name}` prints it as TOML, with these explanations as comments.\n")
    chosen = [
        ("parts/encoders", found.encoder.kind), ("parts/objectives", found.objective.views),
        ("parts/predictors", found.prediction.predictor.kind),
    ]  # fmt: skip
    links = " · ".join(f"[{part}](../{folder}/{part}.md)" for folder, part in chosen)
    lines.append(f"Encoder, objective, predictor: {links}\n")
    lines += sections(found, "")
    return "\n".join(lines)


def sections(values: BaseModel, title: str) -> list[str]:
    """A table for each section of a recipe."""
    rows, below = [], []
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        if isinstance(value, BaseModel):
            below += sections(value, f"{title}.{name}" if title else name)
        else:
            rows.append([code(name), code(value), cell(field.description or "")])
    head = f"## {title}\n" + table(["Key", "Value", "Meaning"], rows)
    return [head, *below] if title else below


def part_list(title: str, registry: Registry, how: str) -> str:
    rows = ([f"[{name}]({name}.md)", cell(registry.summary(name))] for name in registry)
    return (
        f"# {title}\n\nBy `{how.format(name='NAME')}`.\n"
        + table(["Name", "What it is"], rows)
        + (CHOSEN.get(registry.kind, "") + "\n")
    )


def part(registry: Registry, name: str, how: str) -> str:
    """A part's summary, docstring and options."""
    kind = registry.get(name)
    lines = [f"# {name}\n\n{sentence(registry.summary(name))}\n\n```\n{how.format(name=name)}\n```\n"]
    lines.append(CHOSEN.get(registry.kind, "") + "\n")
    lines.append(f"{doc(kind)}\n\n`{registry.path(name).replace(':', '.')}`\n")
    own = getattr(kind, "Options", None)
    if own is not None:
        lines.append("## Options\n" + (options(own) or "\nNone.\n"))
    return "\n".join(lines)


def sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
