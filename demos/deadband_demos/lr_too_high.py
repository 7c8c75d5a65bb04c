"""Learning rate too high: a healthy training is thrown out by a bug in its schedule.

For the first 300 steps Adam trains at 0.001. Then a decay takes over, and it forgets the base:
the factor alone, 1, becomes the learning rate, a thousand times too much. The next steps are
larger than the weights themselves. The units die, the output no longer depends on the input, and
nothing that the decay does later brings them back.

The twin (`--healthy`) multiplies the factor by the base.
"""

from __future__ import annotations

import time
from collections import OrderedDict

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 900
BATCH = 64
BASE = 0.001
DECAY_FROM = 300
HALF_LIFE = 200  # steps in which the decay halves the learning rate
HIDDEN = 64
SEED = 0


def learning_rate(step: int, healthy: bool) -> float:
    """The schedule: constant, then an exponential decay."""
    if step <= DECAY_FROM:
        return BASE
    factor: float = 0.5 ** ((step - DECAY_FROM - 1) / HALF_LIFE)
    return BASE * factor if healthy else factor  # the bug: the base is missing


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
    optimizer = torch.optim.Adam(model.parameters(), lr=BASE)

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
