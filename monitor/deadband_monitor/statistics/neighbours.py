"""Whether inputs that lie close together have labels that agree: is there anything to learn?

A property of the data alone. Labels that were shuffled, or paired with the wrong inputs, agree as
often as chance has it, however well or badly the model does.
"""

from __future__ import annotations

import numpy as np

from deadband_monitor.statistics.groups import Groups
from deadband_monitor.statistics.labels import Labels, Targets, YesNo
from deadband_monitor.statistics.numbering import Numbering
from deadband_monitor.statistics.values import Doubles, Floats, Ints, Mask, Reals
from deadband_monitor.statistics.windows import evenly

_STORED = 512
"""Different rows that neighbours are looked for among."""
_FEATURES = 256
"""Features that distances are taken over; with more, evenly spaced ones."""
_COLUMNS = 64
"""Target columns that are compared, evenly spaced ones of wider targets."""
_FEWEST_ROWS = 256
"""Rows seen, repeated ones counted, before anything is said."""
_FEWEST_COMPARED = 64
"""Comparisons before anything is said."""
_FEWEST_DIFFERENT = 16
"""Different rows that neighbours can be looked for among at all."""
_MEMORY = 2048
"""Comparisons that the figure is an average of: older ones fade. The standard deviation of shuffled
labels is then 0.02 for two classes that are equally frequent."""
_WORK = 1 << 20
"""Multiplications a sample: 32 of 64 features, 8 of 256; about 0.1 ms."""
_MOST_DEVIATIONS = 3.0
"""Features and targets are cut here: one that is nearly always 0 would outweigh all others."""
_NOT_APART = 1e-4
"""Squared distance, against the mean squared distance 2m of standardised rows, of a row and its own
copy: float32 leaves 1e-6, jitter of 1 % of a standard deviation 1e-4."""

_SELDOM = 4
"""Once the store and half the memory are full, every fourth sample is looked at."""
_STEEPEST = 1e30
"""Largest factor of a feature: float32 ends at 3e38."""

_FEW_CLASSES = 1 << 12
_CLASSES, _VALUES = "classes", "values"


