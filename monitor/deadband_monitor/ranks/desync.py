"""Replicas whose weights are no longer the same.

Whether ranks are replicas is learnt, not assumed: weights (or averaged gradients) that moved and
stayed the same over several samples are held together by something, and have to stay the same.
Shards, pipeline stages and tensor-parallel parts never are, so nothing is said of them.
"""

from __future__ import annotations

import numpy as np

from deadband.wire import What
from deadband_monitor.ranks.rounds import Divergence, Round, named
from deadband_monitor.ranks.vitals import Subject
from deadband_monitor.statistics.values import Doubles, Ints, Mask

TOLERANCE = 1e-5
"""Replicas do the same arithmetic on the same averaged gradient, and are equal to the bit; on mixed
devices roundings of 6e-8 a step differ, which over a slice of some thousand weights average out to
far less than this for any length of run. One weight of 4,096 that changes by a tenth of the usual
weight shifts the mean by 2.4e-5 of it."""
GRAVE = 0.01
"""Replicas that differ by more than a hundredth of a weight compute gradients of different
functions; their average is a step for none of them."""
ROUNDS_TO_BOND = 2
"""Samples at which they moved and were still the same ones: equal initial weights prove nothing."""
PATIENCE = 10
"""Moving samples after which what was never the same is left alone, by design."""
NOBODY = -1


