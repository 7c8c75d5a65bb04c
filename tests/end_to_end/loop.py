"""A plain training loop on digits, watched; stops for a line of input at every 20th step.

Arguments: learning rate, steps. Says `at STEP` when it stops, and `done VERDICT` at its end.
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import deadband

PAUSE = 20


def main(rate: float, steps: int) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images, dtype=torch.float32) / 16
    targets = torch.tensor(labels)
    model = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    watch = deadband.watch(model, optimizer, name="loop", every=1, budget=None)
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
    verdict = watch.verdict
    watch.close()
    print("done", verdict, flush=True)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
