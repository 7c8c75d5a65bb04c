"""Batch normalisation: what the batch was normalised by, against what evaluation will use.

A slice is a poor estimate of the batch: few rows, and of an image only its middle. The layer itself
knows better: its output is (input - mean) / sqrt(variance + eps) * weight + bias, so a line through
input and output gives the mean and variance of the whole batch, whatever the slice holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deadband.wire import Plan, Slot, What
from deadband_monitor.statistics import arrange
from deadband_monitor.statistics.layout import Batch, as_rows, gather, present
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import EMPTY, Doubles, Mask, Reals

_FEWEST_ELEMENTS = 8
"""Elements of a channel that its figures are taken from."""
_MOST_ROWS, _MOST_POSITIONS = 16, 4
"""Elements that the line goes through; it is exact, so more would not better it."""
_LINE = 0.999
"""Squared correlation of input and output from which the output is a line of the input. float32
leaves 1 - 1e-6 at an offset of a hundred standard deviations."""
_SMALLEST_WEIGHT = 1e-3
"""Below, a channel's output is its bias and says nothing of its input."""
_AT_ONCE = 1 << 14
"""Elements of their inputs that are looked at in one go, so that what is made of them stays in a
core's cache."""
_EPS = 1e-5
"""PyTorch's default."""


@dataclass(frozen=True, slots=True)
class Channels:
    """Figures of the channels of b batches, (b, channels)."""

    mean: Doubles
    variance: Doubles
    noise: Doubles
    """Variance of `mean` from batch to batch that chance alone gives."""


class _Alike:
    """Batch normalisations of one shape: their layers, and the slots of each kind."""

    def __init__(self, plan: Plan, members: Sequence[tuple[int, ...]]) -> None:
        subjects, *columns = zip(*members, strict=True)
        self.rows = as_rows(np.array(subjects, dtype=np.int64))
        self.slots = dict(zip(_SHOWN, columns, strict=True))
        inputs = self.slots[What.LAYER_INPUT]
        own = list(zip(subjects, inputs, strict=True))
        self.values = np.array([_values(plan, layer, number) for layer, number in own])
        self.eps = np.array([plan.layers[layer].options.get("eps", _EPS) for layer in subjects])


