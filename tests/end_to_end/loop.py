"""A plain training loop on made-up classes, watched; stops for a line of input at every 20th step.

Arguments: learning rate, steps, every how many of them is sampled (1). Says `at STEP` when it stops
and `done VERDICT` at its end.
"""

from __future__ import annotations

import sys

import torch
from torch import nn

import deadband

PAUSE = 20


def main(rate: float, steps: int, every: int = 1) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    inputs = torch.rand(1800, 64)
    targets = ((inputs - 0.5) @ torch.randn(64, 10)).argmax(1)
    model = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    watch = deadband.watch(model, optimizer, name="loop", every=every, budget=None)
    for step in range(1, steps + 1):
        rows = torch.randint(0, len(inputs), (64,))
        loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % PAUSE == 0 and step < steps:
            print(f"at {step}", flush=True)
            sys.stdin.readline()
    watch.close()
    print("done", watch.verdict, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), *map(int, sys.argv[2:]))
