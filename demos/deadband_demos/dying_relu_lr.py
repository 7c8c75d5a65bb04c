"""Dying ReLU by the learning rate: the first steps throw every unit below zero.

At a learning rate of 1, Adam's first step moves every weight by 1, ten times its size. The units
that it throws below zero for every digit are off for good, since a ReLU that is off passes no
gradient. The dead units are what one sees; the learning rate is what killed them.

The twin (`--healthy`) takes 0.001.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 800
BATCH = 64
LEARNING_RATE = 1.0  # the fault
HEALTHY_LEARNING_RATE = 0.001
HIDDEN = 64
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(64, HIDDEN),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(HIDDEN, HIDDEN),
            relu2=nn.ReLU(),
            head=nn.Linear(HIDDEN, 10),
        )
    )

    rate = HEALTHY_LEARNING_RATE if options.healthy else LEARNING_RATE
    optimizer = torch.optim.Adam(model.parameters(), lr=rate)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = digits.batch(BATCH)
        loss = nn.functional.cross_entropy(model(x), y)
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
