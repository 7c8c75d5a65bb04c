"""How statistics and rules meet the wire; both are replaced by doubles here."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from deadband.wire import (
    Cause,
    Coverage,
    Diagnosis,
    Flag,
    FlagChange,
    FrameHeader,
    Layer,
    LayerTable,
    Model,
    OptimizerGroup,
    Plan,
    Sample,
)
from deadband_monitor.hub import judgement
from deadband_monitor.hub.judgement import Judgement
from deadband_monitor.metrics import LAYER_METRICS, MODEL_METRICS
from deadband_monitor.rules.base import Observation
from deadband_monitor.statistics.values import Measured, RawFrame


class Statistics:
    """Measures nothing, gives each frame's step back; step 13 is bad luck."""

    def adopt(self, plan: Plan) -> None:
        if plan.id == 13:
            raise ZeroDivisionError("bad luck")
        self.plan = plan

    def measure(self, frames: Sequence[RawFrame]) -> list[Measured]:
        if any(frame.header.step == 13 for frame in frames):
            raise ZeroDivisionError("bad luck")
        return [self._one(frame.header.step) for frame in frames]

    def _one(self, step: int) -> Measured:
        at = np.array([step], np.int64)
        return Measured(
            step=step,
            time=float(step),
            layers=np.zeros((len(self.plan.layers), len(LAYER_METRICS)), np.float32),
            models=np.zeros((len(self.plan.models), len(MODEL_METRICS)), np.float32),
            scalars={
                "loss": (at, np.array([0.5], np.float32)),
                "lr": (at, np.array([0.1], np.float32)),
            },
        )


class Rules:
    """Opens a flag at step 5, closes it at step 8; step 17 is bad luck."""

    def __init__(self) -> None:
        self.flags: list[Flag] = []
        self.seen: list[Observation] = []

    def adopt(self, table: LayerTable) -> None:
        self.table = table

    def observe(self, seen: Observation) -> list[Flag]:
        self.seen.append(seen)
        if seen.step == 17:
            raise KeyError("bad luck")
        if seen.step == 5:
            self.flags.append(
                Flag(
                    id=1,
                    kind="saturation",
                    severity="critical",
                    model="model",
                    layer="fc",
                    onset_step=3,
                    raised_step=5,
                )
            )
            return list(self.flags)
        if seen.step == 8:
            self.flags[0].resolved_step = 8
            return list(self.flags)
        return []

    def causes(self) -> list[Cause]:
        if not self._standing():
            return []
        if self.seen[-1].step == 26:
            raise KeyError("no luck")
        return [Cause(cause="local-minimum", confidence=0.5, evidence=[], advice="restart")]

    def coverage(self) -> list[Coverage]:
        return []

    def verdict(self) -> str:
        return "failing" if self._standing() else "healthy"

    def _standing(self) -> bool:
        return any(flag.resolved_step is None for flag in self.flags)


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch, rules: Rules) -> Judgement:
    monkeypatch.setattr(judgement, "Statistician", Statistics)
    monkeypatch.setattr(judgement, "Engine", lambda: rules)
    return Judgement()


def plan(number: int = 1, layer: str = "fc", lr: float = 0.1) -> Plan:
    return Plan(
        id=number,
        layers=(Layer(name=layer, model="model", kind="Linear"),),
        models=(Model(name="model", kind="Net", parameters=1, trainable=1),),
        optimizers=(OptimizerGroup(optimizer="SGD", lr=lr),),
        slots=(),
        payload_bytes=0,
    )


def frames(*steps: int) -> list[RawFrame]:
    return [
        RawFrame(
            header=FrameHeader(plan=1, step=step, time=float(step), present=b""),
            payload=np.zeros(0, np.float32),
        )
        for step in steps
    ]


def test_a_sample_comes_before_what_is_said_of_it(judged: Judgement) -> None:
    assert [type(event) for event in judged.adopt(plan())] == [LayerTable]
    events = list(judged.judge(frames(4, 5, 6)))
    assert [type(event) for event in events] == [Sample, Sample, FlagChange, Diagnosis, Sample]
    assert isinstance(events[3], Diagnosis)
    assert (events[3].verdict, events[3].step) == ("failing", 5)


def test_a_flag_in_an_event_stays_as_it_was(judged: Judgement) -> None:
    list(judged.adopt(plan()))
    (_, opened, _, *_) = judged.judge(frames(5))
    (*_, closed, _) = judged.judge(frames(8))
    assert isinstance(opened, FlagChange)
    assert isinstance(closed, FlagChange)
    assert (opened.flag.resolved_step, closed.flag.resolved_step) == (None, 8)


def test_a_layer_table_comes_only_with_new_rows(judged: Judgement) -> None:
    ids = [
        [event.id for event in judged.adopt(each) if isinstance(event, LayerTable)]
        for each in (plan(1), plan(2), plan(3, layer="other"), plan(4, layer="other"))
    ]
    assert ids == [[1], [], [2], []]


def test_rules_see_losses_and_the_latest_learning_rates(judged: Judgement, rules: Rules) -> None:
    list(judged.adopt(plan()))
    list(judged.judge(frames(1)))
    (seen,) = rules.seen
    assert seen.loss_steps.tolist() == [1]
    assert seen.losses.tolist() == [0.5]
    assert seen.learning_rates == {"lr": pytest.approx(0.1)}


def test_an_error_in_statistics_costs_that_sample_and_is_said(judged: Judgement) -> None:
    list(judged.adopt(plan()))
    samples = [event for event in judged.judge(frames(12, 13, 14)) if isinstance(event, Sample)]
    assert [sample.step for sample in samples] == [12, 14]
    assert judged.error == "statistics failed at step 13: ZeroDivisionError: bad luck"


def test_an_error_in_rules_leaves_the_sample_and_is_said(judged: Judgement) -> None:
    list(judged.adopt(plan()))
    assert [type(event) for event in judged.judge(frames(17))] == [Sample]
    assert judged.error.startswith("rules failed at step 17: KeyError")


def test_a_flag_that_cannot_be_explained_stands_all_the_same(judged: Judgement) -> None:
    list(judged.adopt(plan()))
    told = list(judged.judge(frames(5, 26)))
    assert judged.error.startswith("causes cannot be named at step 26: KeyError")
    last = [event for event in told if isinstance(event, Diagnosis)][-1]
    assert (last.verdict, last.causes) == ("failing", [])


def test_a_plan_that_cannot_be_measured_costs_its_frames_only(judged: Judgement) -> None:
    assert list(judged.adopt(plan(13))) == []
    assert judged.error == "plan 13 cannot be measured: ZeroDivisionError: bad luck"
    assert list(judged.judge(frames(1))) == []
    list(judged.adopt(plan(14)))
    assert [type(event) for event in judged.judge(frames(2))] == [Sample]
