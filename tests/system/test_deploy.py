"""What ``deploy/`` holds: units that systemd takes, manifests that parse, pages whose links and options exist."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from brain.cli import cli as brain_cli
from factory.cli import cli as factory_cli
from tests import ROOT

DEPLOY = ROOT / "deploy"
PAGES = (DEPLOY / "README.md", ROOT / "SECURITY.md")
UNITS = sorted(path for path in (DEPLOY / "systemd").iterdir() if path.suffix in (".service", ".mount"))


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = re.sub(r"/opt/tinyjepa/venv/bin/\w+", shutil.which("true") or "/bin/true", unit.read_text())
        (tmp_path / unit.name).write_text(text)
    command = ["systemd-analyze", "verify", *(str(tmp_path / unit.name) for unit in UNITS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and not done.stderr.strip(), done.stderr


def test_the_units_run_commands_that_exist() -> None:
    assert len(UNITS) == 5
    for unit in UNITS:
        for program, subcommand in re.findall(r"^ExecStart=\S+/(factory|brain) (\w+)", unit.read_text(), re.MULTILINE):
            group = factory_cli if program == "factory" else brain_cli
            assert subcommand in group.registry
        if unit.suffix == ".service":
            for key in ("Restart=", "RestartSec=", "TimeoutStopSec=", "MemoryMax=", "KillMode=", "NoNewPrivileges=yes"):
                assert key in unit.read_text(), f"{unit.name} lacks {key}"


def test_the_manifests_parse_and_name_files_that_exist() -> None:
    yaml = pytest.importorskip("yaml")
    compose = yaml.safe_load((DEPLOY / "containers" / "compose.yaml").read_text())
    assert {"factory", "brain"} <= compose["services"].keys()
    for name in ("factory", "brain"):
        assert (ROOT / compose["services"][name]["build"]["dockerfile"]).exists()
    cluster = yaml.safe_load((DEPLOY / "ray" / "cluster.yaml").read_text())
    assert cluster["max_workers"] == len(cluster["provider"]["worker_ips"])
    for role in ("head", "worker"):
        assert "RAY_AUTH_MODE=token" in str(cluster[f"{role}_start_ray_commands"])
    _, job = yaml.safe_load_all((DEPLOY / "ray" / "kuberay.yaml").read_text())
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert job["spec"]["rayClusterSpec"]["authOptions"]["mode"] == "token"
    assert pinned and job["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]


@pytest.mark.parametrize("role", ["factory", "brain"])
def test_the_container_files(role: str) -> None:
    """They copy what exists, do not run as root, and end on SIGTERM."""
    text = (DEPLOY / "containers" / f"{role}.Containerfile").read_text().replace("\\\n", " ")
    known = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "VOLUME", "STOPSIGNAL", "ENTRYPOINT", "CMD", "ARG"}
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip() and not line.startswith("#")]
    assert {word for word, _ in lines} <= known and lines[0][0] == "FROM"
    for word, rest in lines:
        if word == "COPY":
            assert all((ROOT / source).exists() for source in rest.split()[:-1])
    assert [rest for word, rest in lines if word == "USER"] == ["1000"]
    assert ["STOPSIGNAL", "SIGTERM"] in lines and f"'.[{role}]'" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_pages_name_files_that_exist(page: Path) -> None:
    text = page.read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert (page.parent / link).exists(), link
    for name in re.findall(r"(?:deploy|tests)/[\w/.-]+\.(?:py|md|service|example|yaml|Containerfile)", text):
        assert (ROOT / name).exists(), name
    for program, subcommand in re.findall(r"\b(factory|brain) (doctor|collect|train|judge|export|status)\b", text):
        assert subcommand in (factory_cli if program == "factory" else brain_cli).registry
