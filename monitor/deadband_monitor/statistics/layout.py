"""From a plan to batches: slots of one shape are gathered from many frames into one array.

A network has hundreds of layers but a handful of shapes; one numpy call for all slots of a shape
costs little more than one for a single slot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics.values import EMPTY, Floats, Ints, Mask, RawFrame

_BLOCK = 1 << 17
"""Elements handled at a time: half a MiB of float32 stays in a core's cache."""


@dataclass(frozen=True, slots=True)
class Group:
    """Slots of one kind and shape."""

    slots: tuple[int, ...]
    """Numbers of the slots in the plan."""
    subjects: Ints
    """(k,) index of the layer or model of each."""
    shape: tuple[int, ...]
    axes: str


@dataclass(frozen=True, slots=True)
class WeightGroup:
    """Weights of one shape, each with the slots that it has."""

    subjects: Ints
    shape: tuple[int, ...]
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
    return [
        Group(tuple(numbers), _subjects(plan, numbers), shape, axes)
        for (shape, axes, _), numbers in found.items()
    ]


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
        made.append(WeightGroup(np.array(list(layers)), shape, *zip(*layers.values(), strict=True)))
    return made


def present(plan: Plan, frames: Sequence[RawFrame], slots: Sequence[int]) -> Mask:
    """Which of `slots` each frame holds: (frames, k)."""
    flags = np.zeros((len(frames), len(plan.slots) + 1), dtype=np.bool_)
    for row, frame in zip(flags, frames, strict=True):
        given = np.frombuffer(frame.header.present, dtype=np.uint8)[: len(plan.slots)]
        row[: len(given)] = given
    return flags[:, list(slots)]  # EMPTY = -1 picks the last column, which is never set


def gather(plan: Plan, frames: Sequence[RawFrame], slots: Sequence[int]) -> Floats:
    """The slices of `slots` (all of one shape) from all frames: (frames * k, *shape), frame-major.

    Slots that are `EMPTY` come as zeros.
    """
    pairs = [(frame, slot) for frame in frames for slot in slots]
    shape = next((plan.slots[slot].shape for slot in slots if slot != EMPTY), (0,))
    return _filled(plan, pairs, shape)


def blocks(plan: Plan, frames: Sequence[RawFrame], group: Group) -> Iterator[tuple[slice, Floats]]:
    """`gather` in pieces that fit a cache: (part of the frame-major items, slices)."""
    pairs = [(frame, slot) for frame in frames for slot in group.slots]
    size = max(1, int(np.prod(group.shape)))
    at_once = max(1, _BLOCK // size)
    for start in range(0, len(pairs), at_once):
        part = slice(start, min(start + at_once, len(pairs)))
        yield part, _filled(plan, pairs[part], group.shape)


def _filled(plan: Plan, pairs: Sequence[tuple[RawFrame, int]], shape: tuple[int, ...]) -> Floats:
    size = int(np.prod(shape))
    taken = np.empty((len(pairs), size), dtype=np.float32)
    slots = plan.slots
    for place, (frame, number) in enumerate(pairs):
        if number == EMPTY:
            taken[place] = 0
        else:
            offset = slots[number].offset
            taken[place] = frame.payload[offset : offset + size]
    return taken.reshape(len(pairs), *shape)


def _subjects(plan: Plan, numbers: Sequence[int]) -> Ints:
    return np.array([plan.slots[number].index for number in numbers], dtype=np.int64)