class Norms:
    """The batch normalisations of one plan."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        slots: dict[int, dict[What, int]] = {}
        for number, slot in enumerate(plan.slots):
            if slot.what in _SHOWN:
                slots.setdefault(slot.index, {})[slot.what] = number
        kinds: dict[tuple[object, ...], list[tuple[int, ...]]] = {}
        for index, own in slots.items():
            if all(what in own for what in _NEEDED):
                numbers = tuple(own.get(what, EMPTY) for what in _SHOWN)
                shapes = tuple(_shape(plan, number) for number in numbers)
                axes = plan.slots[own[What.LAYER_INPUT]].axes
                kinds.setdefault((shapes, axes), []).append((index, *numbers))
        self._groups = [
            _Alike(plan, part) for group in kinds.values() for part in _portions(plan, group)
        ]

    def measure(self, frames: Batch, table: Table) -> None:
        """Fill `norm_shift`, `norm_ratio` and `norm_values`."""
        for group in self._groups:
            here = {what: present(frames, group.slots[what]) for what in _SHOWN}
            known = np.logical_and.reduce([here[what] for what in _NEEDED])
            if known.any():
                values = np.tile(group.values, (len(frames), 1))
                table.put("norm_values", group.rows, values, known)
                self._measure(frames, group, here, known, table)

    def _measure(
        self,
        frames: Batch,
        group: _Alike,
        here: dict[What, Mask],
        known: Mask,
        table: Table,
    ) -> None:
        plan, slots = self._plan, group.slots
        items = known.size
        slot = plan.slots[slots[What.LAYER_INPUT][0]]

        def taken(what: What) -> Doubles:
            return gather(frames, slots[what]).reshape(items, -1).astype(np.float64)

        center, scale = taken(What.RUNNING_MEAN), taken(What.RUNNING_VAR)
        few = _few(slot)
        samples, positions, channels = _sizes(slot)
        if samples * positions < _FEWEST_ELEMENTS or samples < 2:
            return
        eps = np.tile(group.eps, len(frames))[:, None]
        shape = (items, min(channels, center.shape[1], scale.shape[1]))
        told = Channels(*(np.full(shape, np.nan) for _ in range(3)))
        outputs = slots[What.ACTIVATION]
        if outputs[0] != EMPTY and _shape(plan, outputs[0]) == slot.shape:
            gain, offset = np.ones(shape), np.zeros(shape)
            sure = here[What.ACTIVATION].reshape(-1)
            for what, into in ((What.WEIGHT_BEFORE, gain), (What.BIAS, offset)):
                if slots[what][0] != EMPTY:
                    part = taken(what)[:, : shape[1]]
                    into[:, : part.shape[1]] = part
                    into[:, part.shape[1] :] = np.nan
                    sure = sure & here[what].reshape(-1)
            gain[~sure] = np.nan
            x, y = (
                _by_channel(gather(frames, numbers, few), slot.axes)
                for numbers in (slots[What.LAYER_INPUT], outputs)
            )
            told = of_batch(x, y, gain, offset, eps, samples=_samples(slot))
        unknown = np.isnan(told.mean).all(axis=1, keepdims=True)
        if unknown.any() and _is_whole(slot):
            x = gather(frames, slots[What.LAYER_INPUT])
            plain = of_slice(_by_channel(x, slot.axes)[..., : shape[1]])
            told = Channels(
                np.where(unknown, plain.mean, told.mean),
                np.where(unknown, plain.variance, told.variance),
                np.where(unknown, plain.noise, told.noise),
            )
        center, scale = center[:, : shape[1]], scale[:, : shape[1]] + eps
        away = np.maximum((told.mean - center) ** 2 - told.noise, 0.0) / scale
        table.put("norm_shift", group.rows, _median(away), known)
        table.put("norm_ratio", group.rows, _median((told.variance + eps) / scale), known)


def _values(plan: Plan, layer: int, number: int) -> float:
    """Values that a channel was normalised over, of the whole batch."""
    whole = float(np.prod(plan.slots[number].source or plan.slots[number].shape))
    return whole / max(1, plan.layers[layer].units)


_NEEDED = (What.LAYER_INPUT, What.RUNNING_MEAN, What.RUNNING_VAR)
_SHOWN = (*_NEEDED, What.ACTIVATION, What.WEIGHT_BEFORE, What.BIAS)


def of_slice(x: Reals) -> Channels:
    """Mean and variance of each channel over a slice, (b, n, p, channels).

    Positions of one sample are alike, so chance is judged by the means of samples.
    """
    wide = x.astype(np.float64)
    by_sample = wide.mean(axis=2)
    return Channels(
        by_sample.mean(axis=1),
        wide.var(axis=(1, 2)),
        by_sample.var(axis=1, ddof=1) / x.shape[1],
    )


def of_batch(
    x: Reals, y: Reals, gain: Doubles, offset: Doubles, eps: Doubles, *, samples: int
) -> Channels:
    """Mean and variance that a batch normalisation used, from its input and output.

    x, y: (b, n, p, channels); gain and offset: (b, channels) its weight and bias; eps: (b, 1). NaN
    where the output is no line of the input.
    """
    # Elements first: sums over them then go along whole rows of memory.
    wide, out = (
        np.array(each[..., : gain.shape[1]].transpose(1, 2, 0, 3), np.float64, order="C")
        for each in (x, y)
    )
    samples_held, positions = wide.shape[:2]
    by_sample = np.add.reduce(wide, axis=1) / positions
    middle = np.add.reduce(by_sample, axis=0) / samples_held
    out_middle = np.add.reduce(out, axis=(0, 1)) / (samples_held * positions)
    wide -= middle
    out -= out_middle
    product = np.add.reduce(wide * out, axis=(0, 1))
    square, out_square = (
        np.add.reduce(np.multiply(each, each, out=each), axis=(0, 1)) for each in (wide, out)
    )
    slope = product / square
    line = product**2 > _LINE * square * out_square
    line &= (np.abs(gain) > _SMALLEST_WEIGHT) & np.isfinite(slope)
    noise = by_sample.var(axis=0, ddof=1) / max(1, samples)
    figures = (middle - (out_middle - offset) / slope, (gain / slope) ** 2 - eps, noise)
    return Channels(*(np.where(line, figure, np.nan) for figure in figures))


def _few(slot: Slot) -> tuple[slice, ...]:
    """Which samples and positions of a slice are looked at."""
    part = [slice(None)] * len(slot.shape)
    if "n" in slot.axes:
        part[slot.axes.index("n")] = slice(_MOST_ROWS)
    if "p" in slot.axes:
        place = slot.axes.index("p")
        part[place] = slice(None, None, max(1, slot.shape[place] // _MOST_POSITIONS))
    return tuple(part)


def _portions(plan: Plan, group: list[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
    """The layers in as many as are measured together."""
    slot = plan.slots[group[0][1 + _SHOWN.index(What.LAYER_INPUT)]]
    size = np.empty(slot.shape, np.bool_)[_few(slot)].size
    at_once = max(1, _AT_ONCE // max(1, size))
    return [group[first : first + at_once] for first in range(0, len(group), at_once)]


def _sizes(slot: Slot) -> tuple[int, int, int]:
    """Samples, positions and channels of a slice."""
    held = dict(zip(slot.axes, slot.shape, strict=True))
    return held.get("n", 1), held.get("p", 1), held.get("u", 1)


def _by_channel(x: Reals, axes: str) -> Reals:
    """(b, *slice) -> (b, n samples, p positions, u channels)."""
    if axes == "nup":
        return x.swapaxes(2, 3)
    samples = x.shape[1 + axes.index("n")] if "n" in axes else 1
    rows = arrange.by_unit(x, axes)
    return rows.reshape(len(x), samples, rows.shape[1] // max(1, samples), rows.shape[2])


def _shape(plan: Plan, number: int) -> tuple[int, ...]:
    return () if number == EMPTY else plan.slots[number].shape


def _samples(slot: Slot) -> int:
    """Samples in the whole batch."""
    return slot.source[0] if slot.source else slot.shape[0]


def _is_whole(slot: Slot) -> bool:
    """Whether the slice shows all positions of its samples."""
    if "p" not in slot.axes or not slot.source:
        return True
    positions = slot.source[2:] if slot.axes == "nup" else slot.source[1:-1]
    return slot.shape[slot.axes.index("p")] >= int(np.prod(positions))


def _median(values: Doubles) -> Doubles:
    """Median over the channels that are known, (b, channels) -> (b,)."""
    median = np.full(len(values), np.nan)
    known = ~np.isnan(values)
    some = known.any(axis=1)
    if known.all():
        median = np.median(values, axis=1)
    elif some.any():
        median[some] = np.nanmedian(values[some], axis=1)
    return np.where(np.isfinite(median), median, np.nan)
