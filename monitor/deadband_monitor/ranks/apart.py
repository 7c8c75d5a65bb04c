"""A rank that is fed something else: inputs, losses or activations far from the other ranks'.

Ranks see different data, so they differ by chance, and where data is sharded by kind they differ
for good. Called is what is both far beyond how a rank usually wavers against the others, and large
in itself. Only ranks that train one network are compared: see `Desync.replicas`.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from deadband.wire import What
from deadband_monitor.ranks.rounds import ENDED, Divergence, Round, named
from deadband_monitor.statistics.values import Doubles, Ints, Mask

FEWEST = 6
"""Rounds before anything is judged: how far ranks waver has to be seen."""
HISTORY = 64
ROUNDS_TO_OPEN = 4
"""Four in a row: a batch, or the odd few, may be anything."""
WAVERS = 6.0
"""Robust standard deviations; of 100,000 normal values none lies beyond five."""
SCALE_DECADES = 0.6
"""Inputs or activations four times as large or as small: no augmentation, and no usual shard of the
same data, does that."""
SHIFT = 1.0
"""The mean of the inputs moved by as much as their root mean square: from centred to one-sided."""
CONSTANT, VARIED = 0.02, 0.1
"""Inputs that are alike within a batch, where those of the other ranks are not."""
LOSS_SHARE, LOSS_FACTOR = 0.25, 2.0
"""A loss twice the others', and by more than a quarter of what training began with: of two domains
of one corpus the harder one rarely has half as much again."""
EASY = 0.25
"""A loss a quarter of the others': the same few rows again and again, or labels in the inputs."""
NORMAL = 1.4826
"""Standard deviation of normal values over their median absolute deviation."""
LAYERS_SHARE = 0.5
"""Of the layers, those that are apart in scale: a single one may be an expert without tokens."""
NAMES = ("inputs", "input_mean", "in_variance", "activations", "loss")
_INPUTS, _MEAN, _VARIED, _LAYERS, _LOSS = range(5)


@dataclass(frozen=True, slots=True)
class _Features:
    """Figures of one round, (ranks, NAMES)."""

    values: Doubles
    usual: Doubles
    """(ranks, NAMES) median of the other ranks."""


