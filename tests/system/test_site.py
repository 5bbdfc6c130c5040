"""The documentation site: built strictly, opened in a real Chromium; and its notebook, run from top to bottom."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from brain import recipes
from shared.worlds import WORLDS
from tests import ROOT
from tests.support.chromium import BINARY, serve, tab

pytest.importorskip("mkdocs", reason="pip install 'tinyjepa[docs]'")

OF_EACH_KIND = [
    "", "quickstart/", "notebook/", "results/", "guides/own-world/", "worlds/two-room/", "recipes/two-room-grid/",
    "parts/",
    "parts/encoders/grid-vector/", "parts/planners/cem/", "parts/policies/pursuit/", "commands/brain/",
    "api/brain/", "deploy/",
]  # fmt: skip
SITE = ("docs", "brain", "factory", "shared", "deploy", "benchmarks", "README.md", "SECURITY.md", "CONTRIBUTING.md",
        "CHANGELOG.md")  # fmt: skip
"""What the site is made of."""


def build(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    words = ["-m", "mkdocs", "build", "--strict", "-f", "docs/site/mkdocs.yml", "-d", str(site)]
    environment = os.environ | {"PYTHONPATH": str(source), "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run([sys.executable, *words], cwd=source, env=environment, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(ROOT, folder)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


@pytest.fixture(scope="module")
def browser(site: Path) -> Iterator[tuple[Any, str]]:
    if BINARY is None:
        pytest.skip("no Chromium on this box")
    with serve(site) as address, tab() as opened:
        yield opened, address


def test_every_world_recipe_and_part_has_its_page(site: Path) -> None:
    from docs.site.parts import KINDS

    names = [f"worlds/{name}" for name in WORLDS] + [f"recipes/{name}" for name in recipes.names()]
    names += [f"{folder}/{name}" for folder, (_, registry, _) in KINDS.items() for name in registry]
    assert [name for name in names if not (site / name / "index.html").exists()] == []
    page = (site / "worlds" / "two-room" / "index.html").read_text(encoding="utf-8")
    world = WORLDS.get("two-room")
    declared = [*world.state_names, *world.tasks, *(one.name for one in (*world.violations, *world.factors))]
    assert [word for word in declared if word not in page] == []


@pytest.mark.parametrize("width", [1280, 390])
def test_a_page_of_each_kind_fits_the_screen(browser: tuple[Any, str], width: int) -> None:
    page, address = browser
    for path in OF_EACH_KIND:
        page.open(address + path, width, 844)
        page.until(f"document.readyState === 'complete' && location.href === {address + path!r}")
        assert page.do("document.querySelector('.md-content h1').getBoundingClientRect().height > 0"), path
        assert page.do("document.documentElement.scrollWidth") <= width, path
        assert page.do("[...document.images].filter((one) => one.complete && !one.naturalWidth).length") == 0, path
    assert page.problems == []
    assert [url for url in page.requests if not url.startswith((address, "data:"))] == []


@pytest.mark.parametrize(("width", "link"), [(1280, ".md-tabs a"), (390, ".md-nav--primary a")])
def test_the_navigation_leads_to_the_worlds(browser: tuple[Any, str], width: int, link: str) -> None:
    page, address = browser
    page.open(address, width, 844)
    page.until(f"document.readyState === 'complete' && location.href === {address!r}")
    if width < 600:
        page.do("document.querySelector('label.md-header__button[for=__drawer]').click()")
        page.until("document.querySelector('.md-nav--primary').getBoundingClientRect().left >= 0")
    wanted = f"[...document.querySelectorAll('{link}')].find((one) => one.pathname === '/worlds/')"
    page.do(f"{wanted}.click()")
    page.until("location.pathname === '/worlds/' && document.querySelector('.md-content h1') !== null")


def test_a_broken_link_and_a_missing_docstring_fail_the_build(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in SITE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    guide = source / "docs" / "guides" / "gpus.md"
    guide.write_text(guide.read_text(encoding="utf-8") + "\n[gone](nowhere.md)\n", encoding="utf-8")
    registry = source / "shared" / "registry.py"
    text = registry.read_text(encoding="utf-8")
    line = '        """All names, in the order of registration."""\n'
    assert line in text
    registry.write_text(text.replace(line, ""), encoding="utf-8")
    failed = build(source, tmp_path / "site")
    assert failed.returncode != 0
    assert "nowhere.md" in failed.stderr and "shared.registry.Registry.names" in failed.stderr


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(ROOT / "docs" / "quickstart.ipynb", 4)
    nbclient.NotebookClient(
        notebook, timeout=800, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    cells = [one for one in notebook.cells if one.cell_type == "code"]
    assert all(one.execution_count for one in cells)
    assert sum("image/png" in out.get("data", {}) for one in cells for out in one.outputs) == 3
