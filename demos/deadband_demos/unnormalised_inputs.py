"""Unnormalised inputs: one raw feature is so large that the others do not count.

Beside the 64 pixels, from 0 to 1, each row has the time of day at which it was scanned, in seconds
(made up here: a scan every 2 seconds from 10 o'clock). The first layer's sums are about the clock
alone, and so large that its tanh units stand at -1 or 1 whatever the pixels say. A lower learning
rate does not help: nothing is wrong with the steps.

The twin (`--healthy`) standardises every feature.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_pixels, split, standardise
from deadband_demos.options import read_options

STEPS = 800
BATCH = 64
LEARNING_RATE = 0.1
HIDDEN = 64
FIRST_SCAN_S = 36_000.0  # 10 o'clock
SCAN_EVERY_S = 2.0
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    pixels, labels = load_pixels()
    clock = FIRST_SCAN_S + SCAN_EVERY_S * torch.arange(len(pixels))
    rows = torch.cat([pixels, clock[:, None]], dim=1)
    digits = split(standardise(rows) if options.healthy else rows, labels)  # the fault: raw rows

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(65, HIDDEN),
            tanh1=nn.Tanh(),
            hidden2=nn.Linear(HIDDEN, HIDDEN),
            tanh2=nn.Tanh(),
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
