"""What tests of the client share: runs without a hub, and a slow reader of the arena."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from frames import Frames

from deadband.watching import Watch


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No hub, an own home, one thread, and nothing left in shared memory."""
    monkeypatch.setenv("DEADBAND_HOME", str(tmp_path))
    monkeypatch.setenv("DEADBAND_HUB", "off")
    for name in ("DEADBAND_RUN", "DEADBAND_NAME", "DEADBAND_EVERY", "DEADBAND_BUDGET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("deadband.recorder.shared_folder", lambda: tmp_path)
    torch.manual_seed(0)
    torch.set_num_threads(1)
    yield
    from deadband import endings

    endings.close_all()
    forget_what_was_compiled()


def forget_what_was_compiled() -> None:
    """The next test starts in a process in which nothing is compiled."""
    from deadband import compiling

    compiling._seen = False
    frames = sys.modules.get("torch._dynamo.eval_frame")
    if frames is not None and frames.cached_backends:
        torch._dynamo.reset()


@pytest.fixture
def frames_of(tmp_path: Path) -> object:
    """Reads what a watch has written: `frames_of(watch)`."""

    def read(watch: Watch) -> Frames:
        assert watch._faults == 0, watch._fault
        if watch._torch is not None:
            assert watch._torch.capture.faults == 0, watch._torch.capture.fault
        plan = watch._recorder.plan
        assert plan is not None
        return Frames(plan)

    return read
