"""BatchNorm misuse: the statistics that the test relies on are never learnt.

In training, BatchNorm uses the mean and spread of the batch; in evaluation, running averages of
them. `momentum` is the weight of the newest batch in those averages. 0.0001 (0.9999 in another
library's words) keeps them near their start, 0 and 1: what works in training meets quite other
numbers in the test.

The twin (`--healthy`) takes 0.1.
"""

from __future__ import annotations

import time

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 400
BATCH = 64
LEARNING_RATE = 0.001
HIDDEN = 64
DEPTH = 6
MOMENTUM = 0.0001  # the fault
HEALTHY_MOMENTUM = 0.1
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    momentum = HEALTHY_MOMENTUM if options.healthy else MOMENTUM
    model = nn.Sequential(nn.Linear(64, HIDDEN))
    for number in range(1, DEPTH + 1):
        model.add_module(f"hidden{number}", nn.Linear(HIDDEN, HIDDEN))
        model.add_module(f"norm{number}", nn.BatchNorm1d(HIDDEN, momentum=momentum))
        model.add_module(f"relu{number}", nn.ReLU())
    model.add_module("head", nn.Linear(HIDDEN, 10))
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
