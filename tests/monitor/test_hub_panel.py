"""Several ranks, each judged by its own rules, told as one run; rules are doubles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import pytest
from test_hub_judgement import Statistics, frames, plan

from deadband.wire import (
    FAR_RANK,
    Cause,
    Coverage,
    Event,
    Flag,
    FlagChange,
    Hello,
    LayerTable,
    RunInfo,
    Sample,
)
from deadband_monitor.hub import judgement
from deadband_monitor.hub.panel import MOST_ATTENDED, Panel
from deadband_monitor.rules.base import Observation
from deadband_monitor.state.run_state import RunState


@dataclass
class Script:
    """Opens the flag of a rank at a step, closes it at another."""

    opens: int = 0
    closes: int = 0
    severity: str = "critical"
    flags: list[Flag] = field(default_factory=list)

    def adopt(self, table: LayerTable) -> None:
        self.table = table

    def observe(self, seen: Observation) -> list[Flag]:
        if seen.step == self.opens:
            self.flags.append(
                Flag(
                    id=1,
                    kind="input-anomaly",
                    severity=self.severity,
                    model="model",
                    layer="",
                    onset_step=seen.step - 1,
                    raised_step=seen.step,
                    message="the inputs are constant",
                )
            )
        elif seen.step == self.closes:
            self.flags[0].resolved_step = seen.step
        else:
            return []
        return list(self.flags)

    def causes(self) -> list[Cause]:
        standing = self.verdict() != "healthy"
        bad = Cause(cause="bad-data", confidence=0.9, evidence=["constant"], advice="look")
        return [bad] if standing else []

    def coverage(self) -> list[Coverage]:
        return []

    def verdict(self) -> str:
        standing = [flag for flag in self.flags if flag.resolved_step is None]
        if not standing:
            return "healthy"
        return "failing" if self.severity == "critical" else "warning"


class Ranks:
    """A panel whose ranks go by their scripts, and a viewer of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *scripts: Script) -> None:
        waiting = list(scripts)
        monkeypatch.setattr(judgement, "Statistician", Statistics)
        monkeypatch.setattr(judgement, "Engine", lambda: waiting.pop(0))
        self.panel = Panel()
        self.state = RunState()
        self.tell([RunInfo(seq=0, hello=hello(0))])
        for rank in range(len(scripts)):
            self.tell(list(self.panel.adopt(rank, plan())))

    def tell(self, events: Sequence[Event]) -> list[Event]:

        for event in events:
            self.state.apply(msgspec.structs.replace(event, seq=self.state.seq + 1))
        return list(events)

    def step(self, step: int) -> list[Flag]:
        """All ranks take a step; the changes of flags that are told."""
        told: list[Event] = []
        for rank in sorted(self.panel._judges):
            told += self.tell(list(self.panel.judge(rank, frames(step))))
        return [event.flag for event in told if isinstance(event, FlagChange)]


def hello(rank: int) -> Hello:
    return Hello(version=1, run="r", name="r", pid=100 + rank, started=0.0, rank=rank, world_size=2)


def test_what_all_ranks_show_is_one_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Ranks(monkeypatch, Script(opens=5, closes=8), Script(opens=5, closes=9))
    first, both = run.step(5)
    assert (first.id, first.ranks, both.id, both.ranks) == (1, [0], 1, [0, 1])
    assert both.message == "the inputs are constant"
    assert run.state.verdict == "failing"
    (one_left,) = run.step(8)
    assert (one_left.resolved_step, one_left.ranks) == (None, [1])
    (none_left,) = run.step(9)
    assert (none_left.resolved_step, none_left.onset_step) == (9, 4)
    assert list(run.state.flags) == [1]
    assert run.state.verdict == "healthy"


def test_what_one_rank_shows_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Ranks(monkeypatch, Script(), Script(opens=5))
    (flag,) = run.step(5)
    assert flag.ranks == [1]
    assert flag.message == "the inputs are constant (only on rank 1)"
    assert run.state.verdict == "failing"
    assert [(cause.cause, cause.rank) for cause in run.state.causes] == [("bad-data", 1)]


def test_a_rank_that_is_ahead_of_the_others_is_named_once_they_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    waiting = [Script(opens=5), Script()]
    monkeypatch.setattr(judgement, "Statistician", Statistics)
    monkeypatch.setattr(judgement, "Engine", lambda: waiting.pop(0))
    panel = Panel()
    panel.many = True
    list(panel.adopt(1, plan()))
    (early,) = [each for each in panel.judge(1, frames(5)) if isinstance(each, FlagChange)]
    assert (early.flag.ranks, early.flag.message) == ([1], "the inputs are constant")
    (again,) = [each for each in panel.adopt(0, plan()) if isinstance(each, FlagChange)]
    assert again.flag.message == "the inputs are constant (only on rank 1)"


