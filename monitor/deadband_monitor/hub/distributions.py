"""Outlines of all tensors now and then, and of the one that somebody looks at in every sample.

All are taken at most once a second of the run and for a hundredth of the hub's time; the layer that
a viewer has open is taken whole, at each sample, for as long as it is asked for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from time import thread_time

import numpy as np

from deadband.wire import (
    AskDistributions,
    AskHistogram,
    Closeup,
    CloseWish,
    Distributions,
    Histogram,
    Plan,
    Slot,
    What,
)
from deadband_monitor.record.format import OutlineRow
from deadband_monitor.state.course import MOST, Course, superfluous
from deadband_monitor.statistics.outlines import (
    PACKED_BYTES,
    WIDTH,
    histogram,
    is_taken,
    outlines,
    packed,
    picked,
)
from deadband_monitor.statistics.values import Floats, RawFrame

SHOWN = (What.ACTIVATION, What.WEIGHT, What.WEIGHT_GRAD, What.ACTIVATION_GRAD)
"""Tensors of a layer whose spread is followed."""
SLOWEST_S = 1.0
FASTEST_S = 0.05
FIRST_SHARE = 64.0
"""A run that is young is looked at oftener: so many times in its life so far."""
BUDGET = 0.01
"""Share of the hub's time, and ..."""
CREDIT_S = 0.2
"""... what the first looks may take beyond it: they are to come close together."""
AROUND_FLAG = 8
"""Outlines before a flag was raised, and as many after it, that are kept for good ..."""
MOST_KEPT = MOST // 3
"""... up to so many: the first flags of a run tell most."""
OPEN_S = 15.0
"""How long after the last question a tensor is taken at every sample."""
OPEN_TENSORS = 8
OPEN_OUTLINES = 256
CLOSELY_S = 0.9
"""A viewer asks once a second: as often a copy of nearly all of the tensor is wished for."""
POOLED = 8
"""Samples whose slices make one histogram."""
BLOCK_ROWS = 32
"""Slices at a time: 128 kB, of which the allocator makes no new pages."""

NO_END = 1 << 62

Subject = tuple[str, str, What]
"""Model, layer, tensor."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What the rows of outlines taken under one plan stand for."""

    id: int
    subjects: tuple[Subject, ...]
    slots: tuple[int, ...]
    place: dict[Subject, int]


@dataclass(slots=True, eq=False)
class Row:
    """Outlines of all tensors at one step."""

    number: int
    step: int
    layout: Layout
    body: bytes


@dataclass(slots=True, eq=False)
class Look:
    """A tensor that somebody looks at."""

    asked_at: float
    course: Course = field(default_factory=lambda: Course(OPEN_OUTLINES))
    slices: deque[tuple[int, Floats]] = field(default_factory=lambda: deque(maxlen=POOLED))
    """With their steps, the newest last."""
    asked_closely_at: float = -CLOSELY_S
    closeup: Histogram | None = None
    """Of the newest copy of nearly all of it."""

    def take(self, plan: Plan, number: int, frames: Sequence[RawFrame]) -> None:
        """All of the tensor in each of these frames."""
        for frame in frames:
            if _holds(frame, number):
                values = _slice(plan, number, frame).copy()
                step = frame.header.step
                self.slices.append((step, values))
                self.course.add(step, outlines(values[None], whole=True)[0])


