"""Dying ReLU: units that no input switches on, born that way.

The hidden biases start at -8, so every unit's sum is below zero for every digit. A ReLU that is
off passes no gradient, so nothing ever switches it on. The head's bias learns how frequent each
digit is, and that is all this network will ever know.

The twin (`--healthy`) starts the biases at 0.
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
LEARNING_RATE = 0.1
HIDDEN = 64
BIAS = -8.0  # the fault
HEALTHY_BIAS = 0.0
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    hidden1, hidden2 = nn.Linear(64, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
    for layer in (hidden1, hidden2):
        nn.init.constant_(layer.bias, HEALTHY_BIAS if options.healthy else BIAS)
    model = nn.Sequential(
        OrderedDict(
            hidden1=hidden1,
            relu1=nn.ReLU(),
            hidden2=hidden2,
            relu2=nn.ReLU(),
            head=nn.Linear(HIDDEN, 10),
        )
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

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
