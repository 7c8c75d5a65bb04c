"""Sliding windows over the labels and targets of the last steps: what a constant guess could do."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace

import numpy as np

from deadband_monitor.statistics.labels import Labels
from deadband_monitor.statistics.outputs import entropy_of, entropy_of_drawn
from deadband_monitor.statistics.values import Doubles, Ints

WINDOW = 2000
"""Labels that a window holds: enough for the histogram of 100 classes, few enough to follow a
change of the data within an epoch."""
_CHUNK = 32
"""Rows that are summed up together: 63 chunks fill the window, however small the batches are."""
_TAIL_COLUMNS = 64
"""Columns that the kurtosis is taken over; with more, evenly spaced ones stand for all."""
_KEPT_COLUMNS = 16
"""Columns whose values are kept as they are, for medians; evenly spaced ones of wider targets."""


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
        return entropy_of(self._counts / self._size) if self._size else np.nan

    def majority(self) -> tuple[int, float]:
        """The most frequent class, the first of equals, and its share of the labels."""
        if not self._size:
            return -1, np.nan
        top = int(self._counts.argmax())
        return top, float(self._counts[top] / self._size)

    @property
    def distinct(self) -> int:
        """Different classes in the window."""
        return int(np.count_nonzero(self._counts))

    def constant_loss(self) -> float:
        """Cross entropy of the best constant prediction, nats a row.

        That is the entropy of the labels, weighted as the loss weights them; of the mean target
        where targets are soft. Of hard ones the window may not have met every class.
        """
        mass = np.maximum(self._mass, 0.0)
        total = mass.sum()
        if not total > 0:
            return np.nan
        plain = np.allclose(mass, self._counts, rtol=1e-3)  # as read off a gradient, they scatter
        return entropy_of_drawn(self._counts) if plain else entropy_of(mass / total)

    def constant_scatter(self) -> float:
        """Standard deviation of a row's loss under that prediction; 0 where classes are even."""
        mass = np.maximum(self._mass, 0.0)
        total = mass.sum()
        if not total > 0:
            return 0.0
        share = mass[mass > 0] / total
        surprise = -np.log(share)
        mean = float((share * surprise).sum())
        return math.sqrt(max(0.0, float((share * surprise * surprise).sum()) - mean * mean))

    def _count(self, batch: tuple[Ints, Doubles, Doubles | None], sign: int) -> None:
        classes, weights, targets = batch
        many = len(self._counts)
        self._counts += sign * np.bincount(classes, minlength=many)
        if targets is None:
            self._mass += sign * np.bincount(classes, weights, minlength=many)
        else:
            self._mass += sign * targets.sum(axis=0)
        self._size += sign * len(classes)


_ONE_NUMBER = 1e-10
"""Deviation over size of numbers that are all the same, summed in doubles. Numbers in float32 that
differ at all do so by 6e-8 of themselves: one row of two thousand makes a deviation of 1e-9."""


