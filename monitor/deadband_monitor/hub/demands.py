"""What viewers ask for beside the news: distributions, dense samples, notes. None of it waits.

What is asked costs the hub or training something, so all of it is bounded here.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import msgspec

from deadband.wire import (
    AskDense,
    AskDistributions,
    AskHistogram,
    AskNote,
    CaptureWish,
    Closeup,
    Distributions,
    Done,
    Event,
    FlagChange,
    Histogram,
    Note,
    Plan,
    Refusal,
    ToClient,
)
from deadband_monitor.hub.clients import Client
from deadband_monitor.hub.crew import Crew
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
        crew: the training processes.
        tell: one of them something, by its identity.
        running: whether there is still one that could do something.
    """

    def __init__(
        self,
        chronicle: Chronicle,
        crew: Crew,
        tell: Callable[[bytes, ToClient], None],
        running: Callable[[], bool],
    ) -> None:
        self._chronicle = chronicle
        self._crew = crew
        self._tell = tell
        self._running = running
        self._spreads = Spreads()
        self._beside: dict[int, Spreads] = {}
        """Of other ranks whose tensors somebody looks at."""
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

    def look_beside(self, client: Client, frames: Sequence[RawFrame], now: float) -> None:
        """Frames of another rank were measured."""
        spreads = self._beside.get(client.hello.rank)
        if spreads is None or client.inbox.plan is None:
            return
        try:
            spreads.adopt(client.inbox.plan)
            spreads.take(frames, now)
        except Exception:
            spreads.looks.clear()
            _log.exception("the spread of tensors of rank %d is lost", client.hello.rank)
        if not spreads.looks:
            del self._beside[client.hello.rank]

    def take_closeup(self, client: Client, closeup: Closeup) -> None:
        """A tensor was copied nearly whole."""
        lead = client is self._crew.primary
        spreads = self._spreads if lead else self._beside.get(client.hello.rank)
        if spreads is not None:
            spreads.take_closeup(closeup)

    def answer(self, demand: Demand, now: float) -> Answer:
        """Do it, or say why not."""
        if isinstance(demand, AskDistributions):
            _, spreads, rank = self._of(demand.rank)
            return msgspec.structs.replace(spreads.answer(demand, now), rank=rank)
        if isinstance(demand, AskHistogram):
            client, spreads, rank = self._of(demand.rank)
            answer = msgspec.structs.replace(spreads.histogram(demand, now), rank=rank)
            wish = spreads.close_wish(demand, now)
            if client is not None and wish is not None:
                self._tell(client.identity, wish)
            return answer
        if isinstance(demand, AskDense):
            return self._sample_densely(demand.steps)
        return self._write_down(demand)

    def _of(self, rank: int) -> tuple[Client | None, Spreads, int]:
        """Who has that rank, and its spreads; of one without slices those of the run's first."""
        lead, client = self._crew.primary, self._crew.of_rank(rank)
        plan = client.inbox.plan if client is not None else None
        if client is None or client is lead or plan is None or not plan.slots:
            return lead, self._spreads, -1
        spreads = self._beside.get(rank)
        if spreads is None:
            spreads = self._beside[rank] = Spreads(in_passing=False)
            spreads.adopt(plan)
        return client, spreads, rank

    def _wish(self, wish: CaptureWish) -> None:
        for identity in self._crew.clients:
            self._tell(identity, wish)

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
