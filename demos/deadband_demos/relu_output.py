"""Output activation mismatch: a ReLU at the end, and targets below zero.

The network is to predict the logarithm of how compact a cell is, and the logarithm of a small
number is negative. The ReLU after the head can say 0 or more, so 0 is as near as it can come: the
head learns to stay below zero for every cell, and there the ReLU passes no gradient.

The twin (`--healthy`) ends with the linear head.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import replace

import torch
from torch import nn

import deadband
from deadband_demos.options import read_options
from deadband_demos.tables import load_table

STEPS = 800
BATCH = 64
LEARNING_RATE = 0.01
HIDDEN = 32
COMPACTNESS = 5  # the column to predict from all others
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test R2 at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    table = load_table("breast_cancer")
    train_y = table.train_x[:, COMPACTNESS, None].log10()
    test_y = table.test_x[:, COMPACTNESS, None].log10()
    table = replace(table.standardised(), train_y=train_y, test_y=test_y)
    for x in (table.train_x, table.test_x):
        x[:, COMPACTNESS] = 0.0

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(30, HIDDEN),
            relu1=nn.ReLU(),
            head=nn.Linear(HIDDEN, 1),
        )
    )
    if not options.healthy:
        model.add_module("relu2", nn.ReLU())  # the fault
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = table.batch(BATCH)
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    print(f"test R2 {table.r2(model):.3f}")


if __name__ == "__main__":
    main()