class Spreads:
    """The outlines of one rank's tensors.

    Args:
        in_passing: outlines of all tensors are taken now and then, for the recording.
    """

    def __init__(self, *, in_passing: bool = True) -> None:
        self._in_passing = in_passing
        self.rows: list[Row] = []
        self.looks: dict[Subject, Look] = {}
        self.added: list[OutlineRow] = []
        """For the recording, and ..."""
        self.dropped: list[int] = []
        """... numbers of those to take out of it."""
        self._plan: Plan | None = None
        self._layout: Layout | None = None
        self._layouts: dict[tuple[Subject, ...], int] = {}
        self._kept: set[int] = set()
        self._owed = 0
        """Outlines after a flag that are still to be kept."""
        self._numbers = 0
        self._began = 0.0
        self._next = 0.0
        self._spent_s = 0.0

    def adopt(self, plan: Plan) -> None:
        """Read the frames that follow by this plan."""
        if plan is self._plan:
            return
        found: dict[Subject, int] = {}
        for number, slot in enumerate(plan.slots):
            if slot.what in SHOWN:
                layer = plan.layers[slot.index]
                found.setdefault((layer.model, layer.name, slot.what), number)
        subjects = tuple(found)
        ids = self._layouts.setdefault(subjects, len(self._layouts) + 1)
        place = {subject: at for at, subject in enumerate(subjects)}
        self._plan, self._layout = plan, Layout(ids, subjects, tuple(found.values()), place)

    def take(self, frames: Sequence[RawFrame], now: float) -> None:
        """Look at the frames of one batch; `now` is the hub's own even clock."""
        plan, layout = self._plan, self._layout
        if plan is None or layout is None:
            return
        frames = [frame for frame in frames if any(frame.header.present[1:])]
        if not frames:
            return
        for subject, look in list(self.looks.items()):
            if now - look.asked_at > OPEN_S:
                del self.looks[subject]
            elif subject in layout.place:
                look.take(plan, layout.slots[layout.place[subject]], frames)
        for frame in frames if layout.subjects and self._in_passing else ():
            self._add_if_due(plan, layout, frame)

    def keep(self) -> None:
        """A flag was raised: what was seen just before it and what is seen next stays."""
        for row in self.rows[-AROUND_FLAG:]:
            if len(self._kept) < MOST_KEPT:
                self._kept.add(row.step)
        self._owed = AROUND_FLAG

    def answer(self, ask: AskDistributions, now: float) -> Distributions:
        """What is known of a tensor; it is looked at more closely from now on."""
        subject = (ask.model, ask.layer, ask.what)
        look = self._open(subject, now)
        found: dict[int, bytes] = {}
        for row in self.rows:
            at = row.layout.place.get(subject)
            if at is not None and row.step > ask.since:
                found[row.step] = row.body[at * PACKED_BYTES : (at + 1) * PACKED_BYTES]
        newer = look.course.between(ask.since + 1, NO_END)
        found.update((step, packed(outline)) for step, outline in newer)
        steps = [step for step, outline in sorted(found.items()) if is_taken(outline)]
        slot = self._slot(subject)
        return Distributions(
            model=ask.model,
            layer=ask.layer,
            what=ask.what,
            steps=np.array(steps, np.int64).tobytes(),
            outlines=b"".join(found[step] for step in steps),
            kinds=self._kinds(ask.model, ask.layer),
            values=prod(slot.shape) if slot else 0,
            source=prod(slot.source) if slot else 0,
        )

    def histogram(self, ask: AskHistogram, now: float) -> Histogram:
        """The newest slices of a tensor together, in bins."""
        subject = (ask.model, ask.layer, ask.what)
        look = self._open(subject, now)
        slot = self._slot(subject)
        if look.closeup is not None:
            return look.closeup
        if not look.slices or slot is None:
            return Histogram(model=ask.model, layer=ask.layer, what=ask.what)
        made = histogram(np.concatenate([values for _, values in look.slices]), ask.bins)
        return Histogram(
            model=ask.model,
            layer=ask.layer,
            what=ask.what,
            first_step=look.slices[0][0],
            last_step=look.slices[-1][0],
            samples=len(look.slices),
            low=made.low,
            high=made.high,
            counts=made.counts.astype("<u4").tobytes(),
            broken=made.broken,
            values=prod(slot.shape),
            source=prod(slot.source),
        )

    def close_wish(self, ask: AskHistogram, now: float) -> CloseWish | None:
        """What to wish for, so that more than a slice is shown; None for nothing, or not yet."""
        subject = (ask.model, ask.layer, ask.what)
        look, slot = self.looks.get(subject), self._slot(subject)
        if look is None or slot is None or prod(slot.source) <= prod(slot.shape):
            return None
        if now - look.asked_closely_at < CLOSELY_S:
            return None
        look.asked_closely_at = now
        return CloseWish(model=ask.model, layer=ask.layer, what=ask.what)

    def take_closeup(self, closeup: Closeup) -> None:
        """Here is what was wished for."""
        look = self.looks.get((closeup.model, closeup.layer, closeup.what))
        values = np.frombuffer(closeup.values, "<f4")
        if look is None or not len(values):
            return
        made = histogram(values)
        look.closeup = Histogram(
            model=closeup.model,
            layer=closeup.layer,
            what=closeup.what,
            first_step=closeup.step,
            last_step=closeup.step,
            samples=1,
            low=made.low,
            high=made.high,
            counts=made.counts.astype("<u4").tobytes(),
            broken=made.broken,
            values=len(values),
            source=closeup.source,
        )

    def _add_if_due(self, plan: Plan, layout: Layout, frame: RawFrame) -> None:
        time = frame.header.time
        self._began = self._began or time
        age_s = time - self._began
        if time < self._next or self._spent_s > CREDIT_S + BUDGET * age_s:
            return
        start = thread_time()
        self._add(frame.header.step, time, layout, _all(plan, layout, frame))
        self._spent_s += thread_time() - start
        self._next = time + max(min(age_s / FIRST_SHARE, SLOWEST_S), FASTEST_S)

    def _open(self, subject: Subject, now: float) -> Look:
        look = self.looks.get(subject)
        if look is None:
            if len(self.looks) >= OPEN_TENSORS:
                del self.looks[min(self.looks, key=lambda it: self.looks[it].asked_at)]
            look = self.looks[subject] = Look(asked_at=now)
        look.asked_at = now
        return look

    def _slot(self, subject: Subject) -> Slot | None:
        if self._plan is None or self._layout is None or subject not in self._layout.place:
            return None
        return self._plan.slots[self._layout.slots[self._layout.place[subject]]]

    def _kinds(self, model: str, layer: str) -> tuple[What, ...]:
        places = self._layout.place if self._layout else {}
        return tuple(what for what in SHOWN if (model, layer, what) in places)

    def _add(self, step: int, time: float, layout: Layout, made: Floats) -> None:
        self._numbers += 1
        body = packed(made)
        self.rows.append(Row(self._numbers, step, layout, body))
        self.added.append(
            OutlineRow(
                number=self._numbers,
                step=step,
                time=time,
                layout=layout.id,
                subjects=layout.subjects,
                body=body,
            )
        )
        if self._owed and len(self._kept) < MOST_KEPT:
            self._owed -= 1
            self._kept.add(step)
        while len(self.rows) > MOST:
            gone = self.rows.pop(superfluous([row.step for row in self.rows], self._kept))
            self.dropped.append(gone.number)


def _all(plan: Plan, layout: Layout, frame: RawFrame) -> Floats:
    """Outlines of all tensors in one frame; NaN throughout where one is not there."""
    made = np.full((len(layout.slots), WIDTH), np.nan, np.float32)
    of_size: dict[int, list[int]] = {}
    for at, number in enumerate(layout.slots):
        if _holds(frame, number):
            of_size.setdefault(prod(plan.slots[number].shape), []).append(at)
    for size, places in of_size.items():
        few = picked(size)
        for start in range(0, len(places), BLOCK_ROWS):
            block = places[start : start + BLOCK_ROWS]
            slices = [_slice(plan, layout.slots[at], frame)[few] for at in block]
            made[block] = outlines(np.array(slices), whole=True)
    return made


def _holds(frame: RawFrame, number: int) -> bool:
    return number < len(frame.header.present) and bool(frame.header.present[number])


def _slice(plan: Plan, number: int, frame: RawFrame) -> Floats:
    slot = plan.slots[number]
    return frame.payload[slot.offset : slot.offset + prod(slot.shape)]
