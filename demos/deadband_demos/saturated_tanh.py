"""Saturating activation: tanh units that their biases hold at -1 or 1, whatever comes in.

The hidden biases start at -12 or 12, far out on the flat ends of the tanh. Each unit gives the
same answer to every digit, and where the tanh is flat no gradient comes back that could move the
bias.

The twin (`--healthy`) starts the biases at 0, in the middle of the slope.
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
BIAS = 12.0  # the fault
HEALTHY_BIAS = 0.0
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    bias = HEALTHY_BIAS if options.healthy else BIAS
    hidden1, hidden2 = nn.Linear(64, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
    for layer in (hidden1, hidden2):
        layer.bias.data = bias * torch.randn(HIDDEN).sign()
    model = nn.Sequential(
        OrderedDict(
            hidden1=hidden1,
            tanh1=nn.Tanh(),
            hidden2=hidden2,
            tanh2=nn.Tanh(),
            head=nn.Linear(HIDDEN, 10),
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
