"""What viewers ask for beside the news: distributions, dense samples, notes. None of it waits.

What is asked costs the hub or training something, so all of it is bounded here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from deadband.wire import (
    AskDense,
    AskDistributions,
    AskHistogram,
    AskNote,
    CaptureWish,
    Distributions,
    Done,
    Event,
    FlagChange,
    Histogram,
    Note,
    Plan,
    Refusal,
)
from deadband_monitor.hub.distributions import Spreads
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.notes import note_step, note_text
from deadband_monitor.statistics.values import RawFrame

Demand = AskDistributions | AskHistogram | AskDense | AskNote
Answer = Distributions | Histogram | Done | Refusal

MOST_DENSE_STEPS = 10_000
"""Ten thousand frames of a large network are a GB of recording."""
MOST_NOTES = 1000
"""A note is for people; a program that writes one a step is stopped here."""

_log = logging.getLogger(__name__)


class Demands:
    """What is asked of one run.

    Args:
        chronicle: takes notes.
        wish: tells the training processes.
        running: whether there is still one that could do something.
    """

    def __init__(
        self,
        chronicle: Chronicle,
        wish: Callable[[CaptureWish], None],
        running: Callable[[], bool],
    ) -> None:
        self._chronicle = chronicle
        self._wish = wish
        self._running = running
        self._spreads = Spreads()
        self._deaf = False
        """Outlines failed once: the hub goes on without them."""
        self._notes = 0

    def look(
        self, plan: Plan | None, frames: Sequence[RawFrame], events: Sequence[Event], now: float
    ) -> None:
        """Frames of the rank that stands for the run were measured, and these events came of it."""
        if self._deaf or plan is None:
            return
        try:
            raised = [it.flag.raised_step for it in events if isinstance(it, FlagChange)]
            if frames and any(step >= frames[0].header.step for step in raised):
                self._spreads.keep()
            self._spreads.adopt(plan)
            self._spreads.take(frames, now)
        except Exception:
            self._deaf = True
            _log.exception("the spread of tensors is no longer followed")
        recorder = self._chronicle.recorder
        for row in self._spreads.added:
            recorder.add_outlines(row)
        for number in self._spreads.dropped:
            recorder.drop_outlines(number)
        self._spreads.added.clear()
        self._spreads.dropped.clear()

    def answer(self, demand: Demand, now: float) -> Answer:
        """Do it, or say why not."""
        if isinstance(demand, AskDistributions):
            return self._spreads.answer(demand, now)
        if isinstance(demand, AskHistogram):
            return self._spreads.histogram(demand, now)
        if isinstance(demand, AskDense):
            return self._sample_densely(demand.steps)
        return self._write_down(demand)

    def _sample_densely(self, steps: int) -> Done:
        if not self._running():
            return Done(said="the run has ended: there are no more steps", refused=True)
        if steps <= 0:
            self._wish(CaptureWish(credit_s=0.0, steps=-1))
            return Done(said="back to what the budget allows")
        granted = min(steps, MOST_DENSE_STEPS)
        self._wish(CaptureWish(credit_s=0.0, steps=granted))
        least = f", no more than {MOST_DENSE_STEPS:,} at once" if granted < steps else ""
        return Done(said=f"every step for the next {granted:,}{least}")

    def _write_down(self, note: AskNote) -> Done:
        text = note_text(note.text)
        if not text:
            return Done(said="an empty note is none", refused=True)
        self._notes += 1
        if self._notes > MOST_NOTES:
            return Done(said=f"this run has {MOST_NOTES} notes already", refused=True)
        step = note_step(note.step, self._chronicle.state.step)
        self._chronicle.add(Note(seq=0, step=step, time=time.time(), text=text))
        return Done(said=f"noted at step {step:,}")
