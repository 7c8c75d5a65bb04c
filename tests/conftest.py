"""What all tests share: no test reads or writes the user's own runs."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of runs for this test alone, and none of the settings of whoever runs the tests."""
    for name in ("RUN", "NAME", "EVERY", "BUDGET", "CREDIT_S", "HUB", "DEMO_PACE"):
        monkeypatch.delenv(f"DEADBAND_{name}", raising=False)
    monkeypatch.delenv("DEADBAND", raising=False)
    folder = tmp_path / "home"
    monkeypatch.setenv("DEADBAND_HOME", str(folder))
    return folder
