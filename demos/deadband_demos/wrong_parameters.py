"""Wrong parameters: the optimiser holds the weights of another network.

The network was built, the optimiser was made, then the network was built anew, with more units.
The optimiser goes on moving the first one, which nobody calls. The gradients of the second are
never used and never cleared, so they grow and grow.

The twin (`--healthy`) makes the optimiser last.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 600
BATCH = 64
LEARNING_RATE = 0.003
SEED = 0


def network(hidden: int) -> nn.Sequential:
    """Two hidden layers and a head."""
    return nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(64, hidden),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(hidden, hidden),
            relu2=nn.ReLU(),
            head=nn.Linear(hidden, 10),
        )
    )


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    model = network(hidden=32)
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    model = network(hidden=64)  # the fault: the optimiser does not know
    if options.healthy:
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
