"""NaN by overflow: a softmax written by hand, without taking the largest score off first.

The scores are divided by a temperature of 0.02, as contrastive losses do, and `exp` of more than
88 is infinite in 32 bits. All goes well while the network is unsure. As it learns, its scores
grow, one of them passes 1.77, and infinity over infinity is not a number: the next step makes NaN
of every weight.

The twin (`--healthy`) calls `log_softmax`, which takes the largest score off.
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
TEMPERATURE = 0.02
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
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

    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

    watch = deadband.watch(model, optimizer)
    for step in range(1, STEPS + 1):
        x, y = digits.batch(BATCH)
        scores = model(x) / TEMPERATURE
        if options.healthy:
            log_p = torch.log_softmax(scores, dim=1)
        else:
            log_p = torch.log(scores.exp() / scores.exp().sum(1, keepdim=True))  # the fault
        loss = nn.functional.nll_loss(log_p, y)
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
