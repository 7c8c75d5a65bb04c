"""Learning rate too high: one neuron, three rows, and a learning rate of 10.

A sigmoid neuron in plain numpy is to say whether a row of `[[1, 2], [3, 4], [5, 6]]` has large
numbers. Each step moves the weights by ten times the gradient. One such step throws the sums so far
out that the sigmoid answers the same to all rows, and out there it is flat: nothing comes back.

The twin (`--healthy`) takes 0.1, and tells the rows apart in the end.
"""

from __future__ import annotations

import time

import numpy as np

import deadband
from deadband_demos.options import read_options

STEPS = 1000
LEARNING_RATE = 10.0  # the fault
HEALTHY_LEARNING_RATE = 0.1
SEED = 0

ROWS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
TARGETS = np.array([[0.0], [1.0], [1.0]])


def main() -> None:
    """Train, print the loss now and then, and the share of the rows named rightly at the end."""
    options = read_options(__doc__, pace_s=0.02)
    rate = HEALTHY_LEARNING_RATE if options.healthy else LEARNING_RATE
    random = np.random.default_rng(SEED)
    weight, bias = random.normal(size=(2, 1)), np.zeros(1)

    watch = deadband.watch(None)
    for step in range(1, STEPS + 1):
        output = 1 / (1 + np.exp(-(ROWS @ weight + bias)))
        error = output - TARGETS
        loss = np.square(error).mean()
        output_grad = 2 * error / len(ROWS)
        sum_grad = output_grad * output * (1 - output)
        weight_grad = ROWS.T @ sum_grad

        watch.observe("neuron", ROWS, role="input")
        watch.observe("neuron", weight, role="weight")
        watch.observe("neuron", bias, role="bias")
        watch.observe("neuron", output, activation="sigmoid")
        watch.observe("neuron", output, role="output")
        watch.observe("neuron", TARGETS, role="target")
        watch.observe("neuron", output_grad, role="output_grad")
        watch.observe("neuron", weight_grad, role="weight_grad")
        watch.step(loss=loss, lr=rate)

        weight = weight - rate * weight_grad
        bias = bias - rate * sum_grad.sum(0)
        if step % 100 == 0:
            print(f"step {step}: loss {loss:.4f}")
        time.sleep(options.pace_s)
    watch.close()
    said = 1 / (1 + np.exp(-(ROWS @ weight + bias)))
    print(f"share of the rows {((said > 0.5) == (TARGETS > 0.5)).mean():.3f}")


if __name__ == "__main__":
    main()
