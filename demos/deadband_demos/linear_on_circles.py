"""Insufficient capacity: a linear model is to tell an inner circle from an outer one.

Two hundred steps are enough to see it: no straight line divides the circles, so the best line is
no line. The weights fall back to zero, and the answer is the same for every point: half this,
half that. More steps or another learning rate change nothing.

The twin (`--healthy`) has a hidden layer between the two.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import torch
from torch import nn

import deadband
from deadband_demos.options import read_options
from deadband_demos.tables import load_circles

STEPS = 800
BATCH = 64
LEARNING_RATE = 0.02
HIDDEN = 32
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    table = load_circles()

    model = nn.Sequential(OrderedDict(first=nn.Linear(2, HIDDEN)))
    if options.healthy:
        model.add_module("relu", nn.ReLU())  # the fault: without it, two layers are one
    model.add_module("head", nn.Linear(HIDDEN, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = table.batch(BATCH)
        loss = nn.functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    print(f"test accuracy {table.accuracy(model):.3f}")


if __name__ == "__main__":
    main()
