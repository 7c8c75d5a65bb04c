"""Statistics of a classifier's predictions, small batches joined with those before."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from deadband_monitor.statistics import outputs
from deadband_monitor.statistics.factors import LEAST_ENTROPY
from deadband_monitor.statistics.gathered import FEWEST_ROWS, MOST_ROWS, GatheredRows
from deadband_monitor.statistics.reader import ModelReader
from deadband_monitor.statistics.skill import Standing
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Doubles, Ints, Mask, Reals

# Information and predictions are read from `MOST_ROWS` rows at least: below 32 the information is
# biased low (1.94 nats at 16 rows of a true 2.29). Smaller batches are joined.


@dataclass(slots=True)
class PredictionMemory:
    """What is remembered of one model's predictions from sample to sample."""

    recent: GatheredRows = field(default_factory=GatheredRows)
    """Rows of probabilities."""


def measure_predictions(
    reader: ModelReader,
    memory: PredictionMemory,
    rows: Reals,
    here: Mask,
    standings: list[Standing],
    table: Table,
) -> None:
    """Fill the columns of predictions; rows: (frames, r, c) outputs, finite where `here`."""
    known = np.flatnonzero(here)
    if not len(known):
        return
    loss = reader.loss
    classes = 2 if loss in outputs.BINARY else max(2, rows.shape[2])
    p = outputs.probabilities(rows[known], loss)
    values = np.full((5, len(rows)), np.nan)
    if p.shape[1] >= MOST_ROWS:
        _fill(values, known, outputs.read(p, loss), standings)
    else:
        for frame, own in zip(known, p, strict=True):
            joined = memory.recent.add(own)
            if len(joined) >= FEWEST_ROWS:
                read = outputs.read(joined[None].astype(np.float64), loss)
                _fill(values, np.array([frame]), read, standings)
    label_entropies = np.array([each.label_entropy * each.to_tell for each in standings])
    most = np.where(np.isnan(label_entropies), np.log(classes), label_entropies)
    # With labels that are all the same there is no information to have.
    share = np.where(most > LEAST_ENTROPY, values[0] / np.maximum(most, LEAST_ENTROPY), np.nan)
    reader.put(table, "information", share, here)
    for metric, value in zip(
        ("top_share", "distinct_predictions", "prediction_entropy", "majority_predicted"),
        values[1:],
        strict=True,
    ):
        reader.put(table, metric, value, here)


def _fill(
    values: Doubles, frames: Ints, read: outputs.Predictions, standings: list[Standing]
) -> None:
    values[:4, frames] = read.information, read.top_share, read.distinct, read.entropy
    for frame, shares in zip(frames.tolist(), read.shares, strict=True):
        majority = standings[frame].majority
        if 0 <= majority < len(shares):
            values[4, frame] = shares[majority]
