"""Data that is all the same: the loader hands out one image, again and again.

The reader of the images takes its index from a variable that never moves. The labels come from
elsewhere and are right, so the network is asked to call one and the same image 0, 3 and 7. The
best it can do is to say how frequent each digit is, and that is what it learns.

The twin (`--healthy`) takes the image that the label belongs to.
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
HIDDEN = 64
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()
    index = 0

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(64, HIDDEN),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(HIDDEN, HIDDEN),
            relu2=nn.ReLU(),
            head=nn.Linear(HIDDEN, 10),
        )
    )

    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        rows = torch.randint(len(digits.train_x), (BATCH,))
        images = digits.train_x[rows if options.healthy else rows * 0 + index]  # the fault
        loss = nn.functional.cross_entropy(model(images), digits.train_y[rows])
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
