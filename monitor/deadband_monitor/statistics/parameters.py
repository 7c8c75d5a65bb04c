"""All weight, gradient and bias slots of a plan, measured batch by batch of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics import weights
from deadband_monitor.statistics.layout import (
    WeightGroup,
    gather,
    groups,
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
from deadband_monitor.statistics.turns import Past, cosine, share_left, turn
from deadband_monitor.statistics.values import EMPTY, Doubles, Floats, Ints, Mask, RawFrame

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
    gradients: dict[tuple[str, str], Past] = field(default_factory=dict)
    """Of the last sample only; a layer that it did not show is forgotten."""
    changes: dict[tuple[str, str], Past] = field(default_factory=dict)


class Parameters:
    """All parameter slots of one plan."""

    def __init__(self, plan: Plan, memory: WeightMemory) -> None:
        self._plan = plan
        self._memory = memory
        named = {(layer.model, layer.name) for layer in plan.layers}
        for past in (memory.gradients, memory.changes):
            for key in past.keys() - named:
                del past[key]
        self._weights = [part for group in weight_groups(plan) for part in _portions(group)]
        self._biases = groups(plan, What.BIAS)
        single = _layers_that_see_one_row(plan)
        self._single_row = np.array([index in single for index in range(len(plan.layers))], bool)

    def measure(
        self, frames: Sequence[RawFrame], table: Table, stepped: Mask, judged: Mask
    ) -> None:
        """Fill the weight columns of `table`.

        `stepped`: frames whose optimiser step was carried out; `judged`: frames whose gradients
        count.
        """
        for group in self._weights:
            for start in range(0, len(frames), self._frames_at_once(group)):
                part = slice(start, start + self._frames_at_once(group))
                self._measure_weights(frames, part, group, table, stepped, judged)
        for biases in self._biases:
            here = present(self._plan, frames, biases.slots)
            bias = gather(self._plan, frames, biases.slots).reshape(here.size, -1)
            with np.errstate(all="ignore"):
                mean = bias.mean(axis=1, dtype=np.float64) if bias.shape[1] else bias.sum(axis=1)
            table.put(
                "bias_mean", biases.subjects, mean, here & np.isfinite(mean).reshape(here.shape)
            )

    @staticmethod
    def _frames_at_once(group: WeightGroup) -> int:
        size = len(group.subjects) * int(np.prod(group.shape))
        return max(1, _BLOCK // max(1, size))

    def _measure_weights(
        self,
        frames: Sequence[RawFrame],
        part: slice,
        group: WeightGroup,
        table: Table,
        stepped: Mask,
        judged: Mask,
    ) -> None:
        plan = self._plan
        frames = frames[part]
        whole = table.rows(part)
        has_before = present(plan, frames, group.before)
        has_after = present(plan, frames, group.after)
        has_grad = present(plan, frames, group.grad)
        before = _matrices(plan, frames, group.before, group.shape)
        after = _matrices(plan, frames, group.after, group.shape)
        grad = _matrices(plan, frames, group.grad, group.shape)
        # A frame without the weight after the step still shows the one before it.
        has_weight = has_after | has_before
        weight = after
        if not has_after.all():
            weight = np.where(has_after.reshape(-1)[:, None, None], after, before)

        layers = [plan.layers[index] for index in group.subjects]
        fan_in = np.array([layer.fan_in for layer in layers], dtype=np.float32)
        sources = [
            plan.slots[max(slots)].source
            for slots in zip(group.before, group.after, group.grad, group.left, strict=True)
        ]
        matrix = np.array(
            [
                weights.is_matrix(layer, group.shape, source)
                for layer, source in zip(layers, sources, strict=True)
            ]
        )
        looked_up = np.array([weights.is_embedding(layer) for layer in layers])
        fans = np.tile(fan_in, len(frames))
        weight_square, weight_variance = mean_and_variance(weight)
        before_square = mean_square(before)
        grad_square = mean_square(grad)

        put = whole.put
        put("weight_rms", group.subjects, np.sqrt(weight_square), has_weight)
        scaled = has_weight & (matrix & ~looked_up)
        put("weight_spread", group.subjects, weights.weight_spread(weight_variance, fans), scaled)
        alike = weights.twins(weight, zero_rows_count=True)
        put("duplicate_units", group.subjects, alike, has_weight & matrix)
        self._compare_with_first(
            group, whole, weight, weight_square, before, has_weight, has_before
        )

        judged = judged[part][:, None]
        put("grad_rms", group.subjects, np.sqrt(grad_square), has_grad & judged)
        same = weights.twins(grad, zero_rows_count=False)
        several = ~self._single_row[group.subjects]
        twin_rule = matrix & ~looked_up & several
        put("duplicate_grads", group.subjects, same, has_grad & judged & twin_rule)

        change, change_square = weights.changes(before, after)
        both = has_before & has_after & stepped[part][:, None] & matrix
        ratio = weights.update_ratio(change_square, before_square, fans)
        put("update_ratio", group.subjects, ratio, both & ~looked_up)
        if looked_up.any():
            touched = np.where(has_grad.reshape(-1)[:, None], grad.any(axis=2), change.any(axis=2))
            ratio = weights.update_ratio_of_rows(before, after, fans, touched)
            put("update_ratio", group.subjects, ratio, both & looked_up)
        if before[0].size >= _FEWEST_WEIGHTS:
            pull = -cosine(change, before, change_square, before_square)
            put("pull_to_zero", group.subjects, pull, both)

        steps = np.array([frame.header.step for frame in frames], dtype=np.int64)
        seen = has_grad & judged & matrix
        turned = self._turn(group, grad, grad_square, seen, steps, self._memory.gradients)
        put("grad_cosine", group.subjects, turned, seen)
        turned = self._turn(group, change, change_square, both, steps, self._memory.changes)
        put("update_cosine", group.subjects, turned, both)
        has_left = present(plan, frames, group.left) & has_grad & judged
        if has_left.any():
            left = _matrices(plan, frames, group.left, group.shape)
            put("grad_left", group.subjects, share_left(grad, left), has_left)

        broken = nonfinite_where(np.isnan(weight_square), weight)
        whole.worst_nonfinite(group.subjects, broken, has_weight)
        broken = nonfinite_where(np.isnan(grad_square), grad)
        whole.worst_nonfinite(group.subjects, broken, has_grad & judged)

    def _turn(
        self,
        group: WeightGroup,
        values: Floats,
        square: Doubles,
        known: Mask,
        steps: Ints,
        memory: dict[tuple[str, str], Past],
    ) -> Doubles:
        """Cosine with the step before, (frames, k); the last frame is remembered."""
        named = [self._plan.layers[subject] for subject in group.subjects]
        keys = [(layer.model, layer.name) for layer in named]
        turned = turn(values, square, known, steps, [memory.pop(key, None) for key in keys])
        last = len(values) - len(keys)
        for column, key in enumerate(keys):
            if known[-1, column]:
                item = last + column
                memory[key] = Past(int(steps[-1]), values[item].copy(), float(square[item]))
        return turned

    def _compare_with_first(
        self,
        group: WeightGroup,
        table: Table,
        weight: Floats,
        square: Doubles,
        before: Floats,
        has_weight: Mask,
        has_before: Mask,
    ) -> None:
        """Growth and drift against the first weights seen of each layer, under whatever plan."""
        frames, count = has_weight.shape
        first = np.full(weight.shape[1:], np.nan, dtype=np.float32)[None].repeat(count, axis=0)
        for column, subject in enumerate(group.subjects):
            layer = self._plan.layers[subject]
            key = (layer.model, layer.name)
            known = self._memory.first.get(key)
            if known is None or known.shape != weight.shape[1:]:
                seen = np.flatnonzero(has_before[:, column])
                if not len(seen):
                    continue
                known = before[seen[0] * count + column].copy()
                self._memory.first[key] = known
            first[column] = known
        first_square = np.tile(mean_square(first), frames)
        grown = weights.growth(square, first_square)
        by_frame = weight.reshape(frames, -1)
        whole = np.broadcast_to(first.reshape(1, -1), by_frame.shape)
        shape = (frames * count, -1)
        moved = mean_square_difference(weight.reshape(shape), whole.reshape(shape))
        moved = weights.drift(moved, first_square)
        table.put("weight_growth", group.subjects, grown, has_weight)
        table.put("weight_drift", group.subjects, moved, has_weight)


def _matrices(
    plan: Plan, frames: Sequence[RawFrame], slots: Sequence[int], shape: tuple[int, ...]
) -> Floats:
    """(frames * k, units, inputs); zeros where there is no slot."""
    items = len(frames) * len(slots)
    rows = shape[0] if shape else 1
    if all(slot == EMPTY for slot in slots):
        return np.zeros((items, rows, int(np.prod(shape[1:]))), dtype=np.float32)
    return gather(plan, frames, slots).reshape(items, rows, int(np.prod(shape[1:])))


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
