"""Bad data, late: after a thousand good steps the loader hands out one batch again and again.

The network reads a stream of digits and gets better at them step by step. At step 1001 the reader
of the stream fails, and the loader goes on with the last batch that it has. The loss falls faster
than ever: 8 digits are soon learnt by heart, and as the weights decay the others are forgotten.

The twin (`--healthy`) has a reader that does not fail.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 2000
BATCH = 8
LEARNING_RATE = 0.05
WEIGHT_DECAY = 0.02
HIDDEN = 64
FAILS_AT = 1001
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__, pace_s=0.015)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()
    x, y = digits.batch(BATCH)

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(64, HIDDEN),
            relu1=nn.ReLU(),
            hidden2=nn.Linear(HIDDEN, HIDDEN),
            relu2=nn.ReLU(),
            head=nn.Linear(HIDDEN, 10),
        )
    )

    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        if options.healthy or step < FAILS_AT:  # the fault: from then on x and y stay
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
