"""The figures of all ranks at one step side by side, once every rank has told of that step.

Ranks that train together sample the same steps. What one of them left out is judged without it as
soon as it is further on.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from deadband_monitor.ranks.vitals import Form, Subject, Vitals
from deadband_monitor.statistics.values import Doubles, Ints, Mask

MOST_WAITING, FEWEST_WAITING, MOST_KEPT = 256, 16, 16384
"""Steps that some ranks have told of and others have not, with few ranks and with many; the oldest
is then judged as it is. Of a short fast run the hub hears one rank's whole story before another's
first word."""
ENDED = 1 << 62
"""Beyond every step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One step. Rows are ranks in the order of `ranks`, columns the subjects."""

    step: int
    ranks: tuple[int, ...]
    subjects: tuple[Subject, ...]
    sharded: frozenset[str]
    """Models whose parameters are spread over the ranks: their weights differ by design."""
    told: Mask
    """(ranks,) whether it told of this step."""
    here: Mask
    """(ranks, subjects) whether it was copied."""
    mean: Doubles
    power: Doubles
    loss: Doubles
    """(ranks,)"""
    bad_loss_step: Ints
    """(ranks,) first step since the round before whose loss is not finite; 0 where all are."""
    varied: Doubles
    """(ranks,)"""


@dataclass(slots=True)
class _Member:
    form: Form
    newest: int = 0
    bad_loss_step: int = 0
    waiting: dict[int, Vitals] = field(default_factory=dict)


class Rounds:
    """Gathers vitals by step."""

    def __init__(self) -> None:
        self.expected = 0
        """Ranks that there will be."""
        self._members: dict[int, _Member] = {}
        self._columns: dict[Subject, int] = {}
        self._of: dict[int, Ints] = {}
        """Form -> its columns."""
        self._steps: dict[int, int] = {}
        """Step -> how many ranks have told of it."""

    def adopt(self, rank: int, form: Form) -> None:
        """A rank's frames are laid out like this from now on."""
        member = self._members.get(rank)
        if member is None:
            self._members[rank] = _Member(form)
        else:
            member.form = form
        if id(form) not in self._of:
            for subject in form.subjects:
                self._columns.setdefault(subject, len(self._columns))
            self._of[id(form)] = np.array([self._columns[each] for each in form.subjects], np.int64)

    def drop(self, rank: int) -> None:
        """It has ended: nobody waits for it any more."""
        member = self._members.get(rank)
        if member is not None:
            member.newest = ENDED

    def take(self, rank: int, vitals: Vitals) -> None:
        """What a rank says of a step."""
        member = self._members.get(rank)
        if member is None or vitals.step <= member.newest:
            return
        member.newest = vitals.step
        member.waiting[vitals.step] = vitals
        self._steps[vitals.step] = self._steps.get(vitals.step, 0) + 1

    def due(self) -> Iterator[Round]:
        """Steps that are whole, or will not be, in order."""
        while self._steps:
            step = min(self._steps)
            slowest = min((member.newest for member in self._members.values()), default=step)
            missing = slowest < step or len(self._members) < self.expected
            room = max(FEWEST_WAITING, MOST_KEPT // max(1, len(self._members)))
            if missing and len(self._steps) <= min(MOST_WAITING, room):
                return
            told = self._steps.pop(step)
            if told > 1:
                yield self._round(step)
            for member in self._members.values():
                member.waiting.pop(step, None)

    def _round(self, step: int) -> Round:
        ranks = tuple(sorted(self._members))
        size = (len(ranks), len(self._columns))
        here = np.zeros(size, np.bool_)
        mean, power = np.zeros(size), np.zeros(size)
        told = np.zeros(len(ranks), np.bool_)
        loss, varied = np.full(len(ranks), np.nan), np.full(len(ranks), np.nan)
        bad_loss_step = np.zeros(len(ranks), np.int64)
        sharded: set[str] = set()
        for row, rank in enumerate(ranks):
            member = self._members[rank]
            vitals = member.waiting.get(step)
            columns = self._of[id(member.form)]
            if vitals is None or len(vitals.here) != len(columns):
                continue  # of a layout that is no more
            told[row] = True
            here[row, columns] = vitals.here
            mean[row, columns], power[row, columns] = vitals.mean, vitals.power
            loss[row], varied[row] = vitals.loss, vitals.varied
            bad_loss_step[row] = vitals.bad_loss_step
            sharded.update(name for name, shards in member.form.shards.items() if shards > 1)
        return Round(
            step=step,
            ranks=ranks,
            subjects=tuple(self._columns),
            sharded=frozenset(sharded),
            told=told,
            here=here,
            mean=mean,
            power=power,
            loss=loss,
            bad_loss_step=bad_loss_step,
            varied=varied,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """What one judge of ranks holds at one step."""

    reason: str
    """`broken`, `desync`, `apart` or `behind`."""
    ranks: tuple[int, ...]
    """Who is off; all that differ, where two cannot say which."""
    severity: str
    onset_step: int
    message: str
    model: str = ""
    layer: str = ""
    evidence: dict[str, float] = field(default_factory=dict)
    blames_data: float = 0.0
    """How sure it is that what this rank is fed is the cause; 0: it says nothing of a cause."""
    facts: tuple[str, ...] = ()
    """What that rests on, for a reader."""


def named(ranks: Sequence[int]) -> str:
    """`rank 3`, `ranks 3 and 5`, or `ranks 3, 5, 7 and 12 more`."""
    words = [str(rank) for rank in ranks]
    if len(words) > 4:
        return f"ranks {', '.join(words[:3])} and {len(words) - 3} more"
    if len(words) > 1:
        return f"ranks {', '.join(words[:-1])} and {words[-1]}"
    return f"rank {words[0]}"
