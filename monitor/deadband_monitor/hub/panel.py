"""What all ranks of a run say together: each is judged by itself, one incident is one flag.

Under data parallelism a network that fails does so on every rank. It is told once, with the ranks
that show it; what only one rank shows says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from deadband.wire import (
    FAR_RANK,
    Cause,
    Coverage,
    Diagnosis,
    Event,
    Flag,
    FlagChange,
    Opinion,
    Plan,
)
from deadband_monitor.hub.judgement import Judgement
from deadband_monitor.ranks.behind import Standing
from deadband_monitor.ranks.comparison import Comparison
from deadband_monitor.statistics.values import RawFrame

SEVERITIES = ("critical", "warning", "info")
VERDICTS = ("failing", "warning", "healthy")
MOST_ATTENDED = 8
"""Far ranks that are looked at closely at a time: as many as the near ones."""
BETWEEN = -1
MOST_CAUSES = 3
"""As many as one rank names."""

_log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Incident:
    """One flag of the run: the same symptom of one model on any number of ranks."""

    id: int
    parts: dict[int, Flag] = field(default_factory=dict)
    """Rank -> what its own rules say of it."""
    between: Flag | None = None
    """Of what ranks say only beside each other: all of it."""

    def takes(self, rank: int, flag: Flag) -> bool:
        """Whether a rank's new flag is this incident."""
        first = next(iter(self.parts.values()), None)
        if first is None or (first.kind, first.model) != (flag.kind, flag.model):
            return False
        others = [part for of, part in self.parts.items() if of != rank]
        return any(
            part.resolved_step is None or flag.onset_step <= part.resolved_step for part in others
        )

    def flag(self, lead: int, *, many: bool) -> Flag:
        """The incident in one flag: as the worst of the ranks has it.

        Args:
            lead: the lowest rank that is here.
            many: whether the run has several ranks.
        """
        if self.between is not None:
            return msgspec.structs.replace(self.between, id=self.id)
        standing = {
            rank: flag for rank, flag in self.parts.items() if flag.resolved_step is None
        } or self.parts
        rank = min(standing, key=lambda rank: (SEVERITIES.index(standing[rank].severity), rank))
        worst = standing[rank]
        steps = [flag.resolved_step for flag in self.parts.values()]
        ends = [step for step in steps if step is not None]
        shown = sorted(standing) if many else []
        return msgspec.structs.replace(
            worst,
            id=self.id,
            onset_step=min(flag.onset_step for flag in self.parts.values()),
            raised_step=min(flag.raised_step for flag in self.parts.values()),
            resolved_step=max(ends) if len(ends) == len(steps) else None,
            followers=list(worst.followers),
            evidence=dict(worst.evidence),
            message=worst.message + _only_on(shown, lead),
            ranks=shown,
        )


