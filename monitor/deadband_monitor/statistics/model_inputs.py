"""Statistics of what a model is given."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from deadband.wire import What
from deadband_monitor.statistics import arrange, inputs
from deadband_monitor.statistics.gathered import GatheredRows
from deadband_monitor.statistics.given import CLASS_LOSSES
from deadband_monitor.statistics.layout import Batch
from deadband_monitor.statistics.moments import nonfinite_where, spread
from deadband_monitor.statistics.reader import ModelReader, is_integer
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Mask, Reals


@dataclass(slots=True)
class InputMemory:
    """What is remembered of one model's inputs from sample to sample."""

    single: GatheredRows = field(default_factory=GatheredRows)
    seen: inputs.SeenRows = field(default_factory=inputs.SeenRows)


@dataclass(frozen=True, slots=True)
class InputRows:
    """The inputs of some frames as rows that can be compared."""

    rows: Reals
    """(frames, n, m)"""
    keys: list[list[int]]
    """Of each frame, a hash of each row; empty where there are none to tell apart."""
    usable: Mask
    """Frames whose rows are there, finite, and measurements rather than ids."""


def measure_inputs(
    reader: ModelReader, memory: InputMemory, frames: Batch, table: Table
) -> InputRows | None:
    """Fill the `in_` columns; the rows come back for whoever compares them with labels."""
    taken = reader.take(frames, What.INPUT)
    if taken is None:
        return None
    here, flat, slot = taken.here, taken.flat, taken.slot
    x = arrange.by_sample(taken.shaped, slot.axes)
    partial = int(np.prod(slot.shape[1:])) < int(np.prod(slot.source[1:]))
    # A part of a sample that is blank (the corner of an image) says nothing about the whole.
    blank = partial & (x == x[:, :, :1]).all(axis=(1, 2)) if x.size else ~here
    told = here & ~blank
    keys = _measure_rows(reader, memory, x, told, table)
    if is_integer(slot):
        return InputRows(x, keys, np.zeros_like(told))
    found = spread(x, directions=False)
    broken = nonfinite_where(np.isnan(found.mean_square), flat)
    rho = found.dependence
    if x.shape[1] == 1:
        rho = memory.single.dependence(x, told & (broken == 0))
    spreads, top_shares = inputs.scales_of_frames(x, broken == 0)
    finite = told & (broken == 0)
    reader.put(table, "in_variance", rho, finite)
    reader.put(table, "in_rms", np.sqrt(found.mean_square), finite)
    reader.put(table, "in_max", inputs.largest_absolute(flat), finite)
    reader.put(table, "in_scale_spread", spreads, finite)
    reader.put(table, "in_top_share", top_shares, finite)
    reader.put_nonfinite(table, broken, here)
    return InputRows(x, keys, finite)


def _measure_rows(
    reader: ModelReader, memory: InputMemory, x: Reals, told: Mask, table: Table
) -> list[list[int]]:
    """What holds for measurements and ids alike: which rows and features repeat."""
    keys: list[list[int]] = [[] for _ in x]
    one_label = np.full(len(x), _is_labelled_by_row(reader) and _is_whole_batch(reader, x))
    # Places written as one 1 among zeros are ids too: a walk over nine of them has nine rows.
    one_hot = (np.count_nonzero(x, axis=2) <= 1).all(axis=1)
    shares = np.full((4, len(x)), np.nan)
    for frame in np.flatnonzero(told).tolist():
        keys[frame] = inputs.row_keys(x[frame])
        if x.shape[1] > 1:
            shares[0, frame] = inputs.duplicate_share(keys[frame])
        shares[1:, frame] = memory.seen.add(keys[frame])
    reader.put(table, "in_duplicates", shares[0], told)
    reader.put(table, "in_repeat", shares[1], told)
    reader.put(table, "in_distinct", shares[2], told)
    reader.put(table, "in_rows", shares[3], told)
    reader.put(table, "in_per_feature", shares[3] / max(1, x.shape[2]), told & one_label & ~one_hot)
    reader.put(table, "in_constant", inputs.constant_share(x), told)
    return keys


def _is_whole_batch(reader: ModelReader, x: Reals) -> bool:
    """Whether all rows were copied: where one batch holds all data, it is always the same ones."""
    source = reader.slot(What.INPUT)
    return source is None or not source.source or x.shape[1] >= source.source[0]


def _is_labelled_by_row(reader: ModelReader) -> bool:
    """Whether a row is one example: of measurements that can be weighed, labelled as a whole.

    Where it holds many labelled positions (a sentence, a series, an image of classes) it is many
    examples; of ids not any combination can be weighed. A loss written by hand shows no labels:
    there a flat row of output for each row is its answer, unless it is as wide as what was given.
    Several answers are those of one example where a first layer weighs all of the row for each.
    """
    source, target = reader.slot(What.INPUT), reader.model.loss_target
    if source is None or is_integer(source):
        return False
    given = source.source or source.shape
    if target and math.prod(target) == given[0]:
        return True
    output = reader.slot(What.OUTPUT)
    if output is None:
        return False
    answers = output.source or output.shape
    if len(answers) > 2 or answers[0] != given[0]:
        return False
    narrow = not target and math.prod(answers[1:]) < math.prod(given[1:])
    return narrow or reader.loss in CLASS_LOSSES or _is_weighed_as_a_whole(reader, given)


def _is_weighed_as_a_whole(reader: ModelReader, given: tuple[int, ...]) -> bool:
    own = (layer for layer in reader.plan.layers if layer.model == reader.model.name)
    first = next((layer for layer in own if layer.fan_in), None)
    if first is None or first.kind.lower() != "linear":
        return False
    return len(given) == 2 and first.fan_in == given[1]
