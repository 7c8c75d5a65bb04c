"""Statistics of what a model gives, and of what follows from its labels and its loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deadband.wire import Slot, What
from deadband_monitor.statistics import arrange, directions
from deadband_monitor.statistics.between import between
from deadband_monitor.statistics.constants import VALUE_LOSSES
from deadband_monitor.statistics.coupled import counts_targets, coupling
from deadband_monitor.statistics.factors import LEAST_ENTROPY
from deadband_monitor.statistics.gathered import GatheredRows
from deadband_monitor.statistics.given import CLASS_LOSSES, Found, given_targets
from deadband_monitor.statistics.guessed import ClassGuess
from deadband_monitor.statistics.heads import Head, HeadMemory
from deadband_monitor.statistics.labelled_rows import LabelledRows
from deadband_monitor.statistics.labels import Labels, Targets, labels_of_frames
from deadband_monitor.statistics.layout import Batch
from deadband_monitor.statistics.losses import FrameLosses
from deadband_monitor.statistics.model_inputs import InputRows
from deadband_monitor.statistics.moments import nonfinite_where, spread
from deadband_monitor.statistics.numbering import numbers_for_all
from deadband_monitor.statistics.outputs import BINARY, CLASSIFYING, softmax
from deadband_monitor.statistics.predictions import PredictionMemory, measure_predictions
from deadband_monitor.statistics.reader import ModelReader, Taken, is_integer
from deadband_monitor.statistics.recall import RareRecall
from deadband_monitor.statistics.skill import Shown, Skill, Standing
from deadband_monitor.statistics.squash import (
    OVER_ROWS,
    bent,
    lopsided,
    over_rows,
    squashed,
    squashed_of_frames,
)
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Doubles, Ints, Mask, Reals

_LARGE = 1 << 14
"""Elements of an output whose directions are counted at every eighth sample only, and so is ..."""
_MANY = 32
"""... one of more rows and columns than this: 64 eigenvalues take 1 ms, 10 take 0.02."""
_SELDOM = 8
_MOST_READ = 1 << 16
"""Elements that are read as predictions of classes: 64 rows of 1024. Of a sequence's or an image's
positions, as many as that are drawn once; 64 tell the information to 3 %."""

MIXED_UP = 9.0
"""What `squashed` says of a cross entropy that reads positions as classes."""

FOR_ALL = 10.0
"""What it says of a squared error that draws all columns to the number of a class."""

_OF_STANDING = (
    "label_entropy",
    "batch_label_entropy",
    "loss_constant",
    "sigma_share",
    "skill",
    "majority_share",
    "target_mean",
    "target_sd",
    "target_kurtosis",
    "target_min",
    "target_max",
    "further_loss",
    "open_share",
)
_OF_DIRECTIONS = ("cosine", "participation", "effective_rank")


@dataclass(slots=True)
class OutputMemory:
    """What is remembered of one model's outputs from sample to sample."""

    skill: Skill = field(default_factory=Skill)
    labelled: LabelledRows = field(default_factory=LabelledRows)
    predictions: PredictionMemory = field(default_factory=PredictionMemory)
    recall: RareRecall = field(default_factory=RareRecall)
    head: HeadMemory = field(default_factory=HeadMemory)
    classes: ClassGuess = field(default_factory=ClassGuess)
    single: GatheredRows = field(default_factory=GatheredRows)
    pointed: GatheredRows = field(default_factory=GatheredRows)
    directions: Doubles = field(default_factory=lambda: np.full(3, np.nan))
    """Those of the last sample at which they were counted."""
    samples: int = 0