class Desync:
    """Learns which weights are replicas, and says when they stop being so."""

    def __init__(self) -> None:
        self._ranks: tuple[int, ...] = ()
        self._count = 0
        self._watched: Mask = np.zeros(0, np.bool_)
        self._partner: Ints = np.zeros(0, np.int64)
        """Of a gradient, the column of its weight."""
        self._edited: list[int] = []
        """Rows whose weights were changed between two steps when they left the others."""
        self._all_left = False
        """Whether no two ranks are alike any more."""
        self._forget()

    @property
    def replicas(self) -> bool:
        """Whether the ranks were seen to hold the same weights."""
        return bool((self._bond >= 0).any())

    def _forget(self) -> None:
        size = (len(self._ranks), self._count)
        self._bond: Ints = np.full(size, NOBODY, np.int64)
        """Which ranks hold one column together: the lowest row of them."""
        self._labels: Ints = np.full(size, NOBODY, np.int64)
        self._mean, self._power = np.full(size, np.nan), np.full(size, np.nan)
        self._streak: Ints = np.zeros(self._count, np.int64)
        self._moves: Ints = np.zeros(self._count, np.int64)
        self._met: Mask = np.zeros(self._count, np.bool_)
        """Columns that were once the same on all ranks."""
        self._since = self._began = 0
        self._step = 0
        self._periodic = False
        """They came together again by themselves: averaged now and then, by design."""

    def judge(self, now: Round) -> Divergence | None:
        """Who left the others, if anybody did."""
        if now.ranks != self._ranks or len(now.subjects) != self._count:
            self._ranks, self._count = now.ranks, len(now.subjects)
            self._forget()
            self._watched, self._partner = _watched(now)
        if self._periodic or not self._watched.any():
            return None
        known = now.here & np.isfinite(now.mean) & np.isfinite(now.power) & (now.power > 0)
        asked = self._watched & ((self._bond >= 0).any(axis=0) | (self._moves < PATIENCE))
        labels = _labels(now.mean, now.power, known, asked)
        found = self._departed(now, known, labels)
        if found is None:
            self._learn(now, known, labels, asked)
            self._since = 0
        self._remember(now, labels)
        return found

    def _learn(self, now: Round, known: Mask, labels: Ints, asked: Mask) -> None:
        """Columns that moved and are shared by the same ranks as at the sample before."""
        if not now.told.all():
            return
        self._began = self._began or now.step
        self._met |= (labels == labels[0]).all(axis=0) & (labels[0] >= 0)
        moved = ((now.mean != self._mean) | (now.power != self._power)) & known
        moved &= np.isfinite(self._mean)
        fresh = moved.any(axis=0) & asked
        same = (labels == self._labels).all(axis=0)
        shared = (labels != np.arange(len(labels))[:, None]) & (labels >= 0)
        held = fresh & same & shared.any(axis=0)
        self._streak[held] += 1
        self._streak[fresh & ~held] = 0
        self._moves[fresh & ~held] += 1
        ripe = (self._streak >= ROUNDS_TO_BOND) & (self._bond < 0).all(axis=0)
        self._bond[:, ripe] = labels[:, ripe]
        # Ranks that share the averaged gradient of a layer ought to share its weight as well.
        for column in np.flatnonzero(ripe & (self._partner >= 0)):
            self._bond[:, self._partner[column]] = labels[:, column]

    def _remember(self, now: Round, labels: Ints) -> None:
        self._labels = labels
        self._mean, self._power = np.where(now.here, now.mean, np.nan), now.power
        self._step = now.step

    def _departed(self, now: Round, known: Mask, labels: Ints) -> Divergence | None:
        weights = self._watched & (self._partner < 0)
        bonded = (self._bond >= 0) & known
        lead = np.where(bonded, np.take_along_axis(labels, np.maximum(self._bond, 0), 0), labels)
        odd = bonded & (labels != lead) & (labels >= 0)
        columns = np.flatnonzero(odd.any(axis=0) & weights)
        if not len(columns):
            if self._since and self._all_left:
                self._periodic = True
            return None
        off: set[int] = set()
        torn = False
        for column in columns.tolist():
            rows, unsure = _minority(self._bond[:, column], labels[:, column], bonded[:, column])
            off.update(rows)
            torn |= unsure
        if not off:
            return None  # those that the others were held against have not told of this step
        self._all_left = torn and len(off) > 2
        if not self._since:
            # What was never the same, though its gradient is, was not so from the start.
            self._since = now.step if self._met[columns].any() else self._began
            self._edited = self._changed_between(now, sorted(off))
        first = min(columns.tolist(), key=lambda column: now.subjects[column].row)
        subject = now.subjects[first]
        gap = self._gap(now, columns, bonded)
        averaged = self._averaged(labels, subject, now.subjects)
        ranks = tuple(now.ranks[row] for row in ((torn and self._edited) or sorted(off)))
        return Divergence(
            reason="desync",
            ranks=ranks,
            severity="critical" if gap > GRAVE and not self._all_left else "warning",
            onset_step=self._since,
            message=self._words(ranks, subject, torn=torn, averaged=averaged),
            model=subject.model,
            layer=subject.layer,
            evidence={"weight_gap": gap, "layers": float(len(columns))},
        )

    def _words(
        self, ranks: tuple[int, ...], subject: Subject, *, torn: bool, averaged: bool
    ) -> str:
        since = f"since step {self._since}, first in {subject.layer}"
        if self._all_left:
            return (
                f"no two ranks hold the same weights {since}: gradients are not averaged any more"
                " (no_sync left on, or a module outside of DDP)"
            )
        still = "gradients are still averaged" if averaged else "gradients differ as well"
        mend = "broadcast the weights of a good rank; look for what writes them outside of the step"
        if self._edited:
            what = f"{named(ranks)}: weights changed between two steps, not by the optimiser,"
            return f"{what} {since}; {still}: {mend}"
        if torn:
            what = f"the weights of {named(ranks)} differ {since}; {still}; which is right these"
            return f"{what} cannot say: {mend}"
        return f"{named(ranks)}: other weights than the other ranks {since}; {still}: {mend}"

    def _gap(self, now: Round, columns: Ints, bonded: Mask) -> float:
        """Largest difference between replicas, as a share of the weight."""
        widest = 0.0
        for column in columns.tolist():
            rows = bonded[:, column]
            power, mean = now.power[rows, column], now.mean[rows, column]
            rms = np.sqrt(power)
            usual = float(np.median(rms)) or 1.0
            widest = max(widest, float(np.ptp(rms)) / usual, float(np.ptp(mean)) / usual)
        return widest

    def _averaged(self, labels: Ints, weight: Subject, subjects: tuple[Subject, ...]) -> bool:
        """Whether the gradients of that layer are the same ones on all ranks."""
        for column, subject in enumerate(subjects):
            if subject.what is What.WEIGHT_GRAD and (subject.model, subject.layer) == (
                weight.model,
                weight.layer,
            ):
                own = labels[:, column]
                return bool((own >= 0).all() and len(set(own.tolist())) == 1)
        return False

    def _changed_between(self, now: Round, rows: list[int]) -> list[int]:
        """Which of these hold other weights ahead of this step than the step before left them."""
        if now.step != self._step + 1:
            return []
        before = {
            (subject.model, subject.layer, subject.shape): column
            for column, subject in enumerate(now.subjects)
            if subject.what is What.WEIGHT_BEFORE
        }
        found: set[int] = set()
        for column, subject in enumerate(now.subjects):
            ahead = before.get((subject.model, subject.layer, subject.shape))
            if subject.what is not What.WEIGHT or ahead is None:
                continue
            moved = np.abs(now.mean[:, ahead] - self._mean[:, column])
            changed = moved > TOLERANCE * np.sqrt(now.power[:, ahead])
            found.update(row for row in rows if changed[row])
        return sorted(found) if len(found) < len(now.ranks) else []


