"""Sliding windows over the labels and targets of the last steps: what a constant guess could do."""

from __future__ import annotations

from collections import deque

import numpy as np

from deadband_monitor.statistics.labels import Labels
from deadband_monitor.statistics.outputs import entropy
from deadband_monitor.statistics.values import Doubles, Ints

WINDOW = 2000
"""Labels that a window holds: enough for the histogram of 100 classes, few enough to follow a
change of the data within an epoch."""


class LabelWindow:
    """Class labels of the last steps."""

    def __init__(self, classes: int) -> None:
        self._batches: deque[tuple[Ints, Doubles, Doubles | None]] = deque()
        self._counts = np.zeros(classes)
        self._mass = np.zeros(classes)
        self._size = 0
        self._last_weight = np.ones(classes)

    @property
    def size(self) -> int:
        """Labels in the window."""
        return self._size

    def add(self, labels: Labels) -> None:
        """Take one step's labels and let the oldest go."""
        known = ~np.isnan(labels.weights)
        self._last_weight[labels.classes[known]] = labels.weights[known]
        weights = np.where(known, labels.weights, self._last_weight[labels.classes])
        batch = (labels.classes, weights, labels.targets)
        self._batches.append(batch)
        self._count(batch, 1)
        while self._size - len(self._batches[0][0]) >= WINDOW:
            self._count(self._batches.popleft(), -1)

    def entropy(self) -> float:
        """Entropy of the labels, nats."""
        return float(entropy(self._counts / self._size)) if self._size else np.nan

    def constant_loss(self) -> float:
        """Cross entropy of the best constant prediction, nats a row.

        That is the entropy of the labels, weighted as the loss weights them; of the mean target
        where targets are soft.
        """
        mass = np.maximum(self._mass, 0.0)
        total = mass.sum()
        return float(entropy(mass / total)) if total > 0 else np.nan

    def _count(self, batch: tuple[Ints, Doubles, Doubles | None], sign: int) -> None:
        classes, weights, targets = batch
        many = len(self._counts)
        self._counts += sign * np.bincount(classes, minlength=many)
        if targets is None:
            self._mass += sign * np.bincount(classes, weights, minlength=many)
        else:
            self._mass += sign * targets.sum(axis=0)
        self._size += sign * len(classes)


class TargetWindow:
    """Moments of real-valued targets of the last steps.

    Batches are merged without cancelling, by the update of Chan, Golub and LeVeque (1983).
    """

    def __init__(self) -> None:
        self._batches: deque[tuple[int, Doubles, Doubles]] = deque()
        self._size = 0

    @property
    def size(self) -> int:
        """Rows in the window."""
        return self._size

    def add(self, targets: Doubles) -> None:
        """Take one step's targets, (r, c), and let the oldest go."""
        mean = targets.mean(axis=0)
        self._batches.append((len(targets), mean, ((targets - mean) ** 2).sum(axis=0)))
        self._size += len(targets)
        while self._size - self._batches[0][0] >= WINDOW:
            self._size -= self._batches.popleft()[0]

    def mean(self) -> Doubles:
        """Of each column, (c,)."""
        sizes = np.array([size for size, _, _ in self._batches], dtype=np.float64)
        means = np.stack([mean for _, mean, _ in self._batches])
        return np.asarray(sizes @ means / self._size)

    def variance(self) -> Doubles:
        """Of each column, (c,)."""
        sizes = np.array([size for size, _, _ in self._batches], dtype=np.float64)
        means = np.stack([mean for _, mean, _ in self._batches])
        within = np.sum([square for _, _, square in self._batches], axis=0)
        return np.asarray((within + sizes @ (means - self.mean()) ** 2) / self._size)
