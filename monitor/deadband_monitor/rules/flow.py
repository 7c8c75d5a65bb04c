"""Which weights stand still and which get no gradient: plumbing, followed layer by layer.

Whether a weight moved is read from two sources: its change over the sampled step, and its drift
from where it began, which tells of the steps between two samples too (with two optimisers that take
turns, every sampled step may be the other one's).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from deadband_monitor.metrics import LAYER_COLUMN, MODEL_COLUMN
from deadband_monitor.rules.layout import Layout, Mask
from deadband_monitor.state.series import Floats

if TYPE_CHECKING:
    from deadband_monitor.rules.base import Observation

Steps = NDArray[np.int64]

STUCK_SCALER = 0.95
"""Share of sampled steps that a GradScaler left out, from which it will not recover: it halves its
scale at each overflow, so a dozen skips at the start are all that a sound run needs."""
LASTING = 3
"""Samples in a row that make a habit: gradients may be left over once."""
KEPT = 0.5
"""Share of the old gradient found in the new one: 1 where nobody cleared it (less where the norm is
clipped), 0 or not there at all where somebody did."""

SETTLED = 0.01
"""Share of its highest value that a gradient had come down to before it was exactly zero: what is
cleared, or blocked, is so from one sample to the next; what comes to rest at an optimum is not."""

_UPDATE, _DRIFT, _RMS = (LAYER_COLUMN[n] for n in ("update_ratio", "weight_drift", "weight_rms"))
_HAS, _GRAD, _LEFT = (LAYER_COLUMN[n] for n in ("has_grad", "grad_rms", "grad_left"))
_RAN = LAYER_COLUMN["out_rms"]


class Flow:
    """For every row of the layer table: since when it stands still, or gets no gradient."""

    def __init__(self) -> None:
        self.trained: Mask = np.zeros(0, bool)
        """Weight matrices that ask for a gradient, whether or not an optimiser holds them."""
        self.still_since: Steps = np.zeros(0, np.int64)
        """Last step known before the weight stopped moving; -1 where it moves."""
        self.still_samples: Steps = np.zeros(0, np.int64)
        self.bare_since: Steps = np.zeros(0, np.int64)
        """First step of the row of samples in which the weight got no gradient; -1 otherwise."""
        self.zero_since: Steps = np.zeros(0, np.int64)
        """The same for a gradient that is there and exactly zero."""
        self.highest_grad: Floats = np.zeros(0, np.float32)
        self.last_grad: Floats = np.zeros(0, np.float32)
        """The newest gradient that was not zero."""
        self.kept_since: Steps = np.zeros(0, np.int64)
        """The same for a gradient in which the old one still lies, at a step that moved."""
        self.kept_samples: Steps = np.zeros(0, np.int64)
        self.piled_since: Steps = np.zeros(0, np.int64)
        """First step of the first stretch of `LASTING` samples with the old gradient; -1 before.
        Who clears once an epoch begins a new one each time."""
        self.piled_samples: Steps = np.zeros(0, np.int64)
        self.clear_samples: Steps = np.zeros(0, np.int64)
        """Samples since then with the old gradient, and without."""
        self.rests: Steps = np.zeros(0, np.int64)
        """Samples in which the weight had a gradient and was not moved: it may be accumulated."""
        self._drift: Floats = np.zeros(0, np.float32)
        self._rms: Floats = np.zeros(0, np.float32)
        self._last_step = 0
        self._stands = self._bare = self._zero = self._piles = True
        """Whether some row stands still, is bare, ...: most samples of most runs have none."""

    def adopt(self, layout: Layout, carry: Steps) -> None:
        """Rows change; what is known of a layer stays with its name."""
        self.trained = layout.matrix & np.array([x.trainable for x in layout.layers], bool)
        for name, new in (
            ("still_since", -1),
            ("still_samples", 0),
            ("bare_since", -1),
            ("zero_since", -1),
            ("highest_grad", math.nan),
            ("last_grad", math.nan),
            ("kept_since", -1),
            ("kept_samples", 0),
            ("piled_since", -1),
            ("piled_samples", 0),
            ("clear_samples", 0),
            ("rests", 0),
            ("_drift", math.nan),
            ("_rms", math.nan),
        ):
            old = getattr(self, name)
            moved = np.full(len(carry), new, old.dtype)
            moved[carry >= 0] = old[carry[carry >= 0]]
            setattr(self, name, moved)
        self._stands = self._bare = self._zero = self._piles = True

    def absorb(self, seen: Observation, layout: Layout) -> None:
        """Fold one sample in."""
        layers = seen.layers
        update, drift, rms = layers[:, _UPDATE], layers[:, _DRIFT], layers[:, _RMS]
        has, grad, left = layers[:, _HAS], layers[:, _GRAD], layers[:, _LEFT]
        moving = update > 0
        # In most samples every weight moves and has a gradient: then there is nothing to follow.
        if self._stands or np.count_nonzero(self.trained > moving):
            self._follow_still(seen, layout, moving)
        bare = has == 0
        if self._bare or np.count_nonzero(bare):
            ran = np.isfinite(layers[:, _RAN])
            holds = self.trained & ran & bare
            self._bare = _follow(self.bare_since, holds, np.isfinite(has), seen.step, self._bare)
        zero = grad == 0
        if self._zero or np.count_nonzero(zero):
            self._zero = _follow(
                self.zero_since,
                self.trained & ~bare & zero,
                np.isfinite(grad) | bare,
                seen.step,
                self._zero,
            )
        np.fmax(self.highest_grad, grad, out=self.highest_grad)
        np.copyto(self.last_grad, grad, where=grad > 0)
        # A step that does not move the weight may be one of several that are accumulated; with two
        # models, one's loss leaves gradients in the other, cleared before that one's own step.
        kept = left > KEPT
        if self._piles or np.count_nonzero(kept):
            self._follow_kept(seen, kept & moving, has)
        np.copyto(self._drift, drift, where=np.isfinite(drift))
        np.copyto(self._rms, rms, where=np.isfinite(rms))
        self._last_step = seen.step

    def _follow_still(self, seen: Observation, layout: Layout, moving: Mask) -> None:
        """Weights that did not move, where they are meant to."""
        update, drift, rms = (seen.layers[:, column] for column in (_UPDATE, _DRIFT, _RMS))
        has, grad = seen.layers[:, _HAS], seen.layers[:, _GRAD]
        drifted = np.isfinite(drift) & np.isfinite(self._drift) & (drift != self._drift)
        changed = np.isfinite(rms) & np.isfinite(self._rms) & (rms != self._rms)
        moved = moving | drifted | changed
        known = np.isfinite(update) | (np.isfinite(rms) & np.isfinite(self._rms))
        resting = self._resting(seen, layout)
        rests = known & ~moved & self.trained & ~resting
        if not (self._stands or np.count_nonzero(rests)):
            return
        _extend(self.still_since, rests, max(self._last_step, seen.step - 1))
        # What has no gradient waits for one, whatever the rate is meanwhile.
        ended = moved | (resting & (has != 0))
        self.still_since[ended & (known | resting)] = -1
        self.still_samples[rests] += 1
        self.still_samples[self.still_since < 0] = 0
        self.rests[rests & (has == 1) & (grad > 0)] += 1
        self._stands = bool((self.still_since >= 0).any())

    @property
    def stands(self) -> bool:
        """Some weight does not move."""
        return self._stands

    @property
    def piles(self) -> bool:
        """Some gradient holds that of the step before, or did."""
        return self._piles

    def _follow_kept(self, seen: Observation, kept: Mask, has: Floats) -> None:
        """Gradients that still hold those of the step before."""
        left, grad = seen.layers[:, _LEFT], seen.layers[:, _GRAD]
        # At the first sample nothing can be left over: it says nothing either way.
        told = (np.isfinite(left) | (has == 1)) & (self._last_step > 0)
        # Once it overflows, or is zero because the pile killed the units, what was seen stands.
        told &= np.isfinite(grad) & (grad > 0)
        _follow(self.kept_since, kept, told, seen.step, True)
        self.kept_samples[kept] += 1
        self.kept_samples[self.kept_since < 0] = 0
        began = (self.kept_samples >= LASTING) & (self.piled_since < 0)
        self.piled_since[began] = self.kept_since[began]
        self.piled_samples[kept & (self.piled_since >= 0)] += 1
        self.clear_samples[told & ~kept & (self.piled_since >= 0)] += 1
        self._piles = bool(((self.kept_since >= 0) | (self.piled_since >= 0)).any())

    def settled(self, rows: Steps) -> bool:
        """Whether the gradients of `rows` came to rest: they faded before they were zero."""
        return len(rows) > 0 and bool((self.last_grad < SETTLED * self.highest_grad)[rows].all())

    def rows(self, layout: Layout, index: int) -> Steps:
        """Rows of a model's trained matrices."""
        rows = layout.rows_of[index]
        return rows[self.trained[rows]]

    def _resting(self, seen: Observation, layout: Layout) -> Mask:
        """Rows that are not meant to move in this step: no rate, or a scaler that settles."""
        lr = seen.models[:, MODEL_COLUMN["lr"]]
        skipped = seen.models[:, MODEL_COLUMN["skipped"]]
        rest = (lr == 0) | ((skipped > 0) & ~(skipped >= STUCK_SCALER))
        if not np.count_nonzero(rest):
            return np.zeros(len(seen.layers), bool)
        return np.append(rest, False)[layout.model_of]


def _extend(since: Steps, holds: Mask, step: int) -> None:
    since[holds & (since < 0)] = step


def _follow(since: Steps, holds: Mask, known: Mask, step: int, some: bool) -> bool:
    """Begin a stretch where it holds, end it where it is known not to.

    some: whether there is a stretch; returns whether there is one now.
    """
    if not (some or np.count_nonzero(holds)):
        return False
    since[holds & (since < 0)] = step
    since[known & ~holds] = -1
    return bool((since >= 0).any())
