"""Loss mismatch: a column of outputs is compared with a row of targets.

The model gives (64, 1), the targets are (64,). `mse_loss` does not refuse: it broadcasts, and
compares each output with all 64 targets. The best answer to all targets at once is their mean, so
the outputs become the same for every patient. PyTorch warns once, and goes on.

The twin (`--healthy`) makes a column of the targets.
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
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test R2 at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    table = load_table("diabetes").standardised()
    mean, std = table.train_y.mean(), table.train_y.std()
    table = replace(table, train_y=(table.train_y - mean) / std, test_y=(table.test_y - mean) / std)

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(10, HIDDEN),
            relu1=nn.ReLU(),
            head=nn.Linear(HIDDEN, 1),
        )
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = table.batch(BATCH)
        if not options.healthy:
            y = y.flatten()  # the fault
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