def _watched(now: Round) -> tuple[Mask, Ints]:
    """Columns of weights and gradients; and of each gradient, the column of its weight."""
    held = {
        (subject.model, subject.layer, subject.shape)
        for subject in now.subjects
        if subject.what is What.WEIGHT_BEFORE
    }
    watched = np.zeros(len(now.subjects), np.bool_)
    partner = np.full(len(now.subjects), NOBODY, np.int64)
    weights: dict[tuple[object, ...], int] = {}
    for column, subject in enumerate(now.subjects):
        key = (subject.model, subject.layer, subject.shape)
        # Ahead of the step rather than behind it: some optimisers share their work out, and the
        # ranks exchange the new weights only after the hook of the inner one has run.
        first = subject.what is What.WEIGHT_BEFORE or (
            subject.what is What.WEIGHT and key not in held
        )
        if subject.model in now.sharded or not (first or subject.what is What.WEIGHT_GRAD):
            continue
        watched[column] = True
        if first:
            weights[key] = column
    for column, subject in enumerate(now.subjects):
        if watched[column] and subject.what is What.WEIGHT_GRAD:
            partner[column] = weights.get((subject.model, subject.layer, subject.shape), NOBODY)
            watched[column] = partner[column] >= 0
    return watched, partner


def _labels(mean: Doubles, power: Doubles, known: Mask, asked: Mask) -> Ints:
    """For each rank and column the lowest row with the same figures; else NOBODY."""
    first = known.argmax(axis=0)
    columns = np.arange(mean.shape[1])
    like = _close(mean, power, mean[first, columns], power[first, columns])
    labels: Ints = np.where(known & like, first, NOBODY)
    for column in np.flatnonzero((known & ~like).any(axis=0) & asked).tolist():
        rows = np.flatnonzero(known[:, column])
        order = rows[np.argsort(mean[rows, column], kind="stable")]
        values, powers = mean[order, column], power[order, column]
        breaks = ~_close(values[1:], powers[1:], values[:-1], powers[:-1])
        groups = np.concatenate([[0], np.cumsum(breaks)])
        for group in range(int(groups[-1]) + 1):
            members = order[groups == group]
            labels[members, column] = members.min()
    return labels


def _close(mean: Doubles, power: Doubles, other_mean: Doubles, other_power: Doubles) -> Mask:
    rms = np.sqrt(other_power)
    close: Mask = (np.abs(mean - other_mean) <= TOLERANCE * rms) & (
        np.abs(power - other_power) <= 2 * TOLERANCE * other_power
    )
    return close


def _minority(bond: Ints, labels: Ints, known: Mask) -> tuple[set[int], bool]:
    """Rows that left the most of those they were bonded with; and whether no side is larger."""
    off: set[int] = set()
    unsure = False
    for group in set(bond[known].tolist()):
        rows = np.flatnonzero(known & (bond == group))
        names, sizes = np.unique(labels[rows], return_counts=True)
        if len(names) < 2:
            continue
        if (sizes == sizes.max()).sum() > 1:
            unsure = True
            off.update(rows.tolist())
        else:
            off.update(rows[labels[rows] != names[sizes.argmax()]].tolist())
    return off, unsure
