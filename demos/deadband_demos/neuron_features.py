"""Unnormalised inputs: one neuron, and two features a thousand times apart.

A sigmoid neuron in plain numpy is to find one of three kinds of wine by its hue, near 1, and its
proline, near 750. The weight of the proline moves a thousand times as far at each step. The sums
jump by hundreds from step to step, the sigmoid answers the same to all wines, and what the hue says
does not count.

The twin (`--healthy`) standardises both.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_wine

import deadband
from deadband_demos.options import read_options

STEPS = 1000
BATCH = 32
LEARNING_RATE = 0.1
HUE, PROLINE, KIND = 10, 12, 2
SEED = 0


def main() -> None:
    """Train, print the loss now and then, and the balanced accuracy at the end."""
    options = read_options(__doc__, pace_s=0.02)
    wine = load_wine()
    rows, targets = wine.data[:, [HUE, PROLINE]], 1.0 * (wine.target[:, None] == KIND)
    if options.healthy:  # the fault: it is left out
        rows = (rows - rows.mean(0)) / rows.std(0)
    random = np.random.default_rng(SEED)
    weight, bias = random.normal(size=(2, 1)), np.zeros(1)

    watch = deadband.watch(None)
    for step in range(1, STEPS + 1):
        batch = random.integers(len(rows), size=BATCH)
        x, y = rows[batch], targets[batch]
        output = sigmoid(x @ weight + bias)
        loss = -np.log(np.where(y > 0, output, 1 - output) + 1e-9).mean()
        sum_grad = (output - y) / BATCH
        weight_grad = x.T @ sum_grad

        watch.observe("neuron", x, role="input")
        watch.observe("neuron", weight, role="weight")
        watch.observe("neuron", bias, role="bias")
        watch.observe("neuron", output, activation="sigmoid")
        watch.observe("neuron", output, role="output")
        watch.observe("neuron", y, role="target")
        watch.observe("neuron", weight_grad, role="weight_grad")
        watch.step(loss=loss, lr=LEARNING_RATE)

        weight = weight - LEARNING_RATE * weight_grad
        bias = bias - LEARNING_RATE * sum_grad.sum(0)
        if step % 100 == 0:
            print(f"step {step}: loss {loss:.4f}")
        time.sleep(options.pace_s)
    watch.close()
    said = sigmoid(rows @ weight + bias) > 0.5
    found = [(said == truth)[targets == truth].mean() for truth in (False, True)]
    print(f"balanced accuracy {sum(found) / 2:.3f}")


def sigmoid(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """From 0 to 1; sums far out are cut where it is 0 or 1 to nine digits."""
    return np.asarray(1 / (1 + np.exp(-np.clip(sums, -30, 30))))


if __name__ == "__main__":
    main()