class Apart:
    """Follows how far each rank lies from the others."""

    def __init__(self) -> None:
        self._ranks: tuple[int, ...] = ()
        self._forget()

    def _forget(self) -> None:
        self._past: deque[Doubles] = deque(maxlen=HISTORY)
        self._values: deque[Doubles] = deque(maxlen=HISTORY)
        self._run = np.zeros((len(self._ranks), len(NAMES)), np.int64)
        self._onset = np.zeros((len(self._ranks), len(NAMES)), np.int64)
        self._first_loss = np.nan
        self._losses: list[float] = []

    def judge(self, now: Round, *, replicas: bool) -> Divergence | None:
        """Who is far from the others, and has been for a few rounds."""
        if now.ranks != self._ranks:
            self._ranks = now.ranks
            self._forget()
        if not replicas and not now.sharded:
            return None
        seen = _features(now, layers=replicas)
        self._note_loss(seen.values[:, _LOSS])
        gaps = seen.values - seen.usual
        far = self._far(seen, gaps)
        # What stands out does not set the scale that it is measured by.
        self._past.append(np.where(far, np.nan, gaps))
        self._onset[far & (self._run == 0)] = now.step
        self._run = np.where(far, self._run + 1, 0)
        ripe = self._run >= ROUNDS_TO_OPEN
        if not ripe.any():
            self._values.append(seen.values)
            return None
        began = np.where(ripe, self._onset, ENDED).min(axis=0)
        kind = int(began.argmin())
        rows = np.flatnonzero(ripe[:, kind])
        if 2 * len(rows) > len(now.ranks):
            rows = self._jumped(seen.values, rows, kind)
        return self._told(now, seen, rows, kind)

    def _note_loss(self, losses: Doubles) -> None:
        if len(self._losses) < 3 and np.isfinite(losses).any():
            self._losses.append(float(median(losses)))
            self._first_loss = sorted(self._losses)[len(self._losses) // 2]

    def _far(self, seen: _Features, gaps: Doubles) -> Mask:
        far = np.zeros(gaps.shape, np.bool_)
        if len(self._past) < FEWEST:
            return far
        past = np.stack(self._past)
        waver = NORMAL * median(median(np.abs(past - median(past))))
        large = np.abs(gaps) > WAVERS * waver
        values, usual = seen.values, seen.usual
        far[:, _INPUTS] = np.abs(gaps[:, _INPUTS]) > SCALE_DECADES
        far[:, _MEAN] = np.abs(gaps[:, _MEAN]) > SHIFT
        far[:, _VARIED] = (values[:, _VARIED] < CONSTANT) & (usual[:, _VARIED] > VARIED)
        far[:, _LAYERS] = values[:, _LAYERS] > LAYERS_SHARE
        loss, others = values[:, _LOSS], usual[:, _LOSS]
        begun = LOSS_SHARE * abs(self._first_loss)
        high = (loss > LOSS_FACTOR * others) & (loss - others > begun)
        low = (loss < EASY * others) & (others - loss > begun)
        far[:, _LOSS] = high | low
        far &= large
        return far

    def _jumped(self, values: Doubles, rows: Ints, kind: int) -> Ints:
        """Where half of the ranks are apart from the other half: who changed, seen by itself."""
        past = np.stack(self._values)[:, :, kind] if self._values else np.zeros((0, len(values)))
        if len(past) < FEWEST:
            return rows
        usual = median(past)
        wavers = NORMAL * median(np.abs(past - usual))
        jump = np.abs(values[:, kind] - usual)
        moved = np.array([row for row in rows if jump[row] > WAVERS * wavers[row]], np.int64)
        if not 0 < len(moved) < len(rows):
            largest = rows[np.argsort(jump[rows])]
            clear = jump[largest[-1]] > 4 * jump[largest[-2]]
            moved = largest[-1:] if clear else rows
        return moved

    def _told(self, now: Round, seen: _Features, rows: Ints, kind: int) -> Divergence:
        ranks = tuple(now.ranks[row] for row in rows)
        worst = max(rows, key=lambda row: abs(seen.values[row, kind] - seen.usual[row, kind]))
        value, usual = float(seen.values[worst, kind]), float(seen.usual[worst, kind])
        onset = int(self._onset[rows, kind].min())
        fact = f"{_compared(kind, value, usual)} since step {onset}"
        torn = len(ranks) > 1 and len(ranks) == len(now.ranks)
        message = f"{named(ranks)}: {fact}: look at the shard of that rank"
        if torn:
            message = (
                f"{named(ranks)} are fed different things: {_compared(kind, value, usual)} on rank"
                f" {now.ranks[worst]} since step {onset}; which is right these cannot say"
            )
        sure = 0.6 if torn else 0.75 if kind in (_LOSS, _LAYERS) else 0.9
        return Divergence(
            reason="apart",
            ranks=ranks,
            severity="warning",
            onset_step=onset,
            message=message,
            model=next((each.model for each in now.subjects), ""),
            evidence=_figures(kind, value, usual),
            blames_data=sure,
            facts=(f"{named(ranks)}: {fact}",),
        )


def median(values: Doubles) -> Doubles:
    """Along the first axis, of what is known; NaN where nothing is."""
    ordered = np.sort(values, axis=0)
    known = np.isfinite(ordered).sum(axis=0)
    middle = np.expand_dims(np.maximum(known - 1, 0) // 2, 0)
    picked: Doubles = np.take_along_axis(ordered, middle, 0)[0]
    return picked


def _features(now: Round, *, layers: bool) -> _Features:
    values = np.full((len(now.ranks), len(NAMES)), np.nan)
    usual = values.copy()
    decades = np.where(now.here & np.isfinite(now.power), now.power, np.nan)
    decades = 0.5 * np.log10(np.maximum(decades, 1e-24))
    inputs = [column for column, each in enumerate(now.subjects) if each.what is What.INPUT]
    if inputs:
        first = inputs[0]
        values[:, _INPUTS] = decades[:, first]
        usual[:, _INPUTS] = _others(values[:, _INPUTS])
        # Against the scale of the other ranks: its own may be what is wrong.
        values[:, _MEAN] = np.where(now.here[:, first], now.mean[:, first], np.nan)
        rms = 10 ** usual[:, _INPUTS]
        usual[:, _MEAN] = _others(values[:, _MEAN]) / rms
        values[:, _MEAN] /= rms
    values[:, _VARIED], values[:, _LOSS] = now.varied, now.loss
    usual[:, _VARIED], usual[:, _LOSS] = _others(now.varied), _others(now.loss)
    columns = [column for column, each in enumerate(now.subjects) if each.what is What.ACTIVATION]
    if layers and columns:
        own = decades[:, columns]
        gaps = np.abs(own - np.stack([_others(own[:, at]) for at in range(len(columns))], axis=1))
        known = np.isfinite(gaps)
        values[:, _LAYERS] = (gaps > SCALE_DECADES).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        usual[:, _LAYERS] = 0.0
    return _Features(values, usual)


def _others(values: Doubles) -> Doubles:
    """For each rank what is usual: the median of all; of two, the other one."""
    known = np.flatnonzero(np.isfinite(values))
    result = np.full(len(values), np.nan)
    if len(known) == 2:
        result[known] = values[known[::-1]]
    elif len(known) > 2:
        result[:] = np.median(values[known])
    return result


def _figures(kind: int, value: float, usual: float) -> dict[str, float]:
    if kind == _INPUTS:
        return {"in_rms": 10**value, "in_rms_others": 10**usual}
    return {NAMES[kind]: value, f"{NAMES[kind]}_others": usual}


def _compared(kind: int, value: float, usual: float) -> str:
    if kind == _INPUTS:
        times = 10 ** (value - usual)
        return f"inputs {times:.3g} times as large as the other ranks'"
    if kind == _MEAN:
        return f"inputs whose mean lies {abs(value - usual):.2g} rms from the other ranks'"
    if kind == _VARIED:
        return "inputs alike within a batch, which the other ranks' are not"
    if kind == _LAYERS:
        return f"activations of {value:.0%} of the layers four times off the other ranks'"
    return f"loss {value:.3g} against {usual:.3g} on the other ranks"
