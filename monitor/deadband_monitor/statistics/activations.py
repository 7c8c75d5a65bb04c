"""Statistics of layers' outputs and of the gradients that reach them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics import arrange, likeness, saturation
from deadband_monitor.statistics.layout import Batch, Group, blocks, groups, present
from deadband_monitor.statistics.moments import (
    Spreading,
    joined,
    mean_square,
    nonfinite_where,
    spread,
)
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Doubles, Floats, Ints, Mask

_DEAD_WINDOW = 10
"""Samples that a unit must stay off to count as dead. One batch of 64 over-reports fivefold (18.8 %
against a true 4.1 % in a trained ReLU layer); ten agree with the whole data set."""

_ROWS_WINDOW = 32
"""With one row a step, rows of this many samples stand in for a batch. They stem from as many
states of the weights, so the spread is a little too large; it stays small for a constant one."""

_BYTES_ADDED = 8

_FEWEST_GATHERED = 8
"""Rows that must have come together before that spread is given."""


@dataclass(slots=True)
class ActivationMemory:
    """What must be remembered of layers from sample to sample, by (model, layer)."""

    alive: dict[tuple[str, str], Mask] = field(default_factory=dict)
    """Units that were on, (up to 9 samples, units)."""
    rows: dict[tuple[str, str], Floats] = field(default_factory=dict)
    """Single rows, (up to 31 samples, columns); only for steps of one row."""


class _Outputs:
    """Outputs of one shape and activation, and what is known of their layers ahead of frames."""

    def __init__(self, plan: Plan, group: Group) -> None:
        self.group = group
        layers = [plan.layers[index] for index in group.subjects]
        self.keys = [(layer.model, layer.name) for layer in layers]
        self.activation = layers[0].activation
        ends = [saturation.ends(layer) for layer in layers]
        self.ended = np.array([end is not None for end in ends])
        self.bounded = bool(self.ended.any())
        self.low = np.array([end.low if end else -np.inf for end in ends], dtype=np.float32)
        self.high = np.array([end.high if end else np.inf for end in ends], dtype=np.float32)
        # The p of `nup` are pixels.
        self.is_sequence = group.axes == "npu" and group.shape[1] > 1
        self.chooses = self.activation == "softmax" and not _cut(plan, group)


class Activations:
    """All activation slots of one plan."""

    def __init__(self, plan: Plan, memory: ActivationMemory) -> None:
        self._plan = plan
        self._memory = memory
        self._outputs = [
            _Outputs(plan, group) for group in groups(plan, What.ACTIVATION, by_activation=True)
        ]
        self._gradients = groups(plan, What.ACTIVATION_GRAD)

    def measure(self, frames: Batch, table: Table, judged: Mask) -> None:
        """Fill the activation columns of `table`.

        `judged` says for each frame whether its gradients count; a step that a GradScaler left out
        has infinite ones by design.
        """
        for own in self._outputs:
            self._measure_outputs(frames, own, table)
        for group in self._gradients:
            here = present(frames, group.slots)
            rms = np.full(here.size, np.nan)
            broken = np.zeros(here.size)
            for part, x in blocks(frames, group):
                square = mean_square(x)
                rms[part] = np.sqrt(square)
                broken[part] = nonfinite_where(np.isnan(square), x)
            here &= judged[:, None]
            table.put("out_grad_rms", group.rows, rms, here)
            table.worst_nonfinite(group.rows, broken, here)

    def _measure_outputs(self, frames: Batch, own: _Outputs, table: Table) -> None:
        group, activation = own.group, own.activation
        here = present(frames, group.slots)
        size = here.size
        names = (
            "out_variance", "out_rms", "participation", "zero_share", "saturation",
            "saturated_units", "cosine", "active_units", "token_similarity", "choice_entropy",
            "mean_slope",
        )  # fmt: skip
        seen = {name: np.full(size, np.nan) for name in names}
        means = np.full(size, np.nan)
        alive = []
        gathered = []
        spreading, cosines = Spreading(columns=True), likeness.Cosines()
        zeros = []
        slices = list(blocks(frames, group))
        for part, x in slices:
            rows = arrange.by_sample(x, group.axes)
            spreading.add(rows)
            cosines.add(rows)
            zeros.append(_zeros(x))
            if own.is_sequence:
                seen["token_similarity"][part] = likeness.token_similarity(x)
            if activation == "sigmoid":
                means[part] = x.reshape(len(x), -1).mean(axis=1, dtype=np.float64)
            if rows.shape[1] == 1:
                gathered.append(rows[:, 0])
            if activation in saturation.RELU_LIKE:
                alive.append(saturation.ever_positive(x, group.axes))
            if own.bounded:
                which = np.arange(part.start, part.stop) % len(own.keys)
                seen["saturation"][part], seen["saturated_units"][part] = saturation.saturation(
                    arrange.by_unit(x, group.axes), own.low[which], own.high[which]
                )
            elif activation == "softmax":
                units = arrange.by_unit(x, group.axes)
                seen["saturation"][part] = saturation.softmax_saturation(units)
                if own.chooses:
                    seen["choice_entropy"][part] = saturation.choice_entropy(units)
        found = spreading.spread()
        seen["out_variance"] = found.dependence
        seen["out_rms"] = np.sqrt(found.mean_square)
        seen["participation"] = found.participation
        seen["cosine"] = cosines.mean()
        seen["zero_share"] = joined(zeros) / max(1, math.prod(group.shape))
        seen["active_units"] = likeness.active_units(found.columns, group.shape, group.axes)
        broken = np.zeros(size)
        suspect = np.isnan(found.mean_square)
        for part, x in slices if suspect.any() else ():
            broken[part] = nonfinite_where(suspect[part], x)
        if own.bounded:
            ended = np.tile(own.ended, len(frames))
            seen["saturation"][~ended] = np.nan
            seen["saturated_units"][~ended] = np.nan
            seen["mean_slope"] = saturation.mean_slope(
                activation,
                means,
                seen["out_rms"] ** 2,
                seen["saturation"],
                seen["zero_share"],
            )
            seen["mean_slope"][~ended] = np.nan
        for name in ("zero_share", "saturation", "saturated_units", "mean_slope", "choice_entropy"):
            seen[name][broken > 0] = np.nan
        if gathered:
            self._spread_over_frames(own, np.concatenate(gathered), here, seen)
        for name, values in seen.items():
            table.put(name, group.rows, values, here)
        table.worst_nonfinite(group.rows, broken, here)
        if alive:
            dead = self._dead_units(own.keys, np.concatenate(alive), here)
            table.put("dead_units", group.rows, dead, here & (broken == 0).reshape(here.shape))

    def _dead_units(self, keys: list[tuple[str, str]], alive: Mask, here: Mask) -> Floats:
        """Share of units without a positive output in the last samples, (frames * k, u) -> same."""
        frames, count = here.shape
        by_frame = alive.reshape(frames, count, -1)
        pasts = [self._memory.alive.get(key) for key in keys]
        longest = _DEAD_WINDOW - 1
        if here.all() and all(
            past is not None and past.shape == (longest, by_frame.shape[2]) for past in pasts
        ):
            # Nearly always: every layer is there, and was.
            seen = np.concatenate([np.stack([p for p in pasts if p is not None], 1), by_frame])
            shares: Floats = _off(seen)[longest:].mean(axis=2).astype(np.float32)
            kept = seen[-longest:].swapaxes(0, 1).copy()
            self._memory.alive.update(zip(keys, kept, strict=True))
            return shares.reshape(-1)
        dead = np.full((frames, count), np.nan, dtype=np.float32)
        for column, (key, past) in enumerate(zip(keys, pasts, strict=True)):
            fresh = by_frame[here[:, column], column]
            if past is None or past.shape[1:] != fresh.shape[1:]:
                past = fresh[:0]
            seen = np.concatenate([past, fresh])
            dead[here[:, column], column] = _off(seen).mean(axis=1)[len(past) :]
            self._memory.alive[key] = seen[-longest:]
        return dead.reshape(-1)

    def _spread_over_frames(
        self, own: _Outputs, rows: Floats, here: Mask, seen: dict[str, Doubles]
    ) -> None:
        """Spread of single rows over the last samples, in place of that within a batch."""
        frames, count = here.shape
        by_frame = rows.reshape(frames, count, -1)
        group = own.group
        for column, key in enumerate(own.keys):
            past = self._memory.rows.get(key, by_frame[:0, column])
            if past.shape[1:] != by_frame.shape[2:]:
                past = by_frame[:0, column]
            for frame in np.flatnonzero(here[:, column]):
                past = np.concatenate([past[1 - _ROWS_WINDOW :], by_frame[frame, column][None]])
                if len(past) >= _FEWEST_GATHERED:
                    found = spread(past[None], columns=True)
                    item = frame * count + column
                    seen["out_variance"][item] = found.dependence[0]
                    seen["participation"][item] = found.participation[0]
                    seen["cosine"][item] = likeness.mean_cosine(past[None])[0]
                    seen["active_units"][item] = likeness.active_units(
                        found.columns, (len(past), *group.shape[1:]), group.axes
                    )[0]
            self._memory.rows[key] = past[1 - _ROWS_WINDOW :]


def _off(seen: Mask) -> Mask:
    """Which units were off for the whole window up to each sample, (samples, ...) -> same."""
    # The latest sample up to each at which the unit was on, long ago for never.
    steps = np.arange(len(seen)).reshape(-1, *[1] * (seen.ndim - 1))
    last = np.maximum.accumulate(np.where(seen, steps, -_DEAD_WINDOW), axis=0)
    off: Mask = steps - last >= _DEAD_WINDOW
    return off


def _zeros(x: Floats) -> Ints:
    """How many elements are exactly zero, (b, ...) -> (b,)."""
    zero = (x == 0).reshape(len(x), -1).view(np.uint8)
    size = zero.shape[1]
    if size and size % _BYTES_ADDED == 0:
        # Bytes are added fastest, where so few of them do not overflow.
        zero = np.add.reduce(zero.reshape(len(x), _BYTES_ADDED, -1), axis=1, dtype=np.uint8)
    return np.asarray(np.add.reduce(zero, axis=1, dtype=np.int64))


def _cut(plan: Plan, group: Group) -> bool:
    """Whether the slice leaves out units, among which the largest may be."""
    if "u" not in group.axes:
        return False
    sources = [plan.slots[number].source for number in group.slots]
    held = group.shape[group.axes.index("u")]
    return any(
        source[1 if group.axes == "nup" else -1] > held for source in sources if len(source) > 1
    )
