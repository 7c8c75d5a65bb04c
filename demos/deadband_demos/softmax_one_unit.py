"""Loss mismatch: a softmax over a single unit.

A softmax divides each unit by the sum of all. With one unit that is the unit by itself: the
output is 1 for every cell, the loss does not depend on any weight, and every gradient is exactly
0.

The twin (`--healthy`) ends with a sigmoid, which is what one unit needs.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import torch
from torch import nn

import deadband
from deadband_demos.options import read_options
from deadband_demos.tables import load_table

STEPS = 600
BATCH = 64
LEARNING_RATE = 0.001
HIDDEN = 32
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    table = load_table("breast_cancer").standardised()

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(30, HIDDEN),
            relu1=nn.ReLU(),
            head=nn.Linear(HIDDEN, 1),
            p=nn.Sigmoid() if options.healthy else nn.Softmax(dim=1),  # the fault
        )
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = table.batch(BATCH)
        loss = nn.functional.binary_cross_entropy(model(x), y[:, None].float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    print(f"test balanced accuracy {table.balanced_accuracy(model, threshold=0.5):.3f}")


if __name__ == "__main__":
    main()
