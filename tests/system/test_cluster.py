"""A cluster of two Ray nodes with real raylets: work goes to both, and a lost node costs only time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.store.reader import Store
from tests.factory.test_collect import ROOT, assert_same_episodes, writers
from tests.support.collecting import small_run

FRAMES = 6_000
OWN = "TINYJEPA_CLUSTER_TEST"


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield nodes
    nodes.shutdown()


@pytest.mark.skipif(OWN in os.environ, reason="this is that process")
def test_in_a_process_of_its_own() -> None:
    """Ray keeps the first authentication mode that a process sees, and the other tests use a token."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", OWN: "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout + done.stderr


@pytest.mark.skipif(OWN not in os.environ, reason="run by the test above")
def test_a_lost_node_costs_only_time(cluster: Any, tmp_path: Path) -> None:
    from factory.collecting.collect import collect

    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    collecting = [sys.executable, "-m", "tests.support.collecting"]
    command = [
        *collecting,
        str(tmp_path / "store"),
        str(FRAMES),
        "all",
        cluster.address,
    ]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as driver:
        while len([pid for pid, commits in writers(tmp_path / "store").items() if commits > 1]) < 2:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.05)
        raylets = {_raylet(pid) for pid in writers(tmp_path / "store")}
        assert len(raylets) == 2, "both nodes have a simulator"
        cluster.remove_node(second, allow_graceful=False)
        output, _ = driver.communicate()
    assert driver.returncode == 0, output
    collect(tmp_path / "undisturbed", small_run(), FRAMES)
    assert_same_episodes(tmp_path / "store", tmp_path / "undisturbed")
    assert any(not stream.closed for stream in Store(tmp_path / "store").streams.values())


def _raylet(pid: int) -> int:
    """The raylet that started a worker process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("PPid:"):
            return int(line.split()[1])
    raise AssertionError(pid)
