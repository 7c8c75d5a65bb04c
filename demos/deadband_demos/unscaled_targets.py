"""Unscaled targets: the answers lie near 152, and the network begins at 0.

The progress of a patient's diabetes is a number from 25 to 346. A network with small weights
gives about 0, and Adam moves it by little steps: all of them go into climbing to the mean, none
into telling one patient from another. In a thousand steps it is not even there.

The twin (`--healthy`) learns the number of standard deviations from the mean.
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
LEARNING_RATE = 0.0003
HIDDEN = 64
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test R2 at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    table = load_table("diabetes").standardised()
    mean, std = table.train_y.mean(), table.train_y.std()
    if options.healthy:  # the fault: it is left out
        train_y, test_y = (table.train_y - mean) / std, (table.test_y - mean) / std
        table = replace(table, train_y=train_y, test_y=test_y)

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(10, HIDDEN),
            tanh1=nn.Tanh(),
            dropout=nn.Dropout(0.3),
            head=nn.Linear(HIDDEN, 1),
        )
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE)

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
