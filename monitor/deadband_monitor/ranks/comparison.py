"""The rule `rank-divergence`: four judges of ranks side by side, as flags, causes and coverage.

One flag an incident, root first: of a rank that is off for one reason, what follows from it is not
told again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

import msgspec
import numpy as np

from deadband.wire import Cause, Coverage, Flag, Plan
from deadband_monitor.ranks.apart import Apart
from deadband_monitor.ranks.behind import Behind, Standing
from deadband_monitor.ranks.broken import BrokenFirst
from deadband_monitor.ranks.desync import Desync
from deadband_monitor.ranks.rounds import Divergence, Round, Rounds
from deadband_monitor.ranks.vitals import Form, Forms, Vitals, measure_all
from deadband_monitor.statistics.values import RawFrame

KIND = "rank-divergence"
TO_OPEN = {"broken": 1, "desync": 2, "apart": 1, "behind": 2}
"""Rounds in a row; what is apart has been counted already."""
TO_CLOSE = 3
FOLLOWS: dict[str, frozenset[str]] = {
    # What stands on a rank -> what follows from it there.
    "broken": frozenset({"desync", "apart"}),
    "desync": frozenset({"apart"}),
    "apart": frozenset(),
    "behind": frozenset(),
}
ADVICE = "print what this rank's loader gives at that step beside another rank's: file, sampler"


@dataclass(slots=True)
class _Incident:
    told: Divergence
    flag: Flag | None = None
    active: int = 0
    clear: int = 0


class Comparison:
    """All ranks of a run beside each other."""

    def __init__(self) -> None:
        self.error = ""
        """What went wrong inside last."""
        self.newest: dict[int, Vitals] = {}
        """Rank -> its newest figures."""
        self._forms = Forms()
        self._of: dict[int, Form] = {}
        self._rounds = Rounds()
        self._waiting: list[tuple[int, Form, RawFrame]] = []
        self._broken, self._desync = BrokenFirst(), Desync()
        self._apart, self._behind = Apart(), Behind()
        self._incidents: dict[str, _Incident] = {}
        self._numbers = count(1)
        self._judged = 0
        self._step = 0

    def adopt(self, rank: int, plan: Plan) -> None:
        """A rank's frames are made by this plan from now on."""
        form = self._of[rank] = self._forms.of(plan)
        self._rounds.adopt(rank, form)

    def expect(self, ranks: int) -> None:
        """So many ranks train together: steps are kept until all have told of them."""
        self._rounds.expected = max(self._rounds.expected, ranks)

    def gather(self, rank: int, frames: Sequence[RawFrame]) -> None:
        """Frames of a rank, to be judged by the next `compare`."""
        form = self._of.get(rank)
        if form is not None:
            self._waiting += [(rank, form, frame) for frame in frames]

    def drop(self, rank: int) -> None:
        """A rank has ended, and all of its frames are here."""
        self._rounds.drop(rank)

    def loss(self, rank: int) -> float | None:
        """The newest loss of a rank that is known."""
        vitals = self.newest.get(rank)
        return None if vitals is None or vitals.loss != vitals.loss else vitals.loss

    def compare(self) -> Iterator[tuple[int, Flag]]:
        """Judge what was gathered; flags that opened, changed or closed, with their step."""
        waiting, self._waiting = self._waiting, []
        for rank, _, vitals in measure_all(waiting):
            # The last frame of a run may bring losses only.
            self._rounds.take(rank, vitals)
            if vitals.here.any():
                self.newest[rank] = vitals
        for now in self._rounds.due():
            yield from self._round(now)

    def look(self, now: float, standings: Sequence[Standing]) -> Iterator[tuple[int, Flag]]:
        """Judge who lags, from time to time."""
        if len(standings) > 1:
            step = max(self._step, *(each.step for each in standings))
            yield from self._settle("behind", self._behind.judge(now, standings), step)

    def standing(self) -> list[Flag]:
        """Copies of the flags that are open."""
        flags = [each.flag for each in self._incidents.values() if each.flag is not None]
        return [flag for flag in flags if flag.resolved_step is None]

    def causes(self) -> list[Cause]:
        """Bad data, where a standing flag says so."""
        return [
            Cause(
                cause="bad-data",
                confidence=each.told.blames_data,
                evidence=list(each.told.facts),
                advice=ADVICE,
                model=each.told.model,
                layer=each.told.layer,
                onset_step=each.told.onset_step,
                rank=each.told.ranks[0],
            )
            for each in self._incidents.values()
            if each.flag is not None and each.flag.resolved_step is None and each.told.blames_data
        ]

    def coverage(self) -> Coverage:
        """What can be judged of these ranks."""
        if len(self._of) < 2:
            return Coverage(kind=KIND, state="impossible", reason="one rank has been heard of")
        if not self._judged:
            reason = "no step has been heard of from all ranks"
            return Coverage(kind=KIND, state="warming up", reason=reason)
        if self._desync.replicas:
            return Coverage(kind=KIND, state="armed")
        reason = "weights are not the same on all ranks: data, losses and NaN are compared"
        return Coverage(kind=KIND, state="armed", reason=reason)

    def _round(self, now: Round) -> Iterator[tuple[int, Flag]]:
        self._judged += 1
        self._step = now.step
        with np.errstate(all="ignore"):
            for reason, found in (
                ("broken", self._broken.judge(now)),
                ("desync", self._desync.judge(now)),
                ("apart", self._apart.judge(now, replicas=self._desync.replicas)),
            ):
                yield from self._settle(reason, found, now.step)

    def _settle(
        self, reason: str, found: Divergence | None, step: int
    ) -> Iterator[tuple[int, Flag]]:
        incident = self._incidents.get(reason)
        if found is None:
            if incident is not None:
                incident.active, incident.clear = 0, incident.clear + 1
                if incident.clear >= TO_CLOSE:
                    del self._incidents[reason]
                    if incident.flag is not None:
                        flag = incident.flag
                        flag.resolved_step = step
                        flag.message = f"recovered at step {step}: {flag.message}"
                        yield step, msgspec.structs.replace(flag)
            return
        if incident is None:
            incident = self._incidents[reason] = _Incident(found)
        incident.active, incident.clear = incident.active + 1, 0
        if incident.flag is None:
            incident.told = found
            if incident.active < TO_OPEN[reason] or self._follows(reason, found):
                return
            incident.flag = _flag(found, step, next(self._numbers))
            yield step, msgspec.structs.replace(incident.flag)
        elif _grew(incident.flag, found):
            before, incident.told = incident.flag, found
            incident.flag = msgspec.structs.replace(
                _flag(found, before.raised_step, before.id), onset_step=before.onset_step
            )
            yield step, msgspec.structs.replace(incident.flag)

    def _follows(self, reason: str, found: Divergence) -> bool:
        return any(
            reason in FOLLOWS[other]
            and each.flag is not None
            and set(found.ranks) & {*each.told.ranks}
            for other, each in self._incidents.items()
        )


def _flag(found: Divergence, step: int, number: int) -> Flag:
    return Flag(
        id=number,
        kind=KIND,
        severity=found.severity,
        model=found.model,
        layer=found.layer,
        onset_step=min(found.onset_step, step),
        raised_step=step,
        evidence=dict(found.evidence),
        message=found.message,
        ranks=list(found.ranks),
    )


def _grew(flag: Flag, found: Divergence) -> bool:
    worse = found.severity == "critical" and flag.severity != "critical"
    return worse or bool(set(found.ranks) - set(flag.ranks))
