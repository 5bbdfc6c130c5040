"""Ids of installed packages are found, or it is said what to write."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium as gym
import pytest

from shared.errors import TinyJEPAError
from shared.worlds import canonical_name, make_world

PACKAGE = """
import gymnasium as gym
from tests.support.odd import Square
gym.register("{prefix}Square-v0", Square)
print("registered")
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of installed packages; what is imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    before, modules = dict(gym.registry), set(sys.modules)
    yield tmp_path
    gym.registry.clear()
    gym.registry.update(before)
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


def install(site: Path, module: str, prefix: str, entry_point: str | None = None) -> None:
    (site / f"{module}.py").write_text(PACKAGE.format(prefix=prefix))
    if entry_point:
        info = site / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[gymnasium.envs]\n{entry_point} = {module}:register\n")


@pytest.mark.parametrize(("prefix", "entry_point"), [("Squares/", "Squares"), ("Plane-", "__root__")])
def test_a_package_that_names_itself_to_gymnasium(site: Path, prefix: str, entry_point: str, capsys) -> None:
    install(site, "square_package", prefix, entry_point)
    name = f"{prefix}Square-v0"
    assert canonical_name(name) == f"square_package:{name}"
    assert canonical_name(name) == f"square_package:{name}", "and the same once it is imported"
    assert make_world(name, 16).reset(seed=0)[0].shape == (16, 16, 3)
    assert capsys.readouterr().out == "", "what it prints does not go to standard output"


def test_a_package_that_is_known(site: Path) -> None:
    if any(known.startswith("ALE/") for known in gym.registry):
        pytest.skip("ale_py is installed and imported")
    install(site, "ale_py", "ALE/")
    assert canonical_name("ALE/Square-v0") == "ale_py:ALE/Square-v0"
    with pytest.raises(TinyJEPAError, match=r"'ale_py' registers no environment 'ALE/Squair-v0'"):
        canonical_name("ALE/Squair-v0")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("FlappyBird-v0", "pip install flappy-bird-gymnasium, then --world flappy_bird_gymnasium:FlappyBird-v0"),
        ("PyFlyt/QuadX-Hover-v4", "then --world PyFlyt.gym_envs:PyFlyt/QuadX-Hover-v4"),
        ("Unheard/Of-v0", "or module:id for one that another package or a module of yours registers"),
        ("broken_module:Any-v0", r"importing 'broken_module' fails \(SyntaxError"),
        ("leaving_module:Any-v0", r"importing 'leaving_module' fails \(SystemExit: 3\)"),
        ("square_module:Squair-v0", "Did you mean 'square_module:Square-v0'"),
        ("json:Any-v0", "'json' registers no environment 'Any-v0'"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(site: Path, name: str, words: str) -> None:
    (site / "broken_module.py").write_text("def\n")
    (site / "leaving_module.py").write_text("raise SystemExit(3)\n")
    (site / "square_module.py").write_text(
        "import gymnasium as gym\nclass Square(gym.Env):\n    pass\ngym.register('Square-v0', Square)\n"
    )
    with pytest.raises(TinyJEPAError, match=words) as caught:
        canonical_name(name)
    assert "\n" not in str(caught.value)
