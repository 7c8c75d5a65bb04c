"""Constant initialisation: all weights start equal, so nothing tells the units of a layer apart.

Every unit computes the same and gets the same gradient, at every step. A layer of 64 units is one
unit, 64 times over; what one unit can say is not enough to tell ten digits apart.

The twin (`--healthy`) draws the weights at random (Xavier), and they part ways at once.
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
LEARNING_RATE = 0.05
MOMENTUM = 0.9
HIDDEN = 64
CONSTANT = 0.05  # the fault: any constant does it
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    hidden1, hidden2, head = nn.Linear(64, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, 10)
    for layer in (hidden1, hidden2, head):
        nn.init.zeros_(layer.bias)
        if options.healthy:
            nn.init.xavier_uniform_(layer.weight)
        else:
            nn.init.constant_(layer.weight, CONSTANT)
    model = nn.Sequential(
        OrderedDict(
            hidden1=hidden1,
            sigmoid1=nn.Sigmoid(),
            hidden2=hidden2,
            sigmoid2=nn.Sigmoid(),
            head=head,
        )
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=MOMENTUM)

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
