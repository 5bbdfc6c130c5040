"""The architecture's laws: who may import what, and how large a file may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT

FORBIDDEN = {
    "shared": {"torch", "ray", "factory", "brain"},
    "factory": {"torch", "brain"},
    "brain": {"ray", "factory"},
}


def imported(path: Path) -> set[str]:
    """Top-level names of every module a file imports, inside functions and strings for importlib too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and ":" in node.value:
            module = node.value.split(":")[0]
            if module.replace(".", "").replace("_", "").isalnum() and "." in module:
                names.add(module.split(".")[0])
    return names


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_file_imports_across_the_border(package: str) -> None:
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    guilty = {str(path.relative_to(ROOT)): bad for path in files if (bad := imported(path) & FORBIDDEN[package])}
    assert not guilty


ORDER: dict[str, list[set[str]]] = {
    "brain": [
        {"device", "distributed", "parts", "pretrained", "recipes"}, {"runs"}, {"data"}, {"models"}, {"objectives"},
        {"training"}, {"evaluation"}, {"planning"}, {"reports", "live", "export"}, {"doctor"},
        {"commands"}, {"cli"}, {"__main__"},
    ],
    "factory": [
        {"policies"}, {"cluster", "inspection"}, {"collecting", "export"}, {"importing"}, {"doctor"}, {"commands"},
        {"cli"},
    ],
    "shared": [
        {"cores", "errors", "home", "lifetime", "links", "registry", "video"}, {"worlds", "store"}, {"cli", "doctor"},
    ],
}  # fmt: skip
"""The folders of a package are steps: each imports only earlier ones, and of its own step itself alone."""


def steps_imported(path: Path, package: str) -> set[str]:
    """The folders, or modules at the top, of its own package that a file imports, inside functions too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            names |= {f"{package}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module)
    return {name.split(".")[1] for name in names if name.startswith(f"{package}.")}


@pytest.mark.parametrize("package", ORDER)
def test_a_folder_imports_only_steps_before_it(package: str) -> None:
    step = {name: number for number, names in enumerate(ORDER[package]) for name in names}
    back = []
    for path in sorted((ROOT / package).rglob("*.py")):
        own = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if own == "__init__":
            continue
        assert own in step, f"{path}: give {own} its place in ORDER"
        for other in steps_imported(path, package) - {own}:
            assert other in step, f"{path} imports {package}.{other}: give it its place in ORDER"
            if step[other] > step[own] or (step[other] == step[own] and (ROOT / package / other).is_dir()):
                back.append(f"{path.relative_to(ROOT)} imports {package}.{other}")
    assert not back


@pytest.mark.parametrize(
    ("module", "absent"), [("factory.cli", "torch"), ("brain.cli", "ray"), ("shared.worlds", "ray")]
)
def test_nothing_forbidden_is_loaded_on_import(module: str, absent: str) -> None:
    code = f"import sys, {module}; sys.exit({absent!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_the_commands_start_without_the_heavy_imports() -> None:
    code = (
        "import sys, brain.cli, factory.cli; print({'torch', 'ray', 'cv2', 'matplotlib', 'sklearn'} & set(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "set()"


def test_files_stay_readable() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for package in (*FORBIDDEN, "tests", "benchmarks")
        for path in (ROOT / package).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > 370
    }
    assert not long, "split them into rooms that read top to bottom"


def test_no_conflict_of_a_merge_is_left() -> None:
    marks = ["-e", "^<<<<<<< ", "-e", "^=======$", "-e", "^>>>>>>> "]
    found = subprocess.run(["git", "grep", "-nI", *marks], cwd=ROOT, capture_output=True, text=True)
    if found.returncode > 1:
        pytest.skip("not a git checkout")
    assert found.stdout == ""


def anchors(page: Path) -> set[str]:
    """Of a page's headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).strip().lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def test_links_between_pages_lead_somewhere() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").glob("*.md")]
    dead = []
    for page in pages:
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if re.match(r"[a-z]+:", link):
                continue
            name, _, anchor = link.partition("#")
            target = page.parent / name if name else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                dead.append(f"{page.name}: {link}")
    assert not dead


def test_the_top_level_is_the_agreed_one() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    top = {line.split("/")[0] for line in tracked.stdout.splitlines()}
    agreed = {"pyproject.toml", "README.md", "LICENSE", "Makefile", "constraints.txt", ".gitignore", ".ci"}
    agreed |= {".dockerignore", "SECURITY.md", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md", ".github"}
    assert top <= agreed | {"factory", "brain", "shared", "deploy", "tests", "docs", "benchmarks", "data"}


def test_a_clone_has_a_data_folder_whose_contents_are_ignored() -> None:
    if subprocess.run(["git", "rev-parse"], cwd=ROOT, capture_output=True).returncode:
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files", "data"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert tracked.stdout.split() == ["data/README.md"]
    ignored = ["git", "check-ignore", "data/car-racing/dataset.json", "data/car-racing", "data/README.md"]
    found = subprocess.run(ignored, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.split() == ["data/car-racing/dataset.json", "data/car-racing"]


def test_the_names_in_the_architecture_page_are_defined_where_it_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("Names you meet")[1].split("\n\n")[1]
    rows = re.findall(r"^\| `(\w+)/` \| (.+) \|$", table, re.MULTILINE)
    assert {folder for folder, _ in rows} == set().union(*ORDER["brain"][1:9])
    for folder, names in rows:
        trees = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "brain" / folder).rglob("*.py")]
        defined = {
            node.name for tree in trees for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)
        }
        assert set(re.findall(r"`(\w+)`", names)) <= defined, folder
