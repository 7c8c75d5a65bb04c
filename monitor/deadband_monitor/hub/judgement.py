"""From frames to what is known of them: statistics, then rules, as events of the run.

Statistics and rules are pure; this is where their words meet the vocabulary of the wire. An error
in one of them is said once and costs that sample, never the hub.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from itertools import count

import msgspec
import numpy as np

from deadband.wire import (
    Cause,
    Coverage,
    Diagnosis,
    Event,
    Flag,
    FlagChange,
    LayerTable,
    Plan,
    Points,
    Sample,
)
from deadband_monitor.metrics import LAYER_METRICS, MODEL_METRICS
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.engine import Engine
from deadband_monitor.statistics.statistician import Statistician
from deadband_monitor.statistics.values import Measured, RawFrame

_log = logging.getLogger(__name__)


class Judgement:
    """Statistics and rules of one rank.

    Args:
        rank: whose frames they are.
        tables: numbers for layer tables, unique in the run.
    """

    def __init__(self, rank: int = 0, tables: Iterator[int] | None = None) -> None:
        self.rank = rank
        self._tables = count(1) if tables is None else tables
        self.statistician = Statistician()
        self.engine = Engine()
        self.error = ""
        """What went wrong inside last; empty while nothing did."""
        self._table: LayerTable | None = None
        self._rates: dict[str, float] = {}
        self.said: tuple[str, list[Cause]] = ("healthy", [])
        """Verdict and causes as of the last sample."""
        self.coverage: list[Coverage] = []
        self._deaf = False
        """The plan could not be adopted: its frames mean nothing to us."""

    def adopt(self, plan: Plan) -> Iterator[Event]:
        """Measure by this plan from now on; a layer table where rows change their meaning."""
        try:
            yield from self._adopt(plan)
            self._deaf = False
        except Exception as error:
            self._confess(f"plan {plan.id} cannot be measured", error)
            self._deaf = True

    def _adopt(self, plan: Plan) -> Iterator[Event]:
        self.statistician.adopt(plan)
        old = self._table
        if old and (old.layers, old.models, old.optimizers) == (
            plan.layers,
            plan.models,
            plan.optimizers,
        ):
            return
        table = LayerTable(
            seq=0,
            id=next(self._tables),
            layers=plan.layers,
            models=plan.models,
            optimizers=plan.optimizers,
            layer_metrics=tuple(metric.name for metric in LAYER_METRICS),
            model_metrics=tuple(metric.name for metric in MODEL_METRICS),
            rank=self.rank,
        )
        self.engine.adopt(table)
        self._table = table
        yield table

    def judge(self, frames: Sequence[RawFrame]) -> Iterator[Event]:
        """Samples, and after each what the rules say of it."""
        if self._deaf:
            return
        try:
            measured = self.statistician.measure(frames)
        except Exception as error:
            if len(frames) > 1:  # one odd frame must not cost the others of its batch
                for frame in frames:
                    yield from self.judge([frame])
            else:
                self._confess(f"statistics failed at step {frames[0].header.step}", error)
            return
        for one in measured:
            yield from self._judge_one(one)

    def _judge_one(self, one: Measured) -> Iterator[Event]:
        table = self._table
        assert table is not None, "frames come after their plan"
        yield Sample(
            seq=0,
            step=one.step,
            time=one.time,
            rank=self.rank,
            table=table.id,
            layers=one.layers.tobytes(),
            models=one.models.tobytes(),
            scalars={
                name: Points(
                    steps=np.asarray(steps, np.int64).tobytes(),
                    values=np.asarray(values, np.float32).tobytes(),
                )
                for name, (steps, values) in one.scalars.items()
            },
        )
        for name, (_, values) in one.scalars.items():
            if len(values) and (name == "lr" or name.startswith("lr/")):
                self._rates[name] = float(values[-1])
        nothing = (np.zeros(0, np.int64), np.zeros(0, np.float32))
        loss_steps, losses = one.scalars.get("loss", nothing)
        try:
            changed = self.engine.observe(
                Observation(
                    step=one.step,
                    table=table,
                    layers=one.layers,
                    models=one.models,
                    loss_steps=loss_steps,
                    losses=losses,
                    learning_rates=dict(self._rates),
                )
            )
        except Exception as error:
            self._confess(f"rules failed at step {one.step}", error)
            return
        for flag in changed:
            yield FlagChange(seq=0, step=one.step, flag=_own(flag))
        verdict, causes, coverage = self.engine.verdict(), [], self.coverage
        try:  # a flag that cannot be explained stands all the same
            causes = list(self.engine.causes())
            coverage = list(self.engine.coverage())
        except Exception as error:
            self._confess(f"causes cannot be named at step {one.step}", error)
        if (verdict, causes) != self.said or coverage != self.coverage:
            self.said, self.coverage = (verdict, causes), coverage
            yield Diagnosis(seq=0, step=one.step, verdict=verdict, causes=causes, coverage=coverage)

    def _confess(self, what: str, error: Exception) -> None:
        if not self.error:
            _log.exception(what)
        self.error = f"{what}: {type(error).__name__}: {error}"


def _own(flag: Flag) -> Flag:
    """A copy that stays as it is while the engine goes on changing its own."""
    return msgspec.structs.replace(
        flag, followers=list(flag.followers), evidence=dict(flag.evidence)
    )
