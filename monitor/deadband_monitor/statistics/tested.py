"""Forwards that train nothing though the model is in training mode: a forgotten `model.eval()`.

Each of them moves the running means of batch normalisations by a share of the way to its batch's
means, so these are known from where the running means were before and after.
"""

from __future__ import annotations

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics.layout import Batch, gather, present
from deadband_monitor.statistics.table import Table

_SMALLEST_MOMENTUM = 1e-3
"""Below it, what float32 leaves of a step of the running mean is mostly rounding."""


class Tested:
    """The batch normalisations of one plan that were seen so."""

    def __init__(self, plan: Plan) -> None:
        slots: dict[int, dict[What, int]] = {}
        for number, slot in enumerate(plan.slots):
            if slot.what in _SHOWN:
                slots.setdefault(slot.index, {})[slot.what] = number
        options = [layer.options for layer in plan.layers]
        self._norms = [
            (layer, own, options[layer].get("momentum", 0.0))
            for layer, own in slots.items()
            if What.TESTED_MEAN in own
            and What.RUNNING_VAR in own
            and options[layer].get("momentum", 0.0) >= _SMALLEST_MOMENTUM
        ]

    def measure(self, frames: Batch, table: Table) -> None:
        """Fill `norm_test_shift`."""
        for layer, own, momentum in self._norms:
            here = {what: present(frames, (own[what],))[:, 0] for what in own}
            seen = here[What.TESTED_MEAN] & here[What.RUNNING_VAR]
            if not seen.any():
                continue
            held = {what: gather(frames, (own[what],)).astype(np.float64) for what in own}
            channels = min(each.shape[1] for each in held.values())
            before = held[What.TESTED_MEAN][:, :channels]
            after = np.full(before.shape, np.nan)
            for what in (What.RUNNING_MEAN, What.TESTED_NEXT):  # the nearer one is the later here
                if what in own:
                    after[here[what]] = held[what][here[what], :channels]
            way = (after - before) / momentum
            with np.errstate(all="ignore"):
                shift = np.median(way**2 / held[What.RUNNING_VAR][:, :channels], axis=1)
            told = seen & np.isfinite(shift) & (way != 0).any(axis=1)
            table.put("norm_test_shift", np.array([layer]), shift[:, None], told[:, None])


_SHOWN = frozenset({What.TESTED_MEAN, What.TESTED_NEXT, What.RUNNING_MEAN, What.RUNNING_VAR})
