"""Saturating activation: sigmoid units that are held at 1 by their bias.

The hidden biases start at 12, where the sigmoid is flat: each unit answers 1 to every digit. What
depends on the input is rounded away, and so is the gradient that could bring the bias down.

The twin (`--healthy`) starts the biases at 0, in the middle of the sigmoid's slope.
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
LEARNING_RATE = 0.003
HIDDEN = 64
BIAS = 12.0  # the fault
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
            sigmoid1=nn.Sigmoid(),
            hidden2=hidden2,
            sigmoid2=nn.Sigmoid(),
            head=nn.Linear(HIDDEN, 10),
        )
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

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
