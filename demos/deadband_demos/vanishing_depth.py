"""Vanishing by depth: ten sigmoid layers, of which each passes on a fiftieth of what it gets.

A sigmoid has a slope of 0.25 at most, and the weights are small. What depends on the input
shrinks with each layer on the way up, and so does the gradient on the way down. The last layers
see the same whatever the digit, the first ones are told nothing.

The twin (`--healthy`) adds each layer's input to its output, so both ways have a straight road.
"""

from __future__ import annotations

import time
from typing import cast

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 800
BATCH = 64
LEARNING_RATE = 0.05
HIDDEN = 64
DEPTH = 10
SEED = 0


class Tower(nn.Module):
    """Sigmoid layers on top of each other, and a linear head."""

    def __init__(self, *, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.first = nn.Linear(64, HIDDEN)
        self.layers = nn.ModuleList(nn.Linear(HIDDEN, HIDDEN) for _ in range(DEPTH))
        self.head = nn.Linear(HIDDEN, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores."""
        x = self.first(x)
        for layer in self.layers:
            out = torch.sigmoid(layer(x))
            x = x + out if self.skips else out  # the fault: no way round a layer
        return cast(torch.Tensor, self.head(x))


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    model = Tower(skips=options.healthy)
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
