"""What MkDocs calls while it builds the site: adds the generated pages, their navigation, and the pages outside docs/.

The pages of docs/ and README.md are read on GitHub as well, so their links are GitHub's. A link out of docs/ leads to
that file's page or copy here.
"""

from __future__ import annotations

import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from docs.site import commands, notebook, parts, public, worlds  # noqa: E402

LOG = logging.getLogger("mkdocs.plugins.tinyjepa")
"""Of which a warning fails a strict build."""

OUTSIDE = {
    "README.md": "index.md", "deploy/README.md": "deploy.md", "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md",
}  # fmt: skip
"""Files of the repository to their pages."""

NAV: list[Any] = [
    {"Start": [
        "index.md", "quickstart.md", "notebook.md", "architecture.md", "benchmarks.md", "comparison.md",
    ]},
    {"Results": [
        "results.md", "results/violations.md", "results/untrained.md", "results/forecasts.md", "results/field.md",
        "results/effort.md",
        "results/car-racing.md", "results/two-room.md", "results/bouncing-logo.md", "results/double-pendulum.md",
        "results/video.md", "variation.md",
    ]},
    {"Guides": [
        "guides/index.md", "guides/own-world.md", "guides/two-machines.md", "guides/gpus.md",
        "guides/reading-results.md",
        {"Data": ["collecting.md", "policies.md", "importing.md", "store.md", "scale.md"]},
        {"Models": ["training.md", "stream.md", "video.md", "planning.md", "extending.md"]},
        {"Viewing": ["live.md", "demo.md"]},
        {"Operations": ["deploy.md", "security.md"]},
    ]},
]  # fmt: skip


def generated() -> dict[str, str | bytes]:
    """Path in the site to content, of everything that is not a file of docs/."""
    pages: dict[str, str | bytes] = {}
    for source, page in OUTSIDE.items():
        pages[page] = moved((ROOT / source).read_text(encoding="utf-8"), Path(source).parent, page)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    start = readme[readme.index("## Quick start") : readme.index("## Results")].replace("## Quick", "# Quick", 1)
    after = "\n## Next\n\n[The same in Python, in a notebook](notebook.md) · [Guides](guides/index.md)\n"
    pages["quickstart.md"] = moved(start, Path(), "quickstart.md").replace("\n### ", "\n## ") + after
    pages["notebook.md"] = notebook.page(ROOT / "docs" / "quickstart.ipynb")
    pages |= worlds.pages() | parts.pages() | commands.pages() | public.pages()
    return pages


def on_config(config: Any) -> Any:
    """The navigation: what is written, then what is generated."""
    config.nav = [
        *NAV,
        {"Worlds": ["worlds.md", *worlds.nav()]},
        {"Parts": parts.nav()},
        {"Reference": [{"Commands": ["commands.md", *commands.nav()]}, *public.nav()]},
        {"Project": ["contributing.md", "changelog.md"]},
    ]
    for missing in public.undocumented():
        LOG.warning("no docstring: %s", missing)
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the generated pages, and a copy of every source file that a page links to."""
    for path, content in generated().items():
        files.append(File.generated(config, path, content=content))
    for source in sorted({link for page in (ROOT / "docs").rglob("*.md") for link in copied(page)}):
        files.append(File.generated(config, f"source/{source}", content=(ROOT / source).read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Of the pages of docs/: their links out of it, and GitHub's indents of two spaces."""
    source = page.file.abs_src_path
    if source and Path(source).is_relative_to(ROOT / "docs"):
        markdown = moved(markdown, Path(source).parent.relative_to(ROOT), page.file.src_uri)
    return indented(markdown)


def copied(page: Path) -> list[str]:
    """The files out of docs/ that a page links to and that are no pages here, relative to the repository."""
    found = []
    for link in re.findall(r"\]\((\.\.[^)#\s]*)", page.read_text(encoding="utf-8")):
        target = (page.parent / link).resolve()
        name = target.relative_to(ROOT).as_posix()
        if target.is_file() and not name.startswith("docs/") and name not in OUTSIDE:
            found.append(name)
    return found


def moved(markdown: str, folder: Path, page: str) -> str:
    """A file of ``folder`` as the page ``page``: its relative links lead to pages, to copies, or are plain code."""

    def link(found: re.Match[str]) -> str:
        text, target, anchor = found["text"], found["target"], found["anchor"] or ""
        if re.match(r"[a-z]+:", target) or not target:
            return found[0]
        name = Path(os.path.normpath(folder / target)).as_posix()
        if name in OUTSIDE:
            there = OUTSIDE[name]
        elif name.startswith("docs/"):
            there = name.removeprefix("docs/")
        elif folder.parts[:1] == ("docs",) and (ROOT / name).is_file():
            there = f"source/{name}"
        else:
            return text if text.startswith(("`", "!")) else f"`{name}`" if (ROOT / name).exists() else found[0]
        return f"[{text}]({os.path.relpath(there, Path(page).parent)}{anchor})"

    return re.sub(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)#\s]*)(?P<anchor>#[^)\s]*)?\)", link, markdown)


def indented(markdown: str) -> str:
    """Continued list items by four spaces, as Python-Markdown wants them, where GitHub takes two or three."""
    lines, fenced, listed = [], False, False
    for line in markdown.split("\n"):
        if not fenced and re.match(r"([*-]|\d+\.) ", line):
            listed = True
        elif not fenced and line and not line.startswith(" "):
            listed = False
        if line.lstrip().startswith("```"):
            fenced = not fenced
        lines.append(re.sub(r"^ {2,3}(?=\S)|^ {2,3}(?= )", "    ", line) if listed and line.startswith("  ") else line)
    return "\n".join(lines)