class ModelOutputs:
    """Output, output gradient and target of one model under one plan."""

    def __init__(self, reader: ModelReader, memory: OutputMemory) -> None:
        self._reader = reader
        self._memory = memory
        self._loss = reader.loss
        self._calls = reader.model.calls
        self._head = Head(reader, memory.head)

    def measure(
        self,
        frames: Batch,
        losses: Sequence[FrameLosses],
        given: InputRows | None,
        table: Table,
    ) -> None:
        """Fill the output's columns and what follows from labels and loss."""
        taken = self._reader.take(frames, What.OUTPUT)
        if taken is None:
            return
        slot, put = taken.slot, self._reader.put
        rows = arrange.by_sample(taken.shaped, slot.axes)
        found = spread(rows, directions=False)
        broken = nonfinite_where(np.isnan(found.mean_square), taken.flat)
        self._reader.put_nonfinite(table, broken, taken.here)
        here = taken.here & (broken == 0)
        rho = found.dependence
        if rows.shape[1] == 1:
            rho = self._memory.single.dependence(rows, here)
        put(table, "out_variance", rho, here)
        put(table, "out_rms", np.sqrt(found.mean_square), here)
        put(table, "out_sd", np.sqrt(found.variance), here)
        if is_integer(slot) or not taken.flat.size:
            return
        put(table, "out_min", taken.flat.min(axis=1), here)
        put(table, "out_max", taken.flat.max(axis=1), here)
        self._measure_directions(rows, here, table)
        by_unit = arrange.by_unit(taken.shaped, slot.axes)
        cut = _cut(slot)
        if not self._reader.loss and self._guess_classes(frames, taken, by_unit, here, losses):
            self._loss = "cross_entropy"
            by_unit = self._memory.classes.as_logits(by_unit)
        by_class = self._loss in CLASS_LOSSES
        if not cut:
            put(table, "row_sum_error", _sum_error(by_unit, axis=2, logs=by_class), here)
            put(table, "bias_distance", self._head.distances(frames, by_unit), here)
        if slot.source and slot.shape[0] == slot.source[0]:
            put(table, "column_sum_error", _sum_error(rows, axis=1, logs=by_class), here)
        if by_class and cut:
            return
        read = by_unit if by_class else rows
        drawn = _drawn(read) if by_class else None
        standings = self._follow_labels(frames, taken, read, drawn, here, losses, given, table)
        read = read if drawn is None else read[:, drawn]
        if self._loss in CLASSIFYING:
            measure_predictions(
                self._reader, self._memory.predictions, read, here & standings.trusted,
                standings.each, table,
            )  # fmt: skip

    def _guess_classes(
        self,
        frames: Batch,
        taken: Taken,
        rows: Reals,
        here: Mask,
        losses: Sequence[FrameLosses],
    ) -> bool:
        """Whether a loop that shows class numbers, but no loss function, has a cross entropy."""
        guess, slot = self._memory.classes, taken.slot
        if rows.shape[2] < 2 or _cut(slot):
            return False
        targets = None if guess.found else self._reader.take(frames, What.TARGET)
        if targets is None:
            return guess.found
        shape = (rows.shape[1], rows.shape[2])
        counted = int(np.prod(slot.source or slot.shape)) // shape[1]
        for frame in np.flatnonzero(here & targets.here).tolist():
            found = given_targets("cross_entropy", targets.shaped[frame], targets.slot, shape)
            if isinstance(found, Labels):
                guess.observe(rows[frame].astype(np.float64), found, losses[frame].now, counted)
        return guess.found

    def _follow_labels(
        self,
        frames: Batch,
        taken: Taken,
        rows: Reals,
        drawn: Ints | None,
        here: Mask,
        losses: Sequence[FrameLosses],
        given: InputRows | None,
        table: Table,
    ) -> _Standings:
        slot = taken.slot
        shape = (rows.shape[1], rows.shape[2])
        with_grad, grads = self._gradients(frames, slot, rows)
        if self._memory.classes.of_probabilities:
            with_grad = np.zeros_like(with_grad)  # of probabilities it is another one
        if drawn is not None:
            rows, grads = rows[:, drawn], grads[:, drawn]
        targets = self._reader.take(frames, What.TARGET)
        given = given if self._reader.takes_data else None
        elements = int(np.prod(slot.source or slot.shape))
        standings = _Standings([Standing()] * len(frames), np.ones(len(frames), dtype=np.bool_))
        coupled = self._loss in VALUE_LOSSES
        finite = with_grad & np.isfinite(grads).all(axis=(1, 2))
        p = softmax(rows) if self._loss in CLASS_LOSSES else None
        told: list[Labels | None] = [None] * len(frames)
        counted = elements // max(rows.shape[2], 1)
        if p is not None:
            told = labels_of_frames(grads, p, counted, here & finite)
        meant: list[Found | None] = [None] * len(frames)
        if targets is not None:
            for frame in np.flatnonzero(here & targets.here).tolist():
                meant[frame] = given_targets(
                    self._loss, targets.shaped[frame], targets.slot, shape, drawn
                )
        moved = p is not None and _moved(tuple(slot.source), self._reader.model.loss_input)
        bends = self._squashed(rows, grads, meant, p, here & finite, elements)
        for frame in np.flatnonzero(here).tolist():
            out, gradient, known = rows[frame], grads[frame], bool(finite[frame])
            own = None if p is None else p[frame]
            target = meant[frame]
            shown = Shown(
                out,
                gradient if known else None,
                elements,
                losses[frame].now,
                target,
                own,
                told[frame],
                self._calls,
            )
            standing = self._memory.skill.observe(self._loss, shown)
            if self._calls > 1 and standing.label_entropy <= LEAST_ENTROPY:
                # A discriminator is called with real and with made samples; the first call's are
                # all of one kind.
                standing = Standing()
            standings.each[frame] = standing
            # A gradient that no labels explain says that the output is not what the loss compares
            # with labels (embeddings of a contrastive loss, say): no prediction of classes.
            unread = bool(with_grad[frame]) and math.isnan(standing.label_entropy)
            standings.trusted[frame] = not unread
            if standings.trusted[frame] and standing.found is not None:
                recall = self._memory.recall.observe(
                    frames[frame].header.step, out, standing.found, standing.majority
                )
                self._reader.put_one(table, "rare_recall", frame, recall)
            if known and (coupled or (target is not None and not self._loss)):
                bound = coupling(self._loss, out, gradient)
                self._reader.put_one(table, "coupling", frame, bound)
            elif known and not self._loss and shape[1] == self._calls == 1:
                self._reader.put_one(table, "coupling", frame, counts_targets(out, gradient))
            if known and (self._loss == "cross_entropy" or self._loss in BINARY):
                way = standing.way if math.isnan(bends[frame]) else bends[frame]
                untold = math.isnan(way) and target is None and told[frame] is None
                if untold and elements == rows[frame].size and over_rows(rows[frame], gradient):
                    way = OVER_ROWS
                if moved and told[frame] is None and lopsided(gradient, counted):
                    way = MIXED_UP
                self._reader.put_one(table, "squashed", frame, way)
            if known and (coupled or self._loss == "kl_div"):
                way = self._way(rows[frame], gradient, target)
                way = standing.way if math.isnan(way) else way
                if target is None and self._loss == "mse":
                    units = slot.shape[-1] if slot.axes.endswith("u") else shape[1]
                    wanted = rows[frame] - gradient * (elements * self._calls / 2.0)
                    if isinstance(standing.found, Targets):
                        wanted = standing.found.values
                    way = FOR_ALL if numbers_for_all(wanted, units) else way
                self._reader.put_one(table, "squashed", frame, way)
            if given is not None:
                self._memory.labelled.measure(self._reader, given, frame, standing, table)
        for metric in _OF_STANDING:
            values = np.array([getattr(standing, metric) for standing in standings.each])
            self._reader.put(table, metric, values, here)
        return standings

    def _way(self, output: Reals, gradient: Reals, target: Found | None) -> float:
        """What `squashed` says of a loss between distributions or values."""
        if self._loss in ("kl_div", "mse"):
            way = bent(self._loss, output, gradient, target)
            if not np.isnan(way):
                return way
        return between(self._loss, output, gradient, target)

    def _squashed(
        self,
        rows: Reals,
        grads: Reals,
        meant: Sequence[Found | None],
        p: Doubles | None,
        wanted: Mask,
        elements: int,
    ) -> list[float]:
        """What `squashed` says of each wanted frame."""
        whole = rows[0].size == elements
        if self._loss == "cross_entropy" and p is not None:
            return squashed_of_frames(rows, grads, meant, p, wanted, whole=whole)
        found = [np.nan] * len(rows)
        if self._loss == "bce_logits":
            for frame in np.flatnonzero(wanted).tolist():
                found[frame] = squashed(rows[frame], grads[frame], meant[frame], whole=whole)
        return found

    def _gradients(self, frames: Batch, slot: Slot, rows: Reals) -> tuple[Mask, Reals]:
        """Loss gradients arranged as `rows`; which frames have one."""
        taken = self._reader.take(frames, What.OUTPUT_GRAD)
        if taken is None or taken.slot.shape != slot.shape:
            return np.zeros(len(frames), dtype=np.bool_), np.zeros_like(rows)
        by_class = self._loss in CLASS_LOSSES
        arranged = arrange.by_unit if by_class else arrange.by_sample
        return taken.here, arranged(taken.shaped, slot.axes)

    def _measure_directions(self, rows: Reals, here: Mask, table: Table) -> None:
        memory = self._memory
        values = np.full((3, len(rows)), np.nan)
        known = np.flatnonzero(here)
        order = memory.samples + np.arange(len(known))
        memory.samples += len(known)
        if rows.shape[1] == 1:
            for frame in known:
                joined = memory.pointed.add(rows[frame])
                if len(joined) >= directions.FEWEST_ROWS:
                    values[:, frame] = _directions(joined[None])[:, 0]
        elif rows[0].size <= _LARGE and min(rows.shape[1:]) <= _MANY:
            values[:, known] = _directions(rows[known])
        else:
            # In between the last figures stand: they tell of a slow loss of directions.
            for place, frame in zip(order.tolist(), known, strict=True):
                if place % _SELDOM == 0:
                    memory.directions = _directions(rows[frame : frame + 1])[:, 0]
                values[:, frame] = memory.directions
        for metric, value in zip(_OF_DIRECTIONS, values, strict=True):
            self._reader.put(table, metric, value, here)


