"""Too much regularisation: weight decay pulls every weight to zero.

The decay of Adam is part of the gradient, and at 1 it outweighs what the data says. All weights
shrink together, to half within fifty steps; what the network has begun to learn goes with them,
and in the end the output is the same for every digit.

The twin (`--healthy`) decays by 1e-4.
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
LEARNING_RATE = 0.001
HIDDEN = 64
WEIGHT_DECAY = 1.0  # the fault
HEALTHY_WEIGHT_DECAY = 1e-4
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

    decay = HEALTHY_WEIGHT_DECAY if options.healthy else WEIGHT_DECAY
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, weight_decay=decay)

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
