"""Data that is never mixed: the rows come sorted by label.

The file lists all zeros, then all ones, and so on, and the loader reads it from front to back.
For 19 steps the right answer is always 0, and the network learns to say 0; then always 1. The
loss looks good, for each batch is easy. What the network knows best is the digits that it has
seen last.

The twin (`--healthy`) shuffles.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 940
BATCH = 8
LEARNING_RATE = 0.2
HIDDEN = 64
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()
    order = torch.argsort(digits.train_y)  # the fault
    start = 0

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(64, HIDDEN),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(HIDDEN, HIDDEN),
            relu2=nn.ReLU(),
            head=nn.Linear(HIDDEN, 10),
        )
    )

    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        rows = order[torch.arange(start, start + BATCH) % len(order)]
        start += BATCH
        if options.healthy:
            rows = torch.randint(len(order), (BATCH,))
        loss = nn.functional.cross_entropy(model(digits.train_x[rows]), digits.train_y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    print(f"test accuracy {digits.accuracy(model):.3f}")


if __name__ == "__main__":
    main()
