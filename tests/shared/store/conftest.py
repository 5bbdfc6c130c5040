from __future__ import annotations

from pathlib import Path

import pytest

from shared.store import process


@pytest.fixture
def this_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A boot id and a pid namespace, which some sandboxes hide; their folder."""
    folder = tmp_path_factory.mktemp("machine")
    (folder / "boot_id").write_text("11111111-2222-3333-4444-555555555555\n")
    (folder / "pid").symlink_to("pid:[4026531836]")
    monkeypatch.setattr(process, "BOOT", folder / "boot_id")
    monkeypatch.setattr(process, "PID_NAMESPACE", folder / "pid")
    return folder
