"""Zero initialisation: all weights start at 0, and nothing ever moves them.

Every unit of every layer gives 0. The gradient of a weight is what comes in times what comes
back, and both are 0 behind a layer of zeros: only the bias of the head learns, how frequent each
digit is.

The twin (`--healthy`) draws the weights at random (Xavier).
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
HIDDEN = 64
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
            nn.init.zeros_(layer.weight)  # the fault
    model = nn.Sequential(
        OrderedDict(
            hidden1=hidden1,
            tanh1=nn.Tanh(),
            hidden2=hidden2,
            tanh2=nn.Tanh(),
            head=head,
        )
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, momentum=0.9)

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
