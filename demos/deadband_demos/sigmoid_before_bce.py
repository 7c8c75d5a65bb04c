"""Loss mismatch: sigmoid before a loss that takes the sigmoid itself.

The output is a probability from 0 to 1, and the loss takes the sigmoid of it once more: it reads
0 as 0.5 and 1 as 0.73. One digit in ten is a 0, so "never, but who knows, 0.5" is the best that
can be said, and the loss stays above that of the network that always answers 0.1.

The twin (`--healthy`) leaves the sigmoid to the loss.
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
LEARNING_RATE = 0.003
HIDDEN = 64
POSITIVE = 0  # the digit to find
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test skill at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(64, HIDDEN),
            relu1=nn.ReLU(),
            head=nn.Linear(HIDDEN, 1),
        )
    )
    if not options.healthy:
        model.add_module("sigmoid", nn.Sigmoid())  # the fault
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = digits.batch(BATCH)
        is_zero = (y[:, None] == POSITIVE).float()
        loss = nn.functional.binary_cross_entropy_with_logits(model(x), is_zero)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
        if step % 100 == 0:
            print(f"step {step}: loss {loss.item():.4f}")
        time.sleep(options.pace_s)
    watch.close()
    model.eval()
    truth = (digits.test_y[:, None] == POSITIVE).float()
    score = nn.functional.binary_cross_entropy_with_logits
    base_rate = truth.mean().logit().expand_as(truth)  # what who knows nothing would answer
    with torch.no_grad():
        print(f"test skill {1 - score(model(digits.test_x), truth) / score(base_rate, truth):.3f}")


if __name__ == "__main__":
    main()