def test_the_worst_rank_speaks_for_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Ranks(monkeypatch, Script(opens=5, severity="warning"), Script(opens=5))
    run.step(5)
    (flag,) = run.state.flags.values()
    assert (flag.severity, flag.ranks) == ("critical", [0, 1])
    assert [(cause.cause, cause.rank) for cause in run.state.causes] == [("bad-data", 1)]


def test_a_later_incident_of_the_same_kind_is_another_flag(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Ranks(monkeypatch, Script(opens=5, closes=8), Script(opens=20))
    for step in (5, 8, 20):
        run.step(step)
    assert [(flag.id, flag.ranks) for flag in run.state.flags.values()] == [(1, [0]), (2, [1])]


def test_each_rank_has_its_own_samples_and_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Ranks(monkeypatch, Script(), Script())
    run.step(1)
    run.step(2)
    assert (run.state.lead, run.state.samples, run.state.step) == (0, 2, 2)
    other = run.state.others[1]
    assert (other.samples, other.latest and other.latest.step) == (2, 2)
    assert other.table is not None
    assert run.state.table is not None
    assert (run.state.table.id, other.table.id, other.table.rank) == (1, 2, 1)
    again = RunState.unpack(run.state.pack()).others[1]
    assert (again.samples, again.last_scalar) == (other.samples, other.last_scalar)
    assert again.latest is not None
    assert again.latest.step == 2


def test_a_lower_rank_that_joins_later_stands_for_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Ranks(monkeypatch, Script(), Script())
    late = RunState()
    events: list[Event] = [RunInfo(seq=1, hello=hello(1))]
    panel = run.panel
    table = run.state.others[1].table
    assert table is not None
    events.append(table)
    events += [event for event in panel.judge(1, frames(1)) if isinstance(event, Sample)]
    events.append(RunInfo(seq=0, hello=hello(0)))
    assert run.state.table is not None
    events.append(run.state.table)
    events += [event for event in panel.judge(0, frames(1, 2)) if isinstance(event, Sample)]

    for seq, event in enumerate(events, 1):
        late.apply(msgspec.structs.replace(event, seq=seq))
    assert (late.lead, late.samples, late.others[1].samples) == (0, 2, 1)


def test_one_process_is_told_as_if_there_were_no_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    run = Ranks(monkeypatch, Script(opens=5, closes=8))
    assert run.panel.opinion() is None
    (flag,) = run.step(5)
    assert flag.ranks == []
    told = run.panel.opinion()
    assert told is not None
    opinion, worse = told
    assert (opinion.verdict, [each.id for each in opinion.flags], worse) == ("failing", [1], True)
    assert run.panel.opinion() is None
    run.step(8)
    told = run.panel.opinion()
    assert told is not None
    assert (told[0].verdict, told[1]) == ("healthy", False)


def test_a_far_rank_is_measured_in_full_only_while_something_is_off_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Ranks(monkeypatch, Script(), Script())
    monkeypatch.setattr(judgement, "Engine", Script)
    panel, far = run.panel, FAR_RANK + 3
    panel.many = True
    assert list(panel.adopt(far, plan(), far=True)) == [], "no table: it has no samples"
    assert list(panel.judge(far, frames(1))) == []
    off = Flag(
        id=1, kind="rank-divergence", severity="warning", model="model", layer="", onset_step=1,
        raised_step=1, ranks=[1, far],
    )  # fmt: skip
    standing = [off]
    monkeypatch.setattr(panel.comparison, "standing", lambda: standing)
    assert list(panel.attend()) == [(far, True)], "near ranks send whole frames anyway"
    assert list(panel.attend()) == []
    run.tell(list(panel.adopt(far, plan(), far=True)))
    run.tell(list(panel.judge(far, frames(2))))
    assert run.state.others[far].samples == 1
    standing.clear()
    assert list(panel.attend()) == [(far, False)]
    assert list(panel.adopt(far, plan(), far=True)) == []
    assert list(panel.judge(far, frames(3))) == []


def test_only_a_few_far_ranks_are_looked_at_closely(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = Panel()
    off = Flag(
        id=1, kind="rank-divergence", severity="warning", model="model", layer="", onset_step=1,
        raised_step=1, ranks=list(range(1024)),
    )  # fmt: skip
    monkeypatch.setattr(panel.comparison, "standing", lambda: [off])
    assert len(list(panel.attend())) == MOST_ATTENDED
    assert list(panel.attend()) == []
