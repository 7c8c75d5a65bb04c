"""Learning rate too high, late: a thousand good steps, then a warm restart that is far too warm.

The learning rate falls along a cosine for a thousand steps, and the network reads digits well.
Then the schedule starts over, as it is meant to, but at 2 instead of 0.02. Some ten steps are
enough: the weights are thrown away, the units never fire again, and the second fall of the cosine
saves nothing.

The twin (`--healthy`) starts over at 0.02.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from math import cos, pi

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 1600
BATCH = 64
RATE = 0.02
CYCLE = 1000  # steps from the top of the cosine to its foot
RESTART = 2.0  # the fault
HEALTHY_RESTART = 0.02
HIDDEN = 64
SEED = 0


def learning_rate(step: int, healthy: bool) -> float:
    """The schedule: half a cosine from the top down, then from the top again."""
    restart = HEALTHY_RESTART if healthy else RESTART
    top = RATE if step <= CYCLE else restart
    return top * (0.02 + 0.98 * (1 + cos(pi * ((step - 1) % CYCLE) / CYCLE)) / 2)


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__, pace_s=0.015)
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

    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=0.9)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        optimizer.param_groups[0]["lr"] = learning_rate(step, options.healthy)
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
