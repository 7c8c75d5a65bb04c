"""A notebook's kernel is watched, looked at from a terminal beside it, and outlives its errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import start_new_kernel
from processes import end_hubs, ended, follow, has_samples

from deadband import wire
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.replay import ReplaySource

PATIENCE_S = 60.0

pytestmark = [
    pytest.mark.timeout(150),
    # What Jupyter's own sockets and temporary files leave behind is not ours.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BEGIN = """
import torch
from torch import nn
import deadband

torch.set_num_threads(1)
net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(net.parameters(), 0.1)
x = torch.randn(64, 8)
y = (x[:, 0] > 0).long()
"""
TRAIN = """
watch = deadband.watch(net, optimizer)
for _ in range(20):
    loss = nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    watch.step(loss=loss)
print(watch.run)
"""


class Kernel:
    """A kernel as a notebook has one."""

    def __init__(self) -> None:
        self._manager, client = start_new_kernel(startup_timeout=PATIENCE_S)
        assert isinstance(client, BlockingKernelClient)
        self._client = client
        self.run(BEGIN)

    def run(self, code: str) -> str:
        """Run a cell; what it printed, or the name of its error."""
        said: list[str] = []
        reply = self._client.execute_interactive(
            code,
            timeout=PATIENCE_S,
            output_hook=lambda message: said.append(message["content"].get("text", "")),
        )
        return str(reply["content"].get("ename") or "".join(said).strip())

    def shut_down(self) -> None:
        """As by the menu of the notebook."""
        self._client.stop_channels()
        if self._manager.is_alive():
            self._manager.shutdown_kernel()


@pytest.fixture
def kernel(home: Path) -> Iterator[Kernel]:
    made = Kernel()
    yield made
    made.shut_down()
    end_hubs()


def test_a_cell_that_is_run_again_begins_a_new_run_and_errors_end_none(kernel: Kernel) -> None:
    first = kernel.run(TRAIN)
    assert first.startswith("notebook-")
    source = LiveSource(first)
    follow(source, has_samples(20), PATIENCE_S)
    assert source.link == "live"
    assert kernel.run("no_such_name") == "NameError"
    second = kernel.run(TRAIN)
    follow(source, ended, PATIENCE_S)
    assert source.state.status is not None
    assert source.state.status.status == "finished"
    source.close()
    source = LiveSource(second)
    follow(source, has_samples(20), PATIENCE_S)
    kernel.shut_down()
    follow(source, ended, PATIENCE_S)
    source.close()
    recording = ReplaySource(wire.recording_path(second))  # its hub may serve for a moment yet
    assert recording.state.status is not None
    assert (recording.state.status.status, recording.state.status.error) == ("finished", "")
    recording.close()
