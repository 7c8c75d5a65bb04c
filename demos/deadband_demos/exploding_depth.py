"""Exploding by depth: thirty blocks that each double what they get.

Each block adds what it computes to its input, and nothing brings the sum back to size. It grows
by half a decade a block on the way up, and the gradient does the same on the way down: the first
loss is astronomic, and so is the first step.

The twin (`--healthy`) normalises what goes into each block's layers, and keeps the rest.
"""

from __future__ import annotations

import time
from typing import cast

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 600
BATCH = 64
LEARNING_RATE = 0.01
HIDDEN = 64
DEPTH = 30
SEED = 0


class Block(nn.Module):
    """x + second(relu(first(x)))."""

    def __init__(self, *, normalised: bool) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(HIDDEN) if normalised else nn.Identity()  # the fault
        self.first, self.second = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        nn.init.kaiming_normal_(self.first.weight)
        nn.init.kaiming_normal_(self.second.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The input and what the block makes of it."""
        return cast(torch.Tensor, x + self.second(torch.relu(self.first(self.norm(x)))))


class Tower(nn.Sequential):
    """Blocks on top of each other, and a linear head."""

    def __init__(self, *, normalised: bool) -> None:
        blocks = [Block(normalised=normalised) for _ in range(DEPTH)]
        last = nn.LayerNorm(HIDDEN) if normalised else nn.Identity()
        super().__init__(nn.Linear(64, HIDDEN), *blocks, last, nn.Linear(HIDDEN, 10))


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    model = Tower(normalised=options.healthy)
    optimizer = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE)

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