@dataclass(frozen=True, slots=True)
class TargetMoments:
    """What a window of targets looks like; (c,) figures are of the columns."""

    mean: Doubles
    variance: Doubles
    kurtosis: float
    """Mean fourth power over squared mean square of all deviations from the column means: columns
    that hardly vary weigh little in it. NaN for constant targets."""
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Sums of powers of the deviations from the mean of some rows."""

    size: int
    mean: Doubles
    square: Doubles
    cube: Doubles
    fourth: Doubles
    """The last two of at most 64 columns."""
    low: float
    high: float


class TargetWindow:
    """Moments of real-valued targets of the last steps.

    Chunks of rows are merged without cancelling, by the updates of Chan, Golub and LeVeque (1983)
    and, for the higher moments, Pebay (2008).
    """

    def __init__(self) -> None:
        self._chunks: deque[_Chunk] = deque()
        self._open: Doubles | None = None
        """Rows of the newest chunk while it has room."""
        self._size = 0
        self._moments: TargetMoments | None = None
        self._read_to = math.inf
        """How exactly targets were read, at best; 0 where they were given."""

    @property
    def size(self) -> int:
        """Rows in the window."""
        return self._size

    def add(self, targets: Doubles, read_to: float = 0.0) -> None:
        """Take one step's targets, (r, c), and let the oldest go.

        Args:
            targets: of some rows.
            read_to: how exactly they are known, where they were read off a gradient.
        """
        if not len(targets):
            return
        self._read_to = min(self._read_to, read_to)
        rows = targets
        if self._open is not None:
            rows = np.concatenate([self._open, targets])
            self._size -= self._chunks.pop().size
        self._open = rows if len(rows) < _CHUNK else None
        self._chunks.append(_summed(rows))
        self._size += len(rows)
        while self._size - self._chunks[0].size >= WINDOW:
            self._size -= self._chunks.popleft().size
        self._moments = None

    def moments(self) -> TargetMoments:
        """Of all rows in the window, which must not be empty."""
        if self._moments is None:
            found = _merged(list(self._chunks))
            exact = max(self._read_to, _ONE_NUMBER * max(abs(found.low), abs(found.high)))
            variance = np.where(found.variance > exact * exact, found.variance, 0.0)
            kurtosis = found.kurtosis if variance.any() else np.nan
            self._moments = replace(found, variance=variance, kurtosis=kurtosis)
        return self._moments

    def mean(self) -> Doubles:
        """Of each column, (c,)."""
        return self.moments().mean

    def variance(self) -> Doubles:
        """Of each column, (c,)."""
        return self.moments().variance


class ValueWindow:
    """The values of the last targets themselves, (up to 2000 rows, up to 16 columns)."""

    def __init__(self) -> None:
        self._rows: Doubles = np.zeros((0, 0))

    @property
    def rows(self) -> Doubles:
        """Oldest first."""
        return self._rows

    def add(self, targets: Doubles) -> None:
        """Take one step's targets, (r, c), and let the oldest go."""
        kept = targets[:, evenly(targets.shape[1], _KEPT_COLUMNS)]
        if self._rows.shape[1] != kept.shape[1]:
            self._rows = np.zeros((0, kept.shape[1]))
        self._rows = np.concatenate([self._rows, kept])[-WINDOW:]


def evenly(size: int, most: int) -> slice:
    """At most `most` of `size` places, evenly spaced."""
    return slice(None, None, max(1, -(-size // most)))


def _summed(rows: Doubles) -> _Chunk:
    mean = rows.mean(axis=0)
    off = rows - mean
    square = off * off
    tail = evenly(rows.shape[1], _TAIL_COLUMNS)
    few, few_squares = off[:, tail], square[:, tail]
    return _Chunk(
        len(rows),
        mean,
        square.sum(axis=0),
        (few * few_squares).sum(axis=0),
        (few_squares * few_squares).sum(axis=0),
        float(rows.min()),
        float(rows.max()),
    )


def _merged(chunks: list[_Chunk]) -> TargetMoments:
    sizes = np.array([chunk.size for chunk in chunks], dtype=np.float64)
    total = float(sizes.sum())
    means = np.stack([chunk.mean for chunk in chunks])
    squares = np.stack([chunk.square for chunk in chunks])
    mean = sizes @ means / total
    off = means - mean
    variance = (squares.sum(axis=0) + sizes @ off**2) / total
    tail = evenly(len(mean), _TAIL_COLUMNS)
    off, squares = off[:, tail], squares[:, tail]
    cubes = np.stack([chunk.cube for chunk in chunks])
    fourths = np.stack([chunk.fourth for chunk in chunks])
    fourth = (fourths + 4 * off * cubes + 6 * off**2 * squares).sum(axis=0) + sizes @ off**4
    spread = float(variance[tail].mean())
    return TargetMoments(
        np.asarray(mean),
        np.asarray(variance),
        float(fourth.mean() / total / spread**2) if spread > 0 else np.nan,
        min(chunk.low for chunk in chunks),
        max(chunk.high for chunk in chunks),
    )