class Panel:
    """The judgements of all ranks, as events and as one opinion."""

    def __init__(self) -> None:
        self.many = False
        """Whether the run has several ranks, though only one may be here yet."""
        self.error = ""
        """What went wrong inside last; empty while nothing did."""
        self._judges: dict[int, Judgement] = {}
        self._tables = count(1)
        self.comparison = Comparison()
        self._incidents: list[Incident] = []
        self._of: dict[tuple[int, int], Incident] = {}
        """(rank, its own number of the flag) -> incident; BETWEEN stands for no rank."""
        self._said: tuple[str, list[Cause], list[Coverage]] = ("healthy", [], [])
        self.told = Opinion(verdict="healthy", flags=[], causes=[])
        """What the clients have heard last."""
        self._standing: set[int] = set()
        self._attended: set[int] = set()
        """Far ranks that send whole frames for a while."""

    def adopt(self, rank: int, plan: Plan, *, far: bool = False) -> Iterator[Event]:
        """Measure a rank by this plan from now on.

        Args:
            rank: whose plan it is.
            plan: of its frames.
            far: its frames are summaries: they are compared with the other ranks' and no more,
                unless something is off there.
        """
        self.comparison.adopt(rank, plan)
        if far and rank not in self._attended:
            self._judges.pop(rank, None)
            return
        judge = self._judges.get(rank)
        if judge is None:
            judge = self._judges[rank] = Judgement(rank, self._tables)
            self.many = self.many or len(self._judges) > 1
            for incident in self._incidents:  # whose flag may be some ranks' only from now on
                flag = self._flag(incident)
                yield FlagChange(seq=0, step=flag.raised_step, flag=flag)
        yield from judge.adopt(plan)
        self.error = judge.error or self.error

    def judge(self, rank: int, frames: Sequence[RawFrame]) -> Iterator[Event]:
        """A rank's samples, and after each what the ranks together say now."""
        if self.many:
            self.comparison.gather(rank, frames)
        judge = self._judges.get(rank)
        if judge is None:
            return
        for event in judge.judge(frames):
            if isinstance(event, FlagChange):
                flag = self._merged(rank, event.flag)
                yield msgspec.structs.replace(event, flag=flag)
            elif isinstance(event, Diagnosis):
                said = self._together()
                if said != self._said:
                    self._said = said
                    verdict, causes, coverage = said
                    yield msgspec.structs.replace(
                        event, verdict=verdict, causes=causes, coverage=coverage
                    )
            else:
                yield event
        self.error = judge.error or self.error

    def compare(self) -> Iterator[Event]:
        """What the ranks say beside each other, once all have been heard of a step."""
        if self.many:
            yield from self._compared(self.comparison.compare)

    def look(self, now: float, standings: Sequence[Standing]) -> Iterator[Event]:
        """Which ranks lag; to be asked once in a while."""
        yield from self._compared(lambda: self.comparison.look(now, standings))

    def attend(self) -> Iterator[tuple[int, bool]]:
        """Far ranks that are to send whole frames from now on, or no more."""
        off = [rank for flag in self.comparison.standing() for rank in flag.ranks]
        wanted = {rank for rank in off if rank >= FAR_RANK}
        for rank in sorted(self._attended - wanted):
            self._attended.discard(rank)
            yield rank, False
        for rank in sorted(wanted - self._attended)[: MOST_ATTENDED - len(self._attended)]:
            self._attended.add(rank)
            yield rank, True

    def _compared(self, judge: Callable[[], Iterator[tuple[int, Flag]]]) -> Iterator[Event]:
        step = 0
        try:
            changes = list(judge())
        except Exception as error:
            self.error = f"ranks cannot be compared: {type(error).__name__}: {error}"
            _log.exception(self.error)
            return
        for step, flag in changes:
            incident = self._of.get((BETWEEN, flag.id))
            if incident is None:
                incident = Incident(id=len(self._incidents) + 1)
                self._incidents.append(incident)
                self._of[BETWEEN, flag.id] = incident
            incident.between = flag
            yield FlagChange(seq=0, step=step, flag=self._flag(incident))
        said = self._together()
        if changes and said != self._said:
            self._said = said
            verdict, causes, coverage = said
            yield Diagnosis(seq=0, step=step, verdict=verdict, causes=causes, coverage=coverage)

    def opinion(self) -> tuple[Opinion, bool] | None:
        """What the rules say now, if it changed since the last call, and whether it got worse."""
        flags = [self._flag(incident) for incident in self._incidents]
        opinion = Opinion(verdict=self._said[0], flags=flags, causes=self._said[1])
        if opinion == self.told:
            return None
        self.told = opinion
        standing = {
            flag.id
            for flag in flags
            if flag.resolved_step is None and flag.severity in ("warning", "critical")
        }
        worse = bool(standing - self._standing)
        self._standing = standing
        return opinion, worse

    def _merged(self, rank: int, flag: Flag) -> Flag:
        incident = self._of.get((rank, flag.id))
        if incident is None:
            incident = next(
                (each for each in reversed(self._incidents) if each.takes(rank, flag)), None
            )
            if incident is None:
                incident = Incident(id=len(self._incidents) + 1)
                self._incidents.append(incident)
            self._of[rank, flag.id] = incident
        incident.parts[rank] = flag
        return self._flag(incident)

    def _flag(self, incident: Incident) -> Flag:
        return incident.flag(min(self._judges, default=0), many=self.many)

    def _together(self) -> tuple[str, list[Cause], list[Coverage]]:
        """Verdict, causes, coverage: of the worst rank first, of equals the lowest."""
        order = sorted(
            self._judges, key=lambda rank: (VERDICTS.index(self._judges[rank].said[0]), rank)
        )
        between = self.comparison.standing()
        verdicts = [self._judges[rank].said[0] for rank in order]
        verdicts += [VERDICTS[SEVERITIES.index(flag.severity)] for flag in between]
        # What only the ranks together show comes first: each of them sees what follows from it.
        causes = self.comparison.causes()
        for rank in order:
            known = {(cause.cause, cause.model) for cause in causes}
            more = [
                msgspec.structs.replace(cause, rank=rank)
                for cause in self._judges[rank].said[1]
                if (cause.cause, cause.model) not in known
            ]
            causes += more[: max(0, MOST_CAUSES - len(causes))] if causes else more
        coverage = self._judges[min(order)].coverage if order else []
        if self.many:
            coverage = [*coverage, self.comparison.coverage()]
        return min(verdicts, key=VERDICTS.index, default="healthy"), causes, coverage


def _only_on(ranks: list[int], lead: int) -> str:
    """What to add to the message of a flag that the leading rank does not show."""
    if not ranks or lead in ranks:
        return ""
    named = ", ".join(str(rank) for rank in ranks)
    return f" (only on rank {named})" if len(ranks) == 1 else f" (only on ranks {named})"
