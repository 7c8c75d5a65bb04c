"""From a plan to batches: slots of one shape are gathered from many frames into one array.

A network has hundreds of layers but a handful of shapes; one numpy call for all slots of a shape
costs little more than one for a single slot.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics.values import EMPTY, Floats, Ints, Mask, RawFrame

_BLOCK = 1 << 16
"""Elements handled at a time: 256 KiB of float32 and what is made of it stay in a core's cache."""
_FEWEST_IN_PLACE = 8
"""Slices in a row that are worth a pass of their own, so that they need not be copied."""


Part = tuple[slice, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Slots of one kind and shape."""

    slots: tuple[int, ...]
    """Numbers of the slots in the plan."""
    subjects: Ints
    """(k,) index of the layer or model of each."""
    shape: tuple[int, ...]
    axes: str
    rows: slice | Ints
    """`subjects` as the quickest index."""


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """Weights of one shape, each with the slots that it has."""

    subjects: Ints
    shape: tuple[int, ...]
    rows: slice | Ints
    """`subjects` as the quickest index."""
    before: tuple[int, ...]
    """Slot numbers, `EMPTY` where the plan has none."""
    after: tuple[int, ...]
    grad: tuple[int, ...]
    left: tuple[int, ...]
    """Gradients that lay there before."""

    def part(self, which: slice) -> WeightGroup:
        """Some of the layers."""
        return WeightGroup(
            self.subjects[which],
            self.shape,
            as_rows(self.subjects[which]),
            self.before[which],
            self.after[which],
            self.grad[which],
            self.left[which],
        )


def groups(plan: Plan, what: What, *, by_activation: bool = False) -> list[Group]:
    """Slots of `what`, grouped by shape and axes, and if wanted by the layers' activation."""
    found: dict[tuple[tuple[int, ...], str, str], list[int]] = {}
    for number, slot in enumerate(plan.slots):
        if slot.what is what:
            activation = plan.layers[slot.index].activation if by_activation else ""
            found.setdefault((slot.shape, slot.axes, activation), []).append(number)
    made = []
    for (shape, axes, _), numbers in found.items():
        # Layers of a kind come at even distances, kinds in turn.
        numbers.sort(key=lambda number: plan.layers[plan.slots[number].index].kind)
        subjects = _subjects(plan, numbers)
        made.append(Group(tuple(numbers), subjects, shape, axes, as_rows(subjects)))
    return made


def weight_groups(plan: Plan) -> list[WeightGroup]:
    """Layers with a weight, grouped by the shape of its slice."""
    parts = (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD, What.GRAD_LEFT)
    found: dict[tuple[int, ...], dict[int, list[int]]] = {}
    for number, slot in enumerate(plan.slots):
        if slot.what in parts:
            of_shape = found.setdefault(slot.shape, {})
            numbers = of_shape.setdefault(slot.index, [EMPTY] * len(parts))
            numbers[parts.index(slot.what)] = number
    made = []
    for shape, layers in found.items():
        subjects = np.array(list(layers))
        slots = zip(*layers.values(), strict=True)
        made.append(WeightGroup(subjects, shape, as_rows(subjects), *slots))
    return made


class Batch(Sequence[RawFrame]):
    """Frames of one plan; what every statistic asks of them is worked out once."""

    def __init__(self, frames: Sequence[RawFrame], held: Mask, places: Places) -> None:
        self._frames = frames
        self.held = held
        """(frames, slots + 1) which slots a frame holds; the last column is never set."""
        self.places = places

    @classmethod
    def of(cls, places: Places, frames: Sequence[RawFrame]) -> Batch:
        """Frames of the plan whose places these are."""
        held = np.zeros((len(frames), places.count + 1), dtype=np.bool_)
        for row, frame in zip(held, frames, strict=True):
            given = np.frombuffer(frame.header.present, dtype=np.bool_)[: places.count]
            row[: len(given)] = given
        return cls(frames, held, places)

    def __len__(self) -> int:
        return len(self._frames)

    @overload
    def __getitem__(self, which: int) -> RawFrame: ...
    @overload
    def __getitem__(self, which: slice) -> Batch: ...
    def __getitem__(self, which: int | slice) -> RawFrame | Batch:
        if isinstance(which, slice):
            return Batch(self._frames[which], self.held[which], self.places)
        return self._frames[which]

    def __iter__(self) -> Iterator[RawFrame]:
        return iter(self._frames)


@dataclass(frozen=True, slots=True)
class _Run:
    """Slots that lie at even distances in a payload."""

    items: slice
    """Which of the slots asked for."""
    first: int
    """Byte at which the first one begins; below zero where the plan has none of them."""
    shape: tuple[int, ...]
    """(k, *slice)"""
    strides: tuple[int, ...]

    def slices(self, frame: RawFrame) -> Floats:
        """A view of them in a payload."""
        return np.ndarray(self.shape, np.float32, frame.payload, self.first, self.strides)


class Places:
    """Where the slots of one plan lie.

    Layers repeat, and so do the distances between their slots: those of a kind are a few runs, each
    of which numpy copies in one go.
    """

    def __init__(self, plan: Plan) -> None:
        self.count = len(plan.slots)
        self._slots = plan.slots
        self._known: dict[tuple[int, ...], tuple[Ints, list[_Run], tuple[int, ...]]] = {}

    def columns(self, slots: tuple[int, ...]) -> Ints:
        """The slots as an index."""
        return self._found(slots)[0]

    def copy(self, frames: Sequence[RawFrame], slots: tuple[int, ...], part: Part = ()) -> Floats:
        """The slices of all frames: (frames * k, *shape), frame-major.

        part: an index of which elements of a slice are wanted.
        """
        _, runs, shape = self._found(slots)
        if part:
            shape = np.empty(shape, np.bool_)[part].shape
        taken = np.empty((len(frames), len(slots), *shape), dtype=np.float32)
        for run in runs:
            into = taken[:, run.items]
            if run.first < 0:
                into[...] = 0
                continue
            for place, frame in enumerate(frames):
                slices = run.slices(frame)
                into[place] = slices[(slice(None), *part)] if part else slices
        return taken.reshape(len(frames) * len(slots), *shape)

    def look(self, frames: Sequence[RawFrame], slots: tuple[int, ...]) -> Floats:
        """`copy`, or the payload itself where the slices lie in it at even distances.

        Neither to be written to nor to be kept: payloads make room for those that follow.
        """
        if len(frames) == 1:
            _, runs, _ = self._found(slots)
            if len(runs) == 1 and runs[0].first >= 0:
                return runs[0].slices(frames[0])
        return self.copy(frames, slots)

    def stretches(self, slots: tuple[int, ...], at_once: int) -> Iterator[slice]:
        """All of the slots, at most so many at a time, the evenly spaced ones by themselves."""
        start = 0
        for run in self._found(slots)[1]:
            first, stop = run.items.start, run.items.stop
            if stop - first < _FEWEST_IN_PLACE or run.first < 0:
                continue
            for low, high in ((start, first), (first, stop)):
                yield from (
                    slice(place, min(place + at_once, high)) for place in range(low, high, at_once)
                )
            start = stop
        yield from (
            slice(place, min(place + at_once, len(slots)))
            for place in range(start, len(slots), at_once)
        )

    def _found(self, slots: tuple[int, ...]) -> tuple[Ints, list[_Run], tuple[int, ...]]:
        found = self._known.get(slots)
        if found is None:
            shape = next((self._slots[slot].shape for slot in slots if slot != EMPTY), (0,))
            starts = [-1 if slot == EMPTY else 4 * self._slots[slot].offset for slot in slots]
            runs = _runs(starts, shape)
            found = self._known[slots] = (np.array(slots, np.int64), runs, shape)
        return found


def _runs(starts: Sequence[int], shape: tuple[int, ...]) -> list[_Run]:
    within = np.empty(shape, np.float32).strides
    runs: list[_Run] = []
    first = 0
    while first < len(starts):
        step = starts[first + 1] - starts[first] if first + 1 < len(starts) else 0
        if starts[first] < 0 or starts[first] + step < 0:
            step = 0
        last = first + 1
        while last < len(starts) and starts[last] - starts[last - 1] == step:
            last += 1
        held = (last - first, *shape)
        runs.append(_Run(slice(first, last), starts[first], held, (step, *within)))
        first = last
    return runs


def present(batch: Batch, slots: tuple[int, ...]) -> Mask:
    """Which of `slots` each frame holds: (frames, k). `EMPTY` is held by none."""
    held: Mask = batch.held[:, batch.places.columns(slots)]  # -1 picks the last column
    return held


def gather(batch: Batch, slots: tuple[int, ...], part: Part = ()) -> Floats:
    """The slices of `slots` (all of one shape) from all frames: (frames * k, *shape), frame-major.

    Slots that are `EMPTY` come as zeros. part: an index of which elements of a slice are wanted.
    """
    return batch.places.copy(batch, slots, part)


def look(batch: Batch, slots: tuple[int, ...]) -> Floats:
    """`gather` for who neither writes to the slices nor keeps them: often without a copy."""
    return batch.places.look(batch, slots)


def blocks(batch: Batch, group: Group) -> Iterator[tuple[slice, Floats]]:
    """`look` in pieces that fit a cache: (part of the frame-major items, slices)."""
    count = len(group.slots)
    at_once = max(1, _BLOCK // max(1, math.prod(group.shape)))
    if at_once >= count:
        frames = at_once // count
        for start in range(0, len(batch), frames):
            part = batch[start : start + frames]
            yield slice(start * count, (start + len(part)) * count), look(part, group.slots)
        return
    stretches = list(batch.places.stretches(group.slots, at_once))
    for place in range(len(batch)):
        frame = batch[place : place + 1]
        for part_of in stretches:
            items = slice(place * count + part_of.start, place * count + part_of.stop)
            yield items, look(frame, group.slots[part_of])


def as_rows(subjects: Ints) -> slice | Ints:
    """The same rows as a slice where they lie at even distances: numpy is faster with one."""
    if not len(subjects):
        return subjects
    step = int(subjects[1] - subjects[0]) if len(subjects) > 1 else 1
    if step > 0 and bool((np.diff(subjects) == step).all()):
        return slice(int(subjects[0]), int(subjects[-1]) + 1, step)
    return subjects


def _subjects(plan: Plan, numbers: Sequence[int]) -> Ints:
    return np.array([plan.slots[number].index for number in numbers], dtype=np.int64)
