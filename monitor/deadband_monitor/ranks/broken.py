"""Numbers that are not finite on some ranks first.

Data parallelism averages gradients, so one rank's NaN is every rank's a step later. Where it came
from is seen once: at the step at which the others' outputs and losses were still numbers.
"""

from __future__ import annotations

import numpy as np

from deadband.wire import What
from deadband_monitor.ranks.rounds import Divergence, Round, named
from deadband_monitor.ranks.vitals import SIGNALS
from deadband_monitor.statistics.values import Mask

ORDER = {What.INPUT: -1, What.ACTIVATION: 0, What.OUTPUT: 1 << 20}


class BrokenFirst:
    """Remembers who was first, until all are sound again."""

    def __init__(self) -> None:
        self._found: Divergence | None = None
        self._seen = False
        """Something was broken at the round before."""

    def judge(self, now: Round) -> Divergence | None:
        """The ranks that broke while others were sound."""
        signals = np.array([each.what in SIGNALS for each in now.subjects], np.bool_)
        ends = np.array([each.what in (What.INPUT, What.OUTPUT) for each in now.subjects], np.bool_)
        bad = now.here & ~np.isfinite(now.mean)
        # A mask of -inf inside the network is no harm, nor are classes that are ruled out by -inf
        # in its output: what counts is NaN that comes out, or a loss that is no number.
        undefined = bad[:, ends] & np.isnan(now.mean[:, ends])
        off = (undefined.any(axis=1) | (now.bad_loss_step > 0)) & now.told
        if not off.any():
            self._seen, self._found = False, None
            return None
        if not self._seen:
            self._found = self._first(now, off, bad & signals)
        self._seen = True
        return self._found

    def _first(self, now: Round, off: Mask, bad: Mask) -> Divergence | None:
        sound = now.told & ~off
        steps = np.where(now.bad_loss_step > 0, now.bad_loss_step, now.step)
        onset = int(steps[off].min())
        if not sound.any():  # by now all are; the losses tell who was first
            if (now.bad_loss_step[off] == 0).any() or (steps[off] == onset).all():
                return None
            off = off & (steps == onset)
            bad = bad & False
        rows = np.flatnonzero(off)
        ranks = tuple(now.ranks[row] for row in rows)
        columns = np.flatnonzero(bad[rows].any(axis=0)).tolist()
        columns.sort(key=lambda column: ORDER[now.subjects[column].what] + now.subjects[column].row)
        where, layer, model, blame = "its loss", "", "", 0.0
        if columns:
            subject = now.subjects[columns[0]]
            model, layer = subject.model, subject.layer
            blame = 0.9 if subject.what is What.INPUT else 0.0
            where = {What.INPUT: "its inputs", What.OUTPUT: "the output"}.get(
                subject.what, f"the output of {layer}"
            )
        fact = f"NaN or infinite on {named(ranks)} at step {onset}, first in {where}"
        return Divergence(
            reason="broken",
            ranks=ranks,
            severity="critical",
            onset_step=onset,
            message=f"{fact}, while the other ranks were finite: look at what that rank was fed"
            " there; averaged gradients carry it to all",
            model=model,
            layer=layer,
            evidence={"ranks_finite": float(len(now.ranks) - len(ranks))},
            blames_data=blame,
            facts=(fact,) if blame else (),
        )
