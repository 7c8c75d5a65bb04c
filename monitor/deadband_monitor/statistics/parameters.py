"""All weight, gradient and bias slots of a plan, measured batch by batch of one shape."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics import weights
from deadband_monitor.statistics.layout import (
    Batch,
    WeightGroup,
    gather,
    groups,
    look,
    present,
    weight_groups,
)
from deadband_monitor.statistics.moments import (
    mean_and_variance,
    mean_square,
    mean_square_difference,
    nonfinite_where,
)
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.turns import Keys, Past, cosine, regrouped, share_left, turn
from deadband_monitor.statistics.values import EMPTY, Doubles, Floats, Ints, Mask

_BLOCK = 1 << 16
"""Weights handled at a time, elements."""

_FEWEST_WEIGHTS = 8
"""Below, a change of random direction often points at zero by chance: one weight alone does so in
half of all steps."""


@dataclass(slots=True)
class WeightMemory:
    """What is remembered of weights, by (model, layer)."""

    first: dict[tuple[str, str], Floats] = field(default_factory=dict)
    """The weights as they were when watching began."""
    gradients: dict[Keys, Past] = field(default_factory=dict)
    """Of the last sample only; a layer that it did not show is forgotten."""
    changes: dict[Keys, Past] = field(default_factory=dict)


class _Weights:
    """One group of weights, and what is known of its layers for as long as the plan holds."""

    def __init__(self, plan: Plan, group: WeightGroup, single_row: Mask) -> None:
        self.group = group
        layers = [plan.layers[subject] for subject in group.subjects]
        self.keys = tuple((layer.model, layer.name) for layer in layers)
        self.fan_in = np.array([layer.fan_in for layer in layers], dtype=np.float32)
        sources = [
            plan.slots[max(slots)].source
            for slots in zip(group.before, group.after, group.grad, group.left, strict=True)
        ]
        self.matrix = np.array(
            [
                weights.is_matrix(layer, group.shape, source)
                for layer, source in zip(layers, sources, strict=True)
            ]
        )
        self.looked_up = np.array([weights.is_embedding(layer) for layer in layers])
        self.several = ~single_row[group.subjects]
        rows = group.shape[0] if group.shape else 1
        self.first = np.full((len(layers), rows, math.prod(group.shape[1:])), np.nan, np.float32)
        """(k, units, inputs) the weights as they were first seen."""
        self.first_square = np.full(len(layers), np.nan)
        self.unseen = list(range(len(layers)))
        """Layers whose first weights are not known yet."""

    def matrices(self, frames: Batch, slots: tuple[int, ...]) -> Floats:
        """(frames * k, units, inputs), to be looked at only; zeros where there is no slot."""
        items = len(frames) * len(slots)
        if all(slot == EMPTY for slot in slots):
            return np.zeros((items, *self.first.shape[1:]), dtype=np.float32)
        return look(frames, slots).reshape(items, *self.first.shape[1:])


class Parameters:
    """All parameter slots of one plan."""

    def __init__(self, plan: Plan, memory: WeightMemory) -> None:
        self._plan = plan
        self._memory = memory
        single = _layers_that_see_one_row(plan)
        single_row = np.array([index in single for index in range(len(plan.layers))], bool)
        self._weights = [
            _Weights(plan, part, single_row)
            for group in weight_groups(plan)
            for part in _portions(group)
        ]
        self._biases = groups(plan, What.BIAS)
        shapes = {own.keys: own.first.shape for own in self._weights}
        memory.gradients = regrouped(memory.gradients, shapes)
        memory.changes = regrouped(memory.changes, shapes)

    def measure(self, frames: Batch, table: Table, stepped: Mask, judged: Mask) -> None:
        """Fill the weight columns of `table`.

        `stepped`: frames whose optimiser step was carried out; `judged`: frames whose gradients
        count.
        """
        for own in self._weights:
            at_once = max(1, _BLOCK // max(1, own.first.size))
            for start in range(0, len(frames), at_once):
                part = slice(start, start + at_once)
                self._measure_weights(frames, part, own, table, stepped, judged)
        for biases in self._biases:
            here = present(frames, biases.slots)
            bias = gather(frames, biases.slots).reshape(here.size, -1)
            with np.errstate(all="ignore"):
                mean = bias.mean(axis=1, dtype=np.float64) if bias.shape[1] else bias.sum(axis=1)
            table.put("bias_mean", biases.rows, mean, here & np.isfinite(mean).reshape(here.shape))

    def _measure_weights(
        self,
        frames: Batch,
        part: slice,
        own: _Weights,
        table: Table,
        stepped: Mask,
        judged: Mask,
    ) -> None:
        group, matrix, looked_up = own.group, own.matrix, own.looked_up
        frames = frames[part]
        whole = table.rows(part)
        has_before = present(frames, group.before)
        has_after = present(frames, group.after)
        has_grad = present(frames, group.grad)
        before = own.matrices(frames, group.before)
        after = own.matrices(frames, group.after)
        grad = own.matrices(frames, group.grad)
        # A frame without the weight after the step still shows the one before it.
        has_weight = has_after | has_before
        weight = after
        if not has_after.all():
            weight = np.where(has_after.reshape(-1)[:, None, None], after, before)

        fans = np.tile(own.fan_in, len(frames))
        weight_square, weight_variance = mean_and_variance(weight)
        before_square = mean_square(before)
        grad_square = mean_square(grad)

        put = whole.put
        put("weight_rms", group.rows, np.sqrt(weight_square), has_weight)
        scaled = has_weight & (matrix & ~looked_up)
        put("weight_spread", group.rows, weights.weight_spread(weight_variance, fans), scaled)
        alike = weights.twins(weight, zero_rows_count=True)
        put("duplicate_units", group.rows, alike, has_weight & matrix)
        self._compare_with_first(own, whole, weight, weight_square, before, has_weight, has_before)

        judged = judged[part][:, None]
        put("grad_rms", group.rows, np.sqrt(grad_square), has_grad & judged)
        same = weights.twins(grad, zero_rows_count=False)
        twin_rule = matrix & ~looked_up & own.several
        put("duplicate_grads", group.rows, same, has_grad & judged & twin_rule)

        change, change_square = weights.changes(before, after)
        both = has_before & has_after & stepped[part][:, None] & matrix
        ratio = weights.update_ratio(change_square, before_square, fans)
        put("update_ratio", group.rows, ratio, both & ~looked_up)
        if looked_up.any():
            touched = np.where(has_grad.reshape(-1)[:, None], grad.any(axis=2), change.any(axis=2))
            ratio = weights.update_ratio_of_rows(before, after, fans, touched)
            put("update_ratio", group.rows, ratio, both & looked_up)
        if before[0].size >= _FEWEST_WEIGHTS:
            pull = -cosine(change, before, change_square, before_square)
            put("pull_to_zero", group.rows, pull, both)

        steps = np.array([frame.header.step for frame in frames], dtype=np.int64)
        seen = has_grad & judged & matrix
        turned = _turn(own, grad, grad_square, seen, steps, self._memory.gradients)
        put("grad_cosine", group.rows, turned, seen)
        turned = _turn(own, change, change_square, both, steps, self._memory.changes)
        put("update_cosine", group.rows, turned, both)
        has_left = present(frames, group.left) & has_grad & judged
        if has_left.any():
            left = own.matrices(frames, group.left)
            put("grad_left", group.rows, share_left(grad, left), has_left)

        broken = nonfinite_where(np.isnan(weight_square), weight)
        whole.worst_nonfinite(group.rows, broken, has_weight)
        broken = nonfinite_where(np.isnan(grad_square), grad)
        whole.worst_nonfinite(group.rows, broken, has_grad & judged)

    def _compare_with_first(
        self,
        own: _Weights,
        table: Table,
        weight: Floats,
        square: Doubles,
        before: Floats,
        has_weight: Mask,
        has_before: Mask,
    ) -> None:
        """Growth and drift against the first weights seen of each layer, under whatever plan."""
        frames, count = has_weight.shape
        if own.unseen:
            for column in own.unseen:
                key = own.keys[column]
                known = self._memory.first.get(key)
                if known is None or known.shape != weight.shape[1:]:
                    seen = np.flatnonzero(has_before[:, column])
                    if not len(seen):
                        continue
                    known = before[seen[0] * count + column]
                own.first[column] = known
                self._memory.first[key] = own.first[column]
            own.unseen = [
                column
                for column in own.unseen
                if (known := self._memory.first.get(own.keys[column])) is None
                or known.shape != weight.shape[1:]
            ]
            own.first_square = mean_square(own.first)
        first_square = np.tile(own.first_square, frames)
        grown = weights.growth(square, first_square)
        moved = weights.drift(mean_square_difference(weight, own.first), first_square)
        table.put("weight_growth", own.group.rows, grown, has_weight)
        table.put("weight_drift", own.group.rows, moved, has_weight)


def _turn(
    own: _Weights,
    values: Floats,
    square: Doubles,
    known: Mask,
    steps: Ints,
    memory: dict[Keys, Past],
) -> Doubles:
    """Cosine with the step before, (frames, k); the last frame is remembered."""
    turned = turn(values, square, known, steps, memory.get(own.keys))
    last = len(values) - len(own.keys)
    kept = values[last:].copy()  # which may lie in a frame, or be a part of many
    memory[own.keys] = Past(int(steps[-1]), kept, square[last:], known[-1])
    return turned


def _portions(group: WeightGroup) -> list[WeightGroup]:
    """The group in pieces whose weights fit a cache for one frame."""
    at_once = max(1, _BLOCK // max(1, int(np.prod(group.shape))))
    return [
        group.part(slice(start, start + at_once))
        for start in range(0, len(group.subjects), at_once)
    ]


def _layers_that_see_one_row(plan: Plan) -> set[int]:
    """Layers whose output has a single row.

    Their weight gradient has rank one by construction: all its rows point the same way in a healthy
    net too.
    """
    single = set()
    for slot in plan.slots:
        if slot.what is What.ACTIVATION and "u" in slot.axes and slot.shape:
            rows = int(np.prod(slot.shape)) // max(1, slot.shape[slot.axes.index("u")])
            if rows <= 1:
                single.add(slot.index)
    return single
