"""Compiled models train as they do without deadband: same numbers, whole graphs, no warning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(90)  # a fresh interpreter loads torch and dynamo

SCRIPT = """
import sys
import warnings
import torch
import torch.nn.functional as F
from torch import nn

warnings.simplefilter("always")
torch.set_num_threads(1)
torch.manual_seed(0)
how, backend, watched = sys.argv[1:]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)
        self.drop = nn.Dropout(0.2)

    def forward(self, x):
        return self.second(self.drop(F.gelu(self.first(x))))


net = model = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
if watched == "late":  # before anything is compiled
    import deadband
    watch = deadband.watch(net, optimizer, every=2)
if how == "module":
    net.compile(backend=backend, fullgraph=True)
elif how == "wrapper":
    model = torch.compile(net, backend=backend, fullgraph=True)
elif how == "part":
    net.first = torch.compile(net.first, backend=backend, fullgraph=True)
forward = model
if how == "function":
    def forward(x):
        return model(x)
    forward = torch.compile(forward, backend=backend, fullgraph=True)
def compute(x, y):
    return F.cross_entropy(forward(x), y)


if how == "loss":
    compute = torch.compile(compute, backend=backend, fullgraph=True)
if watched == "watched":
    import deadband
    watch = deadband.watch(model, optimizer, every=2)

for step in range(6):
    x = torch.randn(5, 4)
    loss = compute(x, torch.randint(0, 2, (5,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()

from torch._dynamo.utils import counters
print([each.double().sum().item() for each in net.parameters()], torch.rand(3).tolist())
print(counters["stats"]["unique_graphs"], dict(counters["graph_break"]))
if "deadband" in sys.modules:
    from deadband import endings
    [watch] = endings._open
    watch._torch.settle()
    beat = watch._beat()
    assert (watch.steps, beat.faults) == (6, 0), (watch.steps, beat.fault)
    assert watch._recorder.samples >= 3
    assert [layer.name for layer in watch._recorder.plan.layers if layer.kind == "Linear"]
"""


def run(folder: Path, *arguments: str, launched: bool = False) -> tuple[str, int, set[str]]:
    """What it trained to and the graphs' breaks; the number of graphs; warnings."""
    (folder / "script.py").write_text(SCRIPT)
    result = subprocess.run(
        [sys.executable, *(["-m", "deadband.launch"] if launched else []), "script.py", *arguments],
        cwd=folder,
        env={**os.environ, "DEADBAND_HOME": str(folder), "DEADBAND_HUB": "off"},
        capture_output=True,
        text=True,
        timeout=80,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    numbers, counted = result.stdout.splitlines()
    graphs, breaks = counted.split(" ", 1)
    return numbers + breaks, int(graphs), {_undated(line) for line in result.stderr.splitlines()}


def _undated(line: str) -> str:
    """Without the time and the process that torch's own log begins a line with."""
    return re.sub(r"^([A-Z])\d{4} [\d:.]+ \d+ ", r"\1 ", line)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["wrapper", "module", "part", "function", "loss"])
@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_model_trains_as_without_deadband(
    how: str, backend: str, tmp_path: Path
) -> None:
    bare = run(tmp_path, how, backend, "bare")
    assert run(tmp_path, how, backend, "bare", launched=True) == bare
    late = run(tmp_path, how, backend, "late")
    # A compiled function around a model that is watched already: dynamo guards on the model's hook
    # table, and the one entry that waits there between steps costs one more graph, once.
    more = 1 if how in ("function", "loss") else 0
    assert (late[0], late[2]) == (bare[0], bare[2])
    assert bare[1] <= late[1] <= bare[1] + more


@pytest.mark.slow
def test_a_zero_code_run_of_a_compiled_module_breaks_no_graph(tmp_path: Path) -> None:
    bare = run(tmp_path, "module", "eager", "bare")
    assert run(tmp_path, "module", "eager", "bare", launched=True) == bare


@pytest.mark.slow
def test_a_compiled_loss_is_one_graph_though_its_function_is_listened_to(tmp_path: Path) -> None:
    bare = run(tmp_path, "loss", "eager", "bare")
    assert run(tmp_path, "loss", "eager", "bare", launched=True) == bare


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="inductor needs a C compiler")
def test_code_that_inductor_made_trains_as_without_deadband(tmp_path: Path) -> None:
    bare = run(tmp_path, "wrapper", "inductor", "bare")
    assert run(tmp_path, "wrapper", "inductor", "bare", launched=True) == bare
