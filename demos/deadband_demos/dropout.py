"""Too much regularisation: dropout leaves one unit in fifty.

`nn.Dropout(p)` takes the share that is switched off. Of 64 units one or two are left at each
step, and they are made fifty times as loud. The head hears noise, and the best it can do is to
say how frequent each digit is.

The twin (`--healthy`) switches off 0.2.
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
DROPOUT = 0.98  # the fault
HEALTHY_DROPOUT = 0.2
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    share = HEALTHY_DROPOUT if options.healthy else DROPOUT
    model = nn.Sequential(
        OrderedDict(
            hidden1=nn.Linear(64, HIDDEN),
            relu1=nn.ReLU(),
            dropout1=nn.Dropout(share),
            hidden2=nn.Linear(HIDDEN, HIDDEN),
            relu2=nn.ReLU(),
            dropout2=nn.Dropout(share),
            head=nn.Linear(HIDDEN, 10),
        )
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)

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