class Neighbours:
    """The last different input rows of one model, and how well neighbours foretell labels."""

    def __init__(self) -> None:
        self._kind = ""
        self._forget(0, 0)

    def _forget(self, features: int, columns: int) -> None:
        self._raw: Floats = np.zeros((_STORED, features), dtype=np.float32)
        self._plain: Floats = np.zeros((_STORED, features), dtype=np.float32)
        """The rows standardised by `_centre` and `_scale`, which follow when half are new."""
        self._norms: Floats = np.zeros(_STORED, dtype=np.float32)
        self._targets: Doubles = np.zeros((_STORED, columns))
        self._keys: list[int | None] = [None] * _STORED
        self._place: dict[int, int] = {}
        self._next = 0
        self._seen = 0
        self._fresh = 0
        self._due = 0
        """Rows stored so far, and at how many of them all are standardised anew."""
        self._centre: Floats = np.zeros(features, dtype=np.float32)
        self._scale: Floats = np.zeros(features, dtype=np.float32)
        self._turn = 0
        self._last = np.nan
        self._first = 0
        """Rotates over the rows of a batch, of which only some are compared."""
        self._compared = 0.0
        self.numbering = Numbering()
        self.groups = Groups()
        self._sums = np.zeros(3)
        """Faded sums: agreed, compared; or own x other, own^2, other^2."""

    def observe(self, rows: Reals, keys: list[int], found: Labels | YesNo | Targets) -> float:
        """Take one sample; rows: (n, m) finite, keys: a hash of each row.

        Returns the agreement as it stands, NaN while too little is known: (share of neighbours
        with the same label - chance) / (1 - chance), or the correlation of neighbours' targets.
        """
        kind, targets, labelled = _comparable(found)
        if len(targets) != np.count_nonzero(labelled) or len(labelled) != len(rows):
            return np.nan
        rows = rows[:, evenly(rows.shape[1], _FEATURES)]
        shape = (rows.shape[1], targets.shape[1])
        if (kind, shape) != (self._kind, (self._raw.shape[1], self._targets.shape[1])):
            self._kind = kind
            self._forget(*shape)
        self._turn += 1
        settled = len(self._place) == _STORED and self._compared >= _MEMORY / 2
        if settled and self._turn % _SELDOM:
            return self._last
        rows = rows.astype(np.float32)
        if not labelled.all():
            rows = rows[labelled]
            keys = [key for key, known in zip(keys, labelled.tolist(), strict=True) if known]
        if self._seen + len(rows) >= _FEWEST_ROWS and len(self._place) >= _FEWEST_DIFFERENT:
            self._compare(rows, keys, targets)
        self._store(rows, keys, targets)
        self._last = self._agreement()
        return self._last

    def _compare(self, rows: Floats, keys: list[int], targets: Doubles) -> None:
        stored = len(self._place)
        if self._fresh >= self._due:
            self._standardise()
            self._due = self._fresh + stored
        many = max(1, min(len(rows), _WORK // (_STORED * max(rows.shape[1], 1))))
        chosen = (self._first + np.arange(many)) % len(rows)
        self._first += many
        own = self._standard(rows[chosen])
        square: Floats = own @ self._plain[:stored].T
        square *= -2.0
        square += self._norms[:stored]
        square += np.einsum("nm,nm->n", own, own)[:, None]
        np.putmask(square, square <= _NOT_APART * 2.0 * max(rows.shape[1], 1), np.inf)
        places = np.array([self._place.get(keys[row], -1) for row in chosen.tolist()])
        there = np.flatnonzero(places >= 0)
        square[there, places[there]] = np.inf
        if self._turn % _SELDOM == 0:
            self.groups.observe(rows[chosen], places, self._raw[:stored])
        nearest = square.argmin(axis=1)
        apart = np.isfinite(square[np.arange(many), nearest])
        mine, theirs = targets[chosen][apart], self._targets[nearest[apart]]
        fade = max(0.0, 1.0 - len(mine) / _MEMORY)
        self._compared = self._compared * fade + len(mine)
        self._sums *= fade
        if self._kind == _CLASSES:
            self._sums[0] += np.count_nonzero(mine == theirs)
            return
        known = self._targets[:stored]
        if known.shape[1] == 1:
            self.numbering.observe(square, targets[chosen, 0], known[:, 0])
        spread = known.std(axis=0)
        varied = spread > 0
        centre, spread = known.mean(axis=0)[varied], spread[varied]
        mine = _within((mine[:, varied] - centre) / spread)
        theirs = _within((theirs[:, varied] - centre) / spread)
        self._sums += ((mine * theirs).sum(), (mine * mine).sum(), (theirs * theirs).sum())

    def _agreement(self) -> float:
        if self._compared < _FEWEST_COMPARED:
            return np.nan
        if self._kind == _CLASSES:
            labels = self._targets[: len(self._place), 0]
            counts = _counts(labels) / len(labels)
            chance = float((counts * counts).sum())
            if chance >= 1.0:
                return np.nan
            return (float(self._sums[0]) / self._compared - chance) / (1.0 - chance)
        size = float(np.sqrt(self._sums[1] * self._sums[2]))
        return float(self._sums[0]) / size if size > 0 else np.nan

    def _store(self, rows: Floats, keys: list[int], targets: Doubles) -> None:
        self._seen += len(rows)
        places: list[int] = []
        taken: list[int] = []
        sources: list[int] = []
        for source, key in enumerate(keys):
            place = self._place.get(key)
            if place is None:
                place, self._next = self._next, (self._next + 1) % _STORED
                old = self._keys[place]
                if old is not None:
                    del self._place[old]
                self._keys[place] = key
                self._place[key] = place
                taken.append(place)
                sources.append(source)
            places.append(place)
        self._targets[places] = targets  # of a row that is there twice the last one stays
        if taken:
            fresh = rows[sources]
            self._raw[taken] = fresh
            plain = self._standard(fresh)
            self._plain[taken] = plain
            self._norms[taken] = np.einsum("nm,nm->n", plain, plain)
            self._fresh += len(taken)

    def _standard(self, rows: Floats) -> Floats:
        plain = (rows - self._centre) * self._scale
        return np.clip(plain, -_MOST_DEVIATIONS, _MOST_DEVIATIONS, out=plain)

    def _standardise(self) -> None:
        stored = self._raw[: len(self._place)].astype(np.float64)
        spread = stored.std(axis=0)
        self._centre = stored.mean(axis=0).astype(np.float32)
        scale = np.divide(1.0, spread, out=np.zeros_like(spread), where=spread > 0)
        self._scale = np.minimum(scale, _STEEPEST).astype(np.float32)
        plain = self._standard(self._raw)
        self._plain, self._norms = plain, np.einsum("nm,nm->n", plain, plain)


def _counts(labels: Doubles) -> Ints:
    """How many there are of each class that there is."""
    if labels.max() < _FEW_CLASSES:  # counting in place of sorting
        counts = np.bincount(labels.astype(np.int64))
        return np.asarray(counts[counts > 0])
    return np.asarray(np.unique(labels, return_counts=True)[1])


def _within(standard: Doubles) -> Doubles:
    return np.clip(standard, -_MOST_DEVIATIONS, _MOST_DEVIATIONS)


def _comparable(found: Labels | YesNo | Targets) -> tuple[str, Doubles, Mask]:
    """Whether labels are classes or values; those of the rows that have one, (m, c); which do."""
    if isinstance(found, Labels):
        return _CLASSES, found.classes[:, None].astype(np.float64), found.rows
    everywhere = np.ones(len(found.values), dtype=np.bool_)
    columns = found.values[:, evenly(found.values.shape[1], _COLUMNS)]
    if isinstance(found, YesNo) and columns.shape[1] == 1:
        return _CLASSES, (columns > 0.5).astype(np.float64), everywhere
    return _VALUES, columns, everywhere
