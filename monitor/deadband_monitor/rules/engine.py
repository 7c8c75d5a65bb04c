"""Runs the rules over samples; opens, holds and closes flags; asks for causes.

Hysteresis, grouping and inhibition live here and nowhere else. One flag is one incident: the same
symptom in further layers of a model joins it as a follower. Pure and deterministic: the same
samples give the same flags.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
import numpy as np

from deadband.wire import Cause, Coverage, Flag, LayerTable
from deadband_monitor.rules.base import Finding, Observation, Rule
from deadband_monitor.rules.causes.naming import name_causes
from deadband_monitor.rules.coverage import cover
from deadband_monitor.rules.layout import Layout
from deadband_monitor.rules.past import Past
from deadband_monitor.rules.ruleset import INHIBITS, default_rules
from deadband_monitor.rules.shown import go_back, recall, shown

SEVERITIES = ("info", "warning", "critical")

REOPEN_STEPS = 100
"""A symptom back within this many steps of its recovery is the same incident."""

APART_STEPS = 40
"""Two samples so far apart are worth three in a row: what rules ask for is that it lasts, and at a
sample every fifty steps the third comes too late for a run of three hundred."""

RECONSIDER_SAMPLES = 10
"""While flags stand, causes are weighed anew this often: evidence goes on coming in."""

SOFTEN_STEPS = 20
"""A flag turns milder only after as many steps: severities that swing are one alarm, not ten."""


@dataclass(slots=True)
class _Subject:
    """One layer, or one model as a whole, under one rule."""

    last: Finding
    onset: int
    active: int = 0
    since: int = 0
    """Step of the first active sample in a row."""
    clear: int = 0
    member: bool = False


@dataclass(slots=True)
class _Incident:
    """One rule's subjects in one model, and the flag they share."""

    subjects: dict[str, _Subject] = field(default_factory=dict)
    flag: Flag | None = None
    milder: int = 0
    """Samples in a row that were milder than the flag."""
    worst_step: int = 0
    """Last step at which it was as bad as the flag says."""
    severity: str = ""
    """How bad its members were at the last sample; empty where subjects may have changed since."""


