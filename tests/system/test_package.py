"""The wheel and the source archive: complete, valid, and good for the demo outside the clone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy
import pytest

from tests import ROOT

PACKAGES = ("shared", "factory", "brain")


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wheel and sdist, built from a copy of the tracked files: nothing is left in the clone."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    source = tmp_path_factory.mktemp("source")
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, source / name)
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return out


def tracked() -> set[str]:
    """Every file of the packages, Python or not."""
    listed = subprocess.run(["git", "ls-files", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.splitlines() if (ROOT / name).is_file()}


def test_both_hold_every_file_and_the_licence(dist: Path) -> None:
    (wheel,), (sdist,) = dist.glob("*.whl"), dist.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert tracked() - held == set()
    assert {name.split("/")[0] for name in held if "dist-info" not in name} == set(PACKAGES)
    assert any(name.endswith("dist-info/licenses/LICENSE") for name in held)
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert (tracked() | {"LICENSE", "README.md", "pyproject.toml"}) - inside == set()


def test_twine_accepts_both(dist: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    assert subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.timeout(900)
def test_the_demo_runs_from_the_installed_wheel(dist: Path, tmp_path: Path) -> None:
    """The two commands of ``make demo`` in small. Third-party packages are those of this environment."""
    home = tmp_path / "fresh"
    venv.create(home, with_pip=False)
    (site,) = home.glob("lib/python*/site-packages")
    (wheel,) = dist.glob("*.whl")
    install = [sys.executable, "-m", "pip", "--python", str(home / "bin" / "python"), "install", "--no-deps"]
    subprocess.run([*install, "--no-index", str(wheel)], check=True, capture_output=True)
    others = Path(numpy.__file__).parents[1]
    (site / "others.pth").write_text(f"{others}\n")  # its own .pth files, and with them this clone, are not followed
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TINYJEPA_DATA")}

    def call(*command: str) -> str:
        words = [str(home / "bin" / command[0]), *command[1:]]
        done = subprocess.run(words, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert call("python", "-c", "import brain, factory, shared; print(brain.__file__)").startswith(str(home))
    short = ["--episodes", "24", "--max-episode-steps", "60", "--frame-size", "32", "--quiet"]
    call(
        "factory", "collect", "--world", "car-racing", "--workers", "2", "--seed", "0", "--store", "data/demo-0", *short
    )
    keys = {"encoder.dim": 16, "encoder.width": 8, "objective.batch": 8, "prediction.batch": 16, "energy.anchors": 60}
    small = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
    train = ["--store", "data/demo-0", "--run", "runs/demo-0", "--recipe", "car-racing", "--seed", "0", "--steps", "6"]
    call("brain", "train", *train, *small, "--quiet")
    assert json.loads((tmp_path / "runs/demo-0/judge.json").read_text())["energy"]["kinds"]
    assert (tmp_path / "runs/demo-0/report.html").stat().st_size > 10_000
    assert "car-racing" in call("brain", "recipes") and "two-room" in call("factory", "worlds")
