"""Statistics of a model as a whole: its input, its output, its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deadband.wire import Plan, Slot, What
from deadband_monitor.statistics import arrange, inputs, outputs
from deadband_monitor.statistics.layout import gather, present
from deadband_monitor.statistics.losses import FrameLosses
from deadband_monitor.statistics.moments import Spread, nonfinite_where, spread
from deadband_monitor.statistics.skill import LEAST_ENTROPY, Skill
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Doubles, Floats, Mask, RawFrame, Reals

_FEWEST_ROWS = 32
"""Rows that information and predictions are read from: below 32 the information is biased low (1.94
nats at 16 rows of a true 2.29). Smaller batches are joined with the samples before."""
_FEWEST_GATHERED = 8
"""Rows of several steps that must have come together before anything is said of them."""


@dataclass(slots=True)
class ModelMemory:
    """What is remembered of one model from sample to sample, across plans."""

    skill: Skill = field(default_factory=Skill)
    probabilities: Doubles = field(default_factory=lambda: np.zeros((0, 0)))
    """Recent rows of probabilities, (up to 32, classes)."""
    output_rows: Floats = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    input_rows: Floats = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    """Recent single rows, (up to 32, columns), of runs with one row a step."""


class ModelSlots:
    """Input, output and output gradient of one model under one plan."""

    def __init__(self, plan: Plan, index: int, memory: ModelMemory) -> None:
        self._plan = plan
        self._index = np.array([index], dtype=np.int64)
        self._loss = plan.models[index].loss
        self._memory = memory
        self._number: dict[What, int] = {}
        for number, slot in enumerate(plan.slots):
            if slot.index == index:
                self._number.setdefault(slot.what, number)

    def output_broken(self, frames: Sequence[RawFrame]) -> Mask:
        """Which frames hold an output that is not finite, (frames,)."""
        here, x, _ = self._take(frames, What.OUTPUT)
        with np.errstate(all="ignore"):
            return np.asarray(here & ~np.isfinite(x.sum(axis=1)) & ~np.isfinite(x).all(axis=1))

    def measure_input(self, frames: Sequence[RawFrame], table: Table) -> None:
        """Fill the `in_` columns."""
        here, flat, slot = self._take(frames, What.INPUT)
        if slot is None or not here.any():
            return
        x = arrange.by_sample(flat.reshape(len(frames), *slot.shape), slot.axes)
        partial = int(np.prod(slot.shape[1:])) < int(np.prod(slot.source[1:]))
        # A part of a sample that is blank (the corner of an image) says nothing about the whole.
        blank = partial & (x == x[:, :, :1]).all(axis=(1, 2)) if x.size else ~here
        told = here & ~blank
        counted = x.shape[1] > 1
        twins = np.array([inputs.duplicate_share(rows) for rows in x]) if counted else here * np.nan
        self._put(table, "in_duplicates", twins, told)
        if slot.dtype.startswith(("int", "uint", "bool")):
            return
        found = spread(x, directions=False)
        broken = nonfinite_where(np.isnan(found.mean_square), flat)
        rho = found.dependence
        if not counted:
            rho = self._over_frames("input_rows", x, told)
        scales = np.array(
            [
                inputs.feature_scales(rows) if whole else (np.nan, np.nan)
                for rows, whole in zip(x, broken == 0, strict=True)
            ]
        )
        largest = inputs.largest_absolute(flat)
        finite = told & (broken == 0)
        self._put(table, "in_variance", rho, finite)
        self._put(table, "in_rms", np.sqrt(found.mean_square), finite)
        self._put(table, "in_max", largest, finite)
        self._put(table, "in_scale_spread", scales[:, 0], finite)
        self._put(table, "in_top_share", scales[:, 1], finite)
        table.worst_nonfinite(self._index, broken, here[:, None])

    def measure_output(
        self, frames: Sequence[RawFrame], losses: Sequence[FrameLosses], table: Table
    ) -> None:
        """Fill the output's columns and what follows from labels and loss."""
        here, flat, slot = self._take(frames, What.OUTPUT)
        if slot is None or not here.any():
            return
        x = flat.reshape(len(frames), *slot.shape)
        rows = arrange.by_sample(x, slot.axes)
        found = spread(rows, directions=False)
        broken = nonfinite_where(np.isnan(found.mean_square), flat)
        table.worst_nonfinite(self._index, broken, here[:, None])
        here &= broken == 0
        rho = found.dependence
        if rows.shape[1] == 1:
            rho = self._over_frames("output_rows", rows, here)
        self._put(table, "out_variance", rho, here)
        self._put(table, "out_rms", np.sqrt(found.mean_square), here)
        self._put(table, "out_sd", np.sqrt(found.variance), here)
        if slot.dtype.startswith(("int", "uint", "bool")) or not x.size:
            return
        if self._loss in ("cross_entropy", "nll"):
            if _cut(slot):
                return
            rows = arrange.by_unit(x, slot.axes)
        self._measure_labels(frames, rows, here, losses, slot, table)

    def _measure_labels(
        self,
        frames: Sequence[RawFrame],
        rows: Reals,
        here: Mask,
        losses: Sequence[FrameLosses],
        slot: Slot,
        table: Table,
    ) -> None:
        with_grad, grad, grad_slot = self._take(frames, What.OUTPUT_GRAD)
        grads: Reals = np.zeros_like(rows)
        if grad_slot is not None and grad_slot.shape == slot.shape:
            shaped = grad.reshape(len(frames), *slot.shape)
            by_class = self._loss in ("cross_entropy", "nll")
            arranged = arrange.by_unit if by_class else arrange.by_sample
            grads = arranged(shaped, slot.axes)
        else:
            with_grad = np.zeros_like(here)
        elements = int(np.prod(slot.source or slot.shape))
        skill = self._memory.skill
        index = int(self._index[0])
        entropies = np.full(len(frames), np.nan)
        refuted = np.zeros(len(frames), dtype=np.bool_)
        for frame in np.flatnonzero(here).tolist():
            known = with_grad[frame] and np.isfinite(grads[frame]).all()
            standing = skill.observe(
                self._loss,
                rows[frame],
                grads[frame] if known else None,
                elements,
                losses[frame].now,
            )
            entropies[frame] = standing.label_entropy
            refuted[frame] = with_grad[frame] and np.isnan(standing.label_entropy)
            table.put_one("label_entropy", frame, index, standing.label_entropy)
            table.put_one("batch_label_entropy", frame, index, standing.batch_label_entropy)
            table.put_one("loss_constant", frame, index, standing.loss_constant)
            table.put_one("sigma_share", frame, index, standing.sigma_share)
            table.put_one("skill", frame, index, standing.skill)
        if self._loss in outputs.CLASSIFYING:
            # A gradient that no labels explain says that the output is not what the loss compares
            # with labels (embeddings of a contrastive loss, say): not a prediction of classes.
            self._measure_predictions(rows, here & ~refuted, entropies, table)

    def _measure_predictions(
        self, rows: Reals, here: Mask, label_entropies: Doubles, table: Table
    ) -> None:
        known = np.flatnonzero(here)
        if not len(known):
            return
        p = outputs.probabilities(rows[known], self._loss)
        values = np.full((3, len(rows)), np.nan)
        if p.shape[1] >= _FEWEST_ROWS:
            read = outputs.read(p, self._loss)
            values[:, known] = read.information, read.top_share, read.distinct
        else:
            for frame, own in zip(known.tolist(), p, strict=True):
                joined = self._join(own)
                if len(joined) >= _FEWEST_GATHERED:
                    read = outputs.read(joined[None], self._loss)
                    values[:, frame] = read.information[0], read.top_share[0], read.distinct[0]
        classes = 2 if self._loss in outputs.BINARY else max(2, p.shape[2])
        most = np.where(np.isnan(label_entropies), np.log(classes), label_entropies)
        # With labels that are all the same there is no information to have.
        share = np.where(most > LEAST_ENTROPY, values[0] / np.maximum(most, LEAST_ENTROPY), np.nan)
        self._put(table, "information", share, here)
        self._put(table, "top_share", values[1], here)
        self._put(table, "distinct_predictions", values[2], here)

    def _join(self, p: Doubles) -> Doubles:
        """The last 32 rows of probabilities, these included: a batch is too small to read."""
        past = self._memory.probabilities
        if past.shape[1] == p.shape[1]:
            p = np.concatenate([past, p])
        self._memory.probabilities = p[-_FEWEST_ROWS:]
        return self._memory.probabilities

    def _over_frames(self, which: str, rows: Reals, here: Mask) -> Doubles:
        """Dependence of single rows over the last 32 samples, (frames, 1, columns) -> (frames,)."""
        rho = np.full(len(rows), np.nan)
        past = getattr(self._memory, which)
        if past.shape[1] != rows.shape[2]:
            past = np.zeros((0, rows.shape[2]), dtype=np.float32)
        for frame in np.flatnonzero(here):
            past = np.concatenate([past, rows[frame]])[-_FEWEST_ROWS:]
            if len(past) >= _FEWEST_GATHERED:
                found: Spread = spread(past[None], directions=False)
                rho[frame] = found.dependence[0]
        setattr(self._memory, which, past)
        return rho

    def _take(self, frames: Sequence[RawFrame], what: What) -> tuple[Mask, Floats, Slot | None]:
        number = self._number.get(what)
        if number is None:
            nothing = np.zeros(len(frames), dtype=np.bool_)
            return nothing, np.zeros((len(frames), 0), dtype=np.float32), None
        here = present(self._plan, frames, (number,))[:, 0]
        x = gather(self._plan, frames, (number,)).reshape(len(frames), -1)
        return here, x, self._plan.slots[number]

    def _put(self, table: Table, metric: str, values: Reals, where: Mask) -> None:
        table.put(metric, self._index, values, where[:, None])


def _cut(slot: Slot) -> bool:
    """Whether the slice holds only a part of the classes: no probabilities without the others."""
    if not slot.source or "u" not in slot.axes:
        return False
    whole = slot.source[1] if slot.axes == "nup" else slot.source[-1]
    return slot.shape[slot.axes.index("u")] < whole