class Engine:
    """The rules of one run."""

    def __init__(self, rules: Iterable[Rule] | None = None) -> None:
        self.rules = tuple(default_rules() if rules is None else rules)
        self.past = Past()
        self.flags: list[Flag] = []
        """All flags of the run, in the order they were raised."""
        self._seen: dict[int, int] = {}
        """By flag: its onset as the samples tell it, before losses date it nearer."""
        self._incidents: dict[tuple[str, str], _Incident] = {}
        self._causes: list[Cause] = []
        self._coverage: list[Coverage] = []
        self._stale = False
        self._weighed_at = 0

    def adopt(self, table: LayerTable) -> None:
        """Take the layer table that the samples from now on follow."""
        self.past.adopt(Layout(table))

    def observe(self, seen: Observation) -> list[Flag]:
        """Judge one sample; the flags that were opened, changed or closed by it."""
        layout = self.past.layout
        if layout is None or layout.table is not seen.table:
            self.adopt(seen.table)
        # Losses and evaluations that come with nothing measured are judged, and explained, beside
        # what the sample before showed. Without it a rule would take back what it found, and no
        # cause could be named.
        measured, before = seen.measured, shown(self.past)
        changed: list[Flag] = []
        with np.errstate(all="ignore"):
            self.past.absorb(seen)
            if not measured:
                go_back(self.past, before)
            for rule in self.rules:
                changed += self._run(rule, seen)
            recall(self.past, before)
        due = measured and self.past.samples - self._weighed_at >= RECONSIDER_SAMPLES
        grown = due and bool(self._standing())
        if grown:
            self._weighed_at = self.past.samples
        self._stale = self._stale or bool(changed) or grown
        return changed

    def causes(self) -> list[Cause]:
        """Why the flags stand, best first; empty where only notes stand."""
        if self._stale:
            seen = [
                msgspec.structs.replace(flag, onset_step=self._seen[flag.id])
                for flag in self._standing()
            ]
            self._causes = name_causes(self.past, seen)
            self._stale = False
        return self._causes

    def verdict(self) -> str:
        """`failing` while a critical flag stands, `warning` while a warning does."""
        severities = {flag.severity for flag in self._standing()}
        if "critical" in severities:
            return "failing"
        return "warning" if "warning" in severities else "healthy"

    def coverage(self) -> list[Coverage]:
        """For each rule whether it can judge this run."""
        samples = self.past.samples
        if len(self._coverage) != len(self.rules) or samples <= 20 or samples % 10 == 0:
            self._coverage = [cover(rule, self.past) for rule in self.rules]
        return self._coverage

    def _standing(self) -> list[Flag]:
        return [flag for flag in self.flags if flag.resolved_step is None]

    def _run(self, rule: Rule, seen: Observation) -> list[Flag]:
        touched: set[str] = set()
        incident: _Incident | None = None
        model = None
        for finding in rule.judge(seen, self.past):
            if finding.model != model:  # nearly always that of the finding before
                model = finding.model
                incident = self._incidents.get((rule.kind, model))
            if finding.still:
                touched.add(finding.model)
                continue
            if incident is not None:
                incident.severity = ""
            if not finding.active and (incident is None or not incident.subjects):
                continue  # it does not show, and did not
            if incident is None:
                incident = self._incidents[rule.kind, finding.model] = _Incident()
            _count(rule, incident, finding, seen.step)
            touched.add(finding.model)
        changed: list[Flag] = []
        if not touched:  # nearly always
            return changed
        for model in sorted(touched):
            flag = self._settle(rule, model, seen.step)
            if flag is not None:
                changed.append(msgspec.structs.replace(flag))
        return changed

    def _settle(self, rule: Rule, model: str, step: int) -> Flag | None:
        """Open, change or close the flag of one incident; None where nothing is new."""
        incident = self._incidents[rule.kind, model]
        if incident.severity and incident.flag is not None:
            return self._grow(rule, incident, step)  # all as at the sample before
        ripe = any(_ripe(rule, s, step) for s in incident.subjects.values())
        standing = incident.flag is not None and incident.flag.resolved_step is None
        if ripe and not standing:
            if self._inhibited(rule.kind, model):
                return None
            return self._open(rule, model, incident, step)
        if not standing:
            return None
        assert incident.flag is not None
        if not any(s.member for s in incident.subjects.values()):
            return self._close(incident, model, step)
        return self._grow(rule, incident, step)

    def _open(self, rule: Rule, model: str, incident: _Incident, step: int) -> Flag:
        members = [s for s in incident.subjects.values() if s.active > 0]
        for subject in members:
            subject.member = True
        ordered = self._ordered(rule, members)
        root = ordered[0]
        flag = incident.flag
        severity = _worst(members)
        same = (
            flag is not None
            and flag.resolved_step is not None
            and step - flag.resolved_step <= REOPEN_STEPS
            and SEVERITIES.index(severity) <= SEVERITIES.index(flag.severity)
        )
        if same:
            assert flag is not None
            flag.resolved_step = None
            flag.severity = severity
        else:
            onset = min(root.onset, step)
            flag = Flag(
                id=len(self.flags) + 1,
                kind=rule.kind,
                severity=severity,
                model=model,
                layer=root.last.layer,
                onset_step=self.past.began(onset),
                raised_step=step,
                followers=[s.last.layer for s in ordered[1:]],
            )
            self.flags.append(flag)
            self._seen[flag.id] = onset
            incident.flag = flag
        _say(flag, root.last)
        self._note(flag)
        incident.worst_step = step
        return flag

    def _grow(self, rule: Rule, incident: _Incident, step: int) -> Flag | None:
        """Followers join and severity rises; neither makes a second flag."""
        flag = incident.flag
        assert flag is not None
        joined: list[str] = []
        if not incident.severity:
            joined = self._join(rule, incident, flag, step)
            active = [s for s in incident.subjects.values() if s.member and s.active > 0]
            incident.severity = _worst(active) if active else ""
        severity = incident.severity or flag.severity
        rose = SEVERITIES.index(severity) > SEVERITIES.index(flag.severity)
        milder = SEVERITIES.index(severity) < SEVERITIES.index(flag.severity)
        incident.milder = incident.milder + 1 if milder else 0
        if not milder:
            incident.worst_step = step
        fell = (
            incident.milder >= rule.samples_to_close and step - incident.worst_step >= SOFTEN_STEPS
        )
        if not (joined or rose or fell):
            return None
        if rose or fell:
            members = [s for s in incident.subjects.values() if s.member and s.active > 0]
            worst = next(s for s in self._ordered(rule, members) if s.last.severity == severity)
            flag.severity = severity
            _say(flag, worst.last)
        self._note(flag)
        return flag

    def _join(self, rule: Rule, incident: _Incident, flag: Flag, step: int) -> list[str]:
        """The layers that show it by now and that the flag did not name yet."""
        new = [s for s in incident.subjects.values() if not s.member and _ripe(rule, s, step)]
        for subject in new:
            subject.member = True
        known = {flag.layer, *flag.followers}
        joined = [s.last.layer for s in self._ordered(rule, new) if s.last.layer not in known]
        flag.followers.extend(joined)
        return joined

    def _close(self, incident: _Incident, model: str, step: int) -> Flag:
        flag = incident.flag
        assert flag is not None
        flag.resolved_step = step
        flag.message = f"recovered at step {step}: {flag.message.split(': ', 1)[-1]}"
        self.past.standing.pop((flag.kind, model), None)
        incident.subjects = {k: s for k, s in incident.subjects.items() if s.active > 0}
        return flag

    def _note(self, flag: Flag) -> None:
        self.past.standing[flag.kind, flag.model] = (
            flag.severity,
            self._seen[flag.id],
            flag.raised_step,
        )

    def _inhibited(self, kind: str, model: str) -> bool:
        return any(
            kind in INHIBITS.get(other, frozenset()) and severity == "critical"
            for (other, owner), (severity, _, _) in self.past.standing.items()
            if owner == model
        )

    def _ordered(self, rule: Rule, subjects: list[_Subject]) -> list[_Subject]:
        """Root first: worst severity, then execution order (reversed for backward symptoms)."""
        layout = self.past.layout
        assert layout is not None
        sign = -1 if rule.backward else 1

        def place(subject: _Subject) -> tuple[int, int]:
            row = layout.row_of.get((subject.last.model, subject.last.layer), -1)
            return -SEVERITIES.index(subject.last.severity), sign * row

        return sorted(subjects, key=place)


