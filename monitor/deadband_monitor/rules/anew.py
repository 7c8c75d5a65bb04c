"""Were the weights drawn anew, or the first ones loaded, as between folds of a cross-validation?

Then what was learnt is gone by design, and what follows is another run. Weights that are drawn
twice have nothing in common but their scale. Training does not get there: what it adds to the first
weights does not take them away, and to hide them below a cosine of 0.15 they would grow six-fold.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.rules.layout import Layout
from deadband_monitor.state.series import Floats

if TYPE_CHECKING:
    from deadband_monitor.rules.base import Observation

_RMS = LAYER_COLUMN["weight_rms"]
_GROWTH, _DRIFT = (LAYER_COLUMN[name] for name in ("weight_growth", "weight_drift"))

ALIKE = 0.15
"""Cosine with the first weights that two draws stay under, in the middle of all layers: of vectors
of 64 numbers it scatters by 1/8, and trained for a hundred steps they keep 0.65 to 0.97."""
OUTLYING = 0.5
"""The same for the smallest layers, of which a few numbers are all that there is."""
WERE = 0.5
"""Share of the first weights that was still in them at the sample before."""
SCALE = 4.0
"""Times the first weights' size, up and down, that a new draw and the fifty steps after it stay
within; head layers grow to 1.3 to 2.6 times in those."""
MOVED, REWOUND = 0.1, 0.6
"""How far from the first weights they had come, and the share of it that is left after they were
loaded again; where half of them were then set to zero (Frankle and Carbin, arXiv:1803.03635) 0.51
was."""
FELL, AS_THEN = 0.95, 0.15
"""Share of how far they were that is left some dozens of steps after they were loaded again, and
how nearly they are as far as they had been at that age: within 0.04."""
AGES = 1.1
"""Ages at which it is kept how far they were lie so many times apart."""
BACK = 0.7
"""Share of the way from where the losses were to where the first draw began, from which they are
back there; the next draws share nothing with the first weights either, so the losses tell."""
LATELY, NEXT = 8, 4
"""Losses that show where they were, and where they are."""
LEARNT = 0.7
"""Share of the first loss below which something had been learnt that can be gone."""


class Anew:
    """The steps from which the weights were others."""

    def __init__(self) -> None:
        self.drawn = False
        """It was done once: then it is how this run is made."""
        self._layout: Layout | None = None
        self._last = -1
        """The last trained matrix: one number that tells most samples that nothing happened."""
        self._rows: NDArray[np.int64] = np.zeros(0, np.int64)
        self._aged: list[tuple[int, Floats]] = []
        """How far all matrices were from the first weights, and at what age."""
        self._began = 0
        self._losses: list[float] = []
        self._first: list[float] = []
        """The losses that a fresh draw begins with."""

    def begins_at(
        self, seen: Observation, losses: list[float], before: Floats, layout: Layout
    ) -> int | None:
        """Place among the new losses from which on they are those of new weights."""
        if layout is not self._layout:
            self._layout = layout
            self._rows = np.flatnonzero(layout.matrix & layout.learns)
            self._last = int(self._rows[-1]) if len(self._rows) else -1
            self._aged, self._began = [], self._began or seen.step
        if not self.drawn:
            self._note_age(seen)
        known, self._losses = self._losses, (self._losses + losses)[-LATELY:]
        if len(self._first) < NEXT:
            self._first += losses[: NEXT - len(self._first)]
            return None
        if self._last < 0 or len(before) != len(seen.layers) or not losses:
            return None
        if self.drawn:
            return self._back(known, losses)
        grown = seen.layers.item(self._last, _GROWTH)
        moved = seen.layers.item(self._last, _DRIFT)
        if 1 + grown * grown - moved * moved < 2 * OUTLYING * grown:
            changed = self._replaced(seen.layers, before)
        else:
            was = before.item(self._last, _DRIFT)
            changed = moved < REWOUND * was and self._rewound(seen.layers, before)
            if not changed and moved < FELL * was:
                return self._aged_anew(seen, before, known, losses)
        if not changed:
            return None
        place = self._back(known, losses)
        self.drawn = place is not None
        return place

    def _note_age(self, seen: Observation) -> None:
        age = seen.step - self._began + 1
        if not self._aged or age >= AGES * self._aged[-1][0]:
            self._aged.append((age, seen.layers[self._rows, _DRIFT]))

    def _aged_anew(
        self, seen: Observation, before: Floats, known: list[float], losses: list[float]
    ) -> int | None:
        """The same some dozens of steps later: all are as far as they had been at that age."""
        kept = self._losses
        place = self._back(known, losses)
        if place is None:
            return None
        age = seen.step - int(seen.loss_steps[place]) + 1
        then_age, then = min(self._aged, key=lambda aged: abs(aged[0] - age))
        now, was = seen.layers[self._rows, _DRIFT], before[self._rows, _DRIFT]
        told = np.isfinite(now) & np.isfinite(was) & np.isfinite(then) & (was > MOVED)
        alike = (np.abs(now - then) < AS_THEN * then) & (now < FELL * was)
        near = max(age, then_age) <= AGES * min(age, then_age)
        self.drawn = bool(near and np.count_nonzero(told) >= 2 and alike[told].all())
        if not self.drawn:
            self._losses = kept
            return None
        return place

    def _rewound(self, layers: Floats, before: Floats) -> bool:
        """Whether all matrices have come back towards the first weights at once."""
        now, was = layers[self._rows, _DRIFT], before[self._rows, _DRIFT]
        known = np.isfinite(now) & np.isfinite(was)
        back = (was > MOVED) & (now < REWOUND * was)
        return bool(np.count_nonzero(known) >= 2 and back[known].all())

    def _replaced(self, layers: Floats, before: Floats) -> bool:
        """Whether nothing is left of the first weights in any matrix, and had been until now."""
        now, was = layers[self._rows], before[self._rows]
        share, had, grown = left_of_first(now), left_of_first(was), now[:, _GROWTH]
        known = np.isfinite(share) & np.isfinite(had)
        if np.count_nonzero(known) < 2:
            return False
        alike = np.abs(share[known] / grown[known])
        size = grown[known]
        return bool(
            np.median(alike) < ALIKE
            and (alike < OUTLYING).all()
            and (had[known] > WERE).all()
            and ((size < SCALE) & (size > 1 / SCALE)).all()
        )

    def _back(self, known: list[float], losses: list[float]) -> int | None:
        """Where the losses are back at those of a fresh draw; None where they are not."""
        series = known + losses
        first = sorted(self._first)[len(self._first) // 2]
        for place in range(len(known), len(series)):
            lately = sorted(series[max(0, place - LATELY) : place])
            if not lately:
                continue
            level = lately[len(lately) // 2]
            ahead = sorted(series[place : place + NEXT])
            here = ahead[len(ahead) // 2]
            back = level + BACK * (first - level)
            if 0 < level < LEARNT * first and back < min(series[place], here) < first + back:
                self._losses = series[place:][-LATELY:]
                return place - len(known)
        return None


def left_of_first(layers: Floats) -> Floats:
    """What the weights hold of those that watching began with, from their growth and drift.

    Their projection: 1 at first. What training adds, be it noise, hardly takes anything of it away.
    """
    grown, moved = layers[:, _GROWTH], layers[:, _DRIFT]
    return np.asarray((1 + grown * grown - moved * moved) / 2, np.float32)


def as_first_seen(layers: Floats, fresh: NDArray[np.bool_]) -> Floats:
    """`layers` as the `fresh` ones among them were first seen.

    Where the weights were known before their growth is (they are shown by hand before each step, so
    that the second sample tells it), they had not grown yet.
    """
    late = fresh[:, _GROWTH] & ~fresh[:, _RMS] & np.isfinite(layers[:, _RMS])
    if not np.count_nonzero(late):
        return layers
    first = layers.copy()
    first[late, _GROWTH] = 1.0
    return first


__all__ = ["Anew", "as_first_seen"]
