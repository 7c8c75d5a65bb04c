"""Attention collapse: each layer of attention makes the words more alike.

A digit is eight rows of pixels, read as eight words. Attention gives each word a mean of all
words; a mean of means of means is the same for every word, and for every digit. Eight layers
without a way round them leave nothing of the image.

The twin (`--healthy`) adds each layer's input to its output.
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
LEARNING_RATE = 0.001
WIDTH = 32
DEPTH = 8
SEED = 0


class Reader(nn.Module):
    """Reads the rows of an image as words, with layers of attention."""

    def __init__(self, *, skips: bool) -> None:
        super().__init__()
        self.skips = skips
        self.word = nn.Linear(8, WIDTH)
        self.place = nn.Parameter(0.1 * torch.randn(8, WIDTH))
        self.asks = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(DEPTH))
        self.outs = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(DEPTH))
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores."""
        words = self.word(x.view(-1, 8, 8)) + self.place
        for ask, out in zip(self.asks, self.outs, strict=True):
            query, key, value = ask(words).chunk(3, dim=2)
            weights = torch.softmax(query @ key.transpose(1, 2) / WIDTH**0.5, dim=2)
            read = out(weights @ value)
            words = words + read if self.skips else read  # the fault: no way round
        return cast(torch.Tensor, self.head(words.mean(1)))


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    model = Reader(skips=options.healthy)
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