def _count(rule: Rule, incident: _Incident, finding: Finding, step: int) -> None:
    """Fold one finding into its subject's counters."""
    subject = incident.subjects.get(finding.layer)
    if finding.active:
        if subject is None:
            subject = incident.subjects[finding.layer] = _Subject(finding, step)
        if subject.active == 0:
            subject.since = step
        if subject.active == 0 and not subject.member:
            subject.onset = finding.onset_step if finding.onset_step is not None else step
        subject.active += 1
        subject.clear = 0
        subject.last = finding
        return
    if subject is None:
        return
    subject.active = 0
    subject.clear = subject.clear + 1 if finding.clear else 0
    if subject.clear >= rule.samples_to_close:
        subject.member = False
        del incident.subjects[finding.layer]
    elif not subject.member and finding.clear:
        del incident.subjects[finding.layer]


def _ripe(rule: Rule, subject: _Subject, step: int) -> bool:
    """Whether it has shown for long enough to be said."""
    lasted = subject.active >= 2 and step - subject.since >= APART_STEPS
    return lasted or subject.active >= rule.samples_to_open


def _worst(subjects: list[_Subject]) -> str:
    return max({s.last.severity for s in subjects}, key=SEVERITIES.index)


def _say(flag: Flag, finding: Finding) -> None:
    """Words are made now, and not at each sample of each layer."""
    words = finding.words()
    flag.evidence, flag.message = dict(words.evidence), words.message