@dataclass(frozen=True, slots=True)
class _Standings:
    """What each frame says of its labels."""

    each: list[Standing]
    trusted: Mask
    """Whether the output may be read as a prediction."""


def _directions(rows: Reals) -> Doubles:
    found = directions.directions(rows)
    return np.stack([found.cosine, found.participation, found.effective_rank])


def _sum_error(rows: Reals, axis: int, *, logs: bool) -> Doubles:
    """Largest |sum over an axis - 1|, (b, r, c) -> (b,).

    logs: outputs of which none is above 0 are read as logarithms of probabilities.
    """
    if logs and rows.max() <= 0:
        rows = np.exp(rows)
    sums = rows.sum(axis=axis, dtype=np.float64)
    return np.asarray(np.abs(sums - 1.0).max(axis=1))


def _moved(source: tuple[int, ...], given: tuple[int, ...]) -> bool:
    """Whether a loss was given (n, t, c) as (n, c, t): turned, or else only viewed so.

    Or channels over positions, (n, c, t), as rows of one position each, (n t, c). A score for each
    of a list, (n, c, 1), has no positions that could be mixed up: without its last axis it is what
    a loss over the list is given.
    """
    if len(source) >= 3 and len(given) == 2:
        positions = math.prod(source[2:])
        mixed = positions > 1 and source[1] != source[-1]
        return mixed and given == (source[0] * positions, source[1])
    if len(source) != 3 or len(given) != 3 or source[1] == source[2]:
        return False
    return (source[1], source[2]) == (given[2], given[1])


def _drawn(rows: Reals) -> Ints | None:
    """Which rows are read where there are too many, the same ones every time; None for all."""
    _, count, columns = rows.shape
    kept = max(_MANY, _MOST_READ // max(columns, 1))
    if count <= kept:
        return None
    return np.sort(np.random.default_rng(0).permutation(count)[:kept])


def _cut(slot: Slot) -> bool:
    """Whether the slice holds only a part of the classes: no probabilities without the others."""
    if not slot.source or "u" not in slot.axes:
        return False
    whole = slot.source[1] if slot.axes == "nup" else slot.source[-1]
    return slot.shape[slot.axes.index("u")] < whole
