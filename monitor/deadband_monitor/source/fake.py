"""A source without sockets or files, for tests of screens and to try a picture out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import numpy as np

from deadband.wire import (
    AskDense,
    AskNote,
    Done,
    Event,
    Histogram,
    What,
)
from deadband_monitor.source.on_demand import Spread, Subject, beside
from deadband_monitor.source.scripted import STARTED
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.series import Floats
from deadband_monitor.statistics.outlines import histogram, outlines


class FakeSource:
    """Plays a script of events; `advance` or `refresh` (at `pace` samples a call) moves it on."""

    def __init__(
        self, script: Iterable[Event], *, name: str = "fake-run", pace: int = 0, link: str = "live"
    ) -> None:
        self.name = name
        self.state = RunState()
        self.pace = pace
        """Samples that each `refresh` plays by itself."""
        self.link_shown = link
        """What `link` says until the script has ended."""
        self.where = ""
        self.trouble = ""
        self.closed = False
        self.spread: Spread | None = None
        self.answers = 0
        self.said: deque[Done] = deque()
        self.demands: list[AskDense | AskNote] = []
        """What was asked for, oldest first."""
        self._script = iter(script)
        self._over = False
        self._changed = False

    @property
    def link(self) -> str:
        """`link_shown`, and `ended` once the script has played a last status."""
        status = self.state.status
        done = status is not None and status.status not in ("running", "silent")
        return "ended" if done else self.link_shown

    @property
    def last_heard(self) -> float:
        """Time of the newest status or sample played."""
        status, latest = self.state.status, self.state.latest
        return max(status.time if status else STARTED, latest.time if latest else STARTED)

    def advance(self, samples: int = 1) -> None:
        """Play events up to and including the next `samples` samples, and what follows each."""
        target = self.state.samples + samples
        while self.state.samples < target and not self._over:
            self._play_one()

    def finish(self) -> None:
        """Play the whole rest of the script."""
        while not self._over:
            self._play_one()

    def apply(self, event: Event) -> None:
        """Fold in one event of the caller's own; its `seq` must be the next."""
        self.state.apply(event)
        self._changed = True

    def refresh(self, wait_s: float) -> bool:
        """Play `pace` samples; True if anything was played since the last call. Never waits."""
        del wait_s
        self.advance(self.pace)
        changed, self._changed = self._changed, False
        return changed

    def look_at(self, subject: Subject | None, *, finely: bool = False, rank: int = -1) -> None:
        """Make up the spread of this tensor: a bell that narrows when the script collapses."""
        if subject is None:
            self.spread = None
            return
        if self.spread is None or self.spread.subject != subject:
            self.spread = beside(self.spread, subject)
            self.spread.asked_rank = self.spread.rank = rank
            self.answers += 1
        self.spread.kinds = (What.ACTIVATION, What.WEIGHT, What.WEIGHT_GRAD)
        onset = min((it.onset_step for it in self.state.flags.values()), default=self.state.step)
        course = self.spread.course
        for step in range(course.last_step + 1, self.state.step + 1):
            course.add(step, outlines(_values(subject[2], step - onset)[None])[0])
        if finely:
            self.spread.histogram = _histogram(subject, self.state.step, onset)

    def demand(self, demand: AskDense | AskNote) -> None:
        """Note it, and say that it is done."""
        self.demands.append(demand)
        self.said.append(Done(said="so be it"))
        self.answers += 1

    def close(self) -> None:
        """Remember that the owner let go."""
        self.closed = True

    def _play_one(self) -> None:
        event = next(self._script, None)
        if event is None:
            self._over = True
        else:
            self.apply(event)


def _values(what: What, since: int) -> Floats:
    noise = np.random.default_rng(list(What).index(what)).standard_normal(600)
    fall = min(max(since, 0) / 15.0, 1.0)
    scale = {What.WEIGHT: 0.08 * (1 + 5 * fall), What.WEIGHT_GRAD: 1e-3 * (1 - 0.99 * fall)}
    return (noise * scale.get(what, 1.0 - 0.95 * fall)).astype(np.float32)


def _histogram(subject: Subject, step: int, onset: int) -> Histogram:
    model, layer, what = subject
    made = histogram(_values(what, step - onset))
    return Histogram(
        model=model,
        layer=layer,
        what=what,
        first_step=step,
        last_step=step,
        samples=1,
        low=made.low,
        high=made.high,
        counts=made.counts.astype("<u4").tobytes(),
        values=600,
        source=4096,
    )
