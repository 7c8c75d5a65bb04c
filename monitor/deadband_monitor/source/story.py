"""The state of a recorded run at one of its events, without the history of its layers.

What is left is small, so it is packed every few hundred events, by the hub or by whoever first
reads that far, and any step is near.
"""

from __future__ import annotations

import zlib
from contextlib import suppress

import numpy as np

from deadband_monitor.hub.sights import Ledger
from deadband_monitor.record.depths import DeepRecording
from deadband_monitor.record.gists import Spacing
from deadband_monitor.record.reader import UNFIT
from deadband_monitor.state.rank_state import reading_of
from deadband_monitor.state.run_state import GIST_LAYOUT, Elsewhere, RunState

NEAR_EVENTS = 64
"""Folding so many is sooner done than taking up a gist."""
KEPT_GISTS = 64
RECENT = 24
"""Samples read again behind a gist: the newest readings, and the rate of steps."""


class Story:
    """The run at event `reached`: `state`, and `ledger` of what came when."""

    def __init__(self, recording: DeepRecording) -> None:
        self.recording = recording
        self._gists: dict[int, bytes] = {}
        """Those that we have made."""
        self.state, self.reached = RunState(sight=Elsewhere()), 0
        self.ledger = Ledger()

    def go(self, seq: int) -> None:
        """Fold up to event `seq`; back means from the start, or from a gist.

        Raises:
            BadRecording: the recording is damaged there.
        """
        back = seq < self.reached
        if (back or seq - self.reached > NEAR_EVENTS) and not self._leap(seq, back=back) and back:
            self.state, self.reached, self.ledger = RunState(sight=Elsewhere()), 0, Ledger()
        spacing = Spacing()
        for event in self.recording.events(after=self.reached, upto=seq):
            try:
                self.state.apply(event)
            except UNFIT as error:
                raise self.recording.damaged(error) from error
            self.ledger.note(event, self.state)
            self.reached = event.seq
            if spacing.count(event):
                self._keep(event.seq)
        self.reached = seq

    def _keep(self, seq: int) -> None:
        """Make a gist here; when there are too many, every other one goes."""
        self._gists[seq] = zlib.compress(self.state.encoded(layers=False), 1)
        if len(self._gists) > KEPT_GISTS:
            for at in sorted(self._gists)[1::2]:
                del self._gists[at]

    def _leap(self, seq: int, *, back: bool) -> bool:
        """Take up the gist next before `seq`, where that is nearer than we are."""
        own = max((at for at in self._gists if at <= seq), default=0)
        near = max(own, self.recording.gist_before(seq, GIST_LAYOUT))
        if not near or (not back and near <= self.reached):
            return False
        gist = self._gists[near] if near == own else self.recording.gist(near)
        # A gist only saves time: one that cannot be read is left aside.
        with suppress(ValueError):
            state = RunState.unpack(gist, Elsewhere())
            self._recall(state, near)
            self.state, self.reached = state, near
            self.ledger = Ledger.taken_up(state)
            return True
        return False

    def _recall(self, state: RunState, seq: int) -> None:
        """The newest readings, which a gist leaves out."""
        table = state.table
        for sample in self.recording.newest_samples(seq, state.lead, RECENT):
            if table is None or sample.table != table.id:
                continue
            reading = reading_of(sample, table)
            if np.isfinite(reading.layers).any() or not len(reading.layers):
                state.recent.append(reading)
