"""Badly scaled initialisation: weights so small that nothing gets through.

The weights are drawn with a standard deviation of 0.001, a usual figure from older recipes. 64
inputs want about 0.18: each layer makes what it gets a hundred times smaller, and so is the
gradient on its way back. Behind four layers there is only the head's bias left to learn with.

The twin (`--healthy`) asks for He's initialisation, which takes the number of inputs into
account.
"""

from __future__ import annotations

import time

import torch
from torch import nn

import deadband
from deadband_demos.digits import load_digits
from deadband_demos.options import read_options

STEPS = 800
BATCH = 64
LEARNING_RATE = 0.02
HIDDEN = 64
DEPTH = 4
STD = 0.001  # the fault
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the test accuracy at the end."""
    options = read_options(__doc__)
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    digits = load_digits()

    layers = [nn.Linear(64, HIDDEN), *(nn.Linear(HIDDEN, HIDDEN) for _ in range(DEPTH - 1))]
    head = nn.Linear(HIDDEN, 10)
    for layer in (*layers, head):
        nn.init.zeros_(layer.bias)
        if options.healthy:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        else:
            nn.init.normal_(layer.weight, std=STD)
    model = nn.Sequential()
    for number, layer in enumerate(layers, 1):
        model.add_module(f"hidden{number}", layer)
        model.add_module(f"relu{number}", nn.ReLU())
    model.add_module("head", head)
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
