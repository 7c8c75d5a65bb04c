"""What watching costs training: `python tests/benchmarks/overhead.py [--turns N]`.

Bare and watched loops take turns, each in its own process that stays alive, so that load on the
machine meets all of them alike. Prints ratios to the bare loop of the same round, by processor time
of the training thread and by wall time: the median over rounds and its interval (a quarter of the
rounds lie below, a quarter above).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Module
    from torch.optim import Optimizer

TURN_S = 1.5
CONDITIONS = ("bare", "bare again", "default", "every step")
WORKLOADS = ("mlp", "cnn", "transformer")


def make(workload: str) -> tuple[Module, Optimizer, Callable[[], Tensor]]:
    """A model, its optimiser and one step of training."""
    import torch
    import torch.nn.functional as F  # noqa: N812
    from torch import nn

    torch.manual_seed(0)
    torch.set_num_threads(1)
    if workload == "mlp":
        from sklearn.datasets import load_digits

        images, digits = load_digits(return_X_y=True)
        x = torch.tensor(images[:64] / 16, dtype=torch.float32)
        y = torch.tensor(digits[:64])
        model: nn.Module = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
        )
    elif workload == "cnn":
        x, y = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
        blocks: list[nn.Module] = []
        width = 3
        for wider in (32, 64, 128):
            blocks += [
                nn.Conv2d(width, wider, 3, padding=1, bias=False),
                nn.BatchNorm2d(wider),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
            width = wider
        model = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(128 * 16, 10))
    else:
        x, y = torch.randint(0, 64, (8, 64)), torch.randint(0, 64, (8 * 64,))
        layer = nn.TransformerEncoderLayer(128, 4, 512, dropout=0.1, batch_first=True)
        model = nn.Sequential(
            nn.Embedding(64, 128),
            nn.TransformerEncoder(layer, 4, enable_nested_tensor=False),
            nn.Linear(128, 64),
            nn.Flatten(0, 1),
        )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


def work(workload: str, condition: str) -> None:
    """One process: takes a turn for every line it reads, and says what a step took."""
    import deadband

    model, optimizer, step = make(workload)
    watch = None
    if condition == "default":
        watch = deadband.watch(model, optimizer)
    elif condition == "every step":
        watch = deadband.watch(model, optimizer, every=1)

    def turn(seconds: float) -> tuple[float, float, float]:
        steps = 0
        spent = watch._cadence.spent_s if watch is not None else 0.0
        wall, cpu = time.perf_counter(), time.thread_time()
        while time.perf_counter() - wall < seconds:
            loss = step()
            if watch is not None:
                watch.step(loss=loss)
            steps += 1
        took = time.perf_counter() - wall
        clocked = (watch._cadence.spent_s - spent) / took if watch is not None else 0.0
        return took / steps, (time.thread_time() - cpu) / steps, clocked

    turn(TURN_S)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        wall_s, cpu_s, share = turn(TURN_S)
        dropped = watch._recorder.dropped if watch is not None else 0
        sys.stdout.write(f"{wall_s} {cpu_s} {share} {dropped}\n")
        sys.stdout.flush()
    if watch is not None:
        watch.close()


def measure(workload: str, turns: int) -> None:
    """Let the conditions of one workload take turns, and print their ratios."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {**os.environ, "DEADBAND_HOME": folder, "DEADBAND_CREDIT_S": "0"}
        workers = {
            condition: subprocess.Popen(
                [sys.executable, __file__, "--work", workload, condition],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environ,
                text=True,
            )
            for condition in CONDITIONS
        }
        rows: dict[str, list[list[float]]] = {condition: [] for condition in CONDITIONS}
        for worker in workers.values():
            assert worker.stdout is not None
            worker.stdout.readline()
        for turn in range(turns):
            order = CONDITIONS if turn % 2 else CONDITIONS[::-1]
            for condition in order:
                stdin, stdout = workers[condition].stdin, workers[condition].stdout
                assert stdin is not None
                assert stdout is not None
                stdin.write("go\n")
                stdin.flush()
                rows[condition].append([float(word) for word in stdout.readline().split()])
        for worker in workers.values():
            assert worker.stdin is not None
            worker.stdin.close()
            worker.wait(30)
    bare_ms = float(np.median([row[0] for row in rows["bare"]])) * 1000
    sys.stdout.write(f"{workload}: {bare_ms:.2f} ms a step\n")
    for condition in CONDITIONS[1:]:
        parts = []
        for title, column in (("thread", 1), ("wall", 0)):
            ratios = [
                row[column] / bare[column]
                for row, bare in zip(rows[condition], rows["bare"], strict=True)
            ]
            low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
            parts.append(f"{title} x{middle:.3f} ({low:.3f}..{high:.3f})")
        share = float(np.median([row[2] for row in rows[condition]]))
        dropped = rows[condition][-1][3]
        clocked = f"clocked {share:.2%}, dropped {dropped:.0f}" if share else ""
        sys.stdout.write(f"  {condition:<11} {'  '.join(parts)}  {clocked}\n")
        sys.stdout.flush()


def main() -> None:
    """Measure the workloads that were named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work)
        return
    for workload in arguments.workloads or WORKLOADS:
        measure(workload, arguments.turns)


if __name__ == "__main__":
    main()
