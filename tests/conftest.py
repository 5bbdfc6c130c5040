from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests import ROOT
from tests.support.dots import make_dot_store
from tests.support.once import once

SYSTEM = ROOT / "tests" / "system"

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # tests in the background: what they start must hear Ctrl-C
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SYSTEM in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def dots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished store of 40 short episodes; read it, never write to it."""
    return once(tmp_path_factory, "dots", lambda folder: make_dot_store(folder / "dots")) / "dots"


@pytest.fixture(scope="session")
def logo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the bouncing logo, with decoder and threshold; its store is beside it. Copy it to change it."""
    from tests.support.living import make_run

    return once(tmp_path_factory, "logo", make_run) / "logo"


@pytest.fixture(scope="session")
def car(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of CarRacing that is hardly trained, with a threshold; its store is beside it. Copy it to change it."""
    from tests.support.living import make_car_run

    return once(tmp_path_factory, "car", make_car_run) / "car"
