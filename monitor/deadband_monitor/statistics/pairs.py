"""What two models of a run say of each other: does a generator give as much variety as it is shown?

A generator is recognised by its output being as large as what the other model is given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deadband.wire import Slot, What
from deadband_monitor.statistics import arrange
from deadband_monitor.statistics.layout import Batch
from deadband_monitor.statistics.reader import ModelReader, is_integer
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Doubles, Reals

_FEWEST_ROWS = 8
"""Rows whose distances are worth a mean."""
_SAME = 0.99
"""Correlation of a model's outputs with the other's inputs above which the one is fed to the other,
as an encoder's are to its decoder: there is nothing to compare then."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A model and another that judges things of the size that it makes."""

    maker: ModelReader
    judge: ModelReader


def pairs(readers: Sequence[ModelReader]) -> list[Pair]:
    """At most one pair for each maker, and never both directions of two models.

    Where both fit, the maker is the one whose output is larger against its own input: a generator
    makes much of little, a discriminator little of much.
    """
    fitting = [
        (_growth(maker), Pair(maker, judge))
        for maker in readers
        for judge in readers
        if maker is not judge and _fits(maker, judge)
    ]
    chosen: list[Pair] = []
    for _, pair in sorted(fitting, key=lambda each: -each[0]):
        known = [(each.maker, each.judge) for each in chosen]
        if (pair.judge, pair.maker) not in known and pair.maker not in [each for each, _ in known]:
            chosen.append(pair)
    return chosen


def put_diversity(pair: Pair, frames: Batch, table: Table) -> None:
    """Mean distance between the maker's outputs over that between the judge's inputs."""
    made = pair.maker.take(frames, What.OUTPUT)
    shown = pair.judge.take(frames, What.INPUT)
    if made is None or shown is None:
        return
    outputs = arrange.by_sample(made.shaped, made.slot.axes)
    inputs = arrange.by_sample(shown.shaped, shown.slot.axes)
    here = made.here & shown.here
    for frame in np.flatnonzero(here).tolist():
        out, given = outputs[frame].astype(np.float64), inputs[frame].astype(np.float64)
        whole = np.isfinite(out).all() and np.isfinite(given).all()
        if not whole or min(len(out), len(given)) < _FEWEST_ROWS or _same(out, given):
            continue
        apart = _mean_distance(given)
        if apart > 0:
            pair.maker.put_one(table, "diversity", frame, _mean_distance(out) / apart)


def _fits(maker: ModelReader, judge: ModelReader) -> bool:
    made, shown = maker.slot(What.OUTPUT), judge.slot(What.INPUT)
    if made is None or shown is None or is_integer(shown) or is_integer(made):
        return False
    return _row_size(made) == _row_size(shown)


def _growth(maker: ModelReader) -> float:
    made, given = maker.slot(What.OUTPUT), maker.slot(What.INPUT)
    if made is None or given is None:
        return 0.0
    return _row_size(made) / max(_row_size(given), 1)


def _row_size(slot: Slot) -> int:
    return int(np.prod((slot.source or slot.shape)[1:], dtype=np.int64))


def _same(out: Reals, given: Reals) -> bool:
    if out.shape != given.shape:
        return False
    out, given = out - out.mean(axis=0), given - given.mean(axis=0)
    sizes = float(np.sqrt((out * out).sum()) * np.sqrt((given * given).sum()))
    return sizes > 0 and float((out * given).sum()) / sizes > _SAME


def _mean_distance(rows: Doubles) -> float:
    """Mean distance of two rows, per root of their columns: slices may be of unequal width."""
    rows = rows - rows[0]
    square = np.einsum("nm,nm->n", rows, rows)
    apart = square[:, None] + square - 2.0 * (rows @ rows.T)
    np.fill_diagonal(apart, 0.0)
    count = len(rows)
    mean = np.sqrt(np.maximum(apart, 0.0)).sum() / (count * (count - 1))
    return float(mean) / float(np.sqrt(rows.shape[1]))
