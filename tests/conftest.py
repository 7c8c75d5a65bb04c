"""What all tests share: no test reads or writes the user's own runs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of runs for this test alone, and none of the settings of whoever runs the tests.

    A short path, since those of sockets are limited and pytest's own folders are too long for them.
    """
    for name in ("RUN", "NAME", "EVERY", "BUDGET", "CREDIT_S", "HUB", "DEMO_PACE"):
        monkeypatch.delenv(f"DEADBAND_{name}", raising=False)
    monkeypatch.delenv("DEADBAND", raising=False)
    # Tests run side by side, and so do the processes that they start: threads only wait then.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="db-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("DEADBAND_HOME", folder)
        yield Path(folder)
