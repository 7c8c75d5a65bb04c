"""Watches a scenario with the real client and judges it by the real statistics and rules.

No hub process: frames go from the client's recorder straight into one lane per cadence. A lane
sees the first ten steps and then every k-th, as the governor would give it, with the losses of all
steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import numpy as np
import torch
from torch import nn

from deadband import recorder as client_recorder
from deadband import watching
from deadband.settings import Settings
from deadband.wire import Cause, Flag, FrameHeader, LayerTable, Plan, What
from deadband_monitor.metrics import LAYER_METRICS, MODEL_METRICS
from deadband_monitor.rules.base import Observation
from deadband_monitor.rules.engine import Engine
from deadband_monitor.statistics.statistician import Statistician
from deadband_monitor.statistics.values import RawFrame
from scoreboard.scenario import Scenario, Shown, Training, Verdict, train

__all__ = ["CADENCES", "Outcome", "Scenario", "Training", "judge", "record"]

CADENCES = (1, 10, 50)

BATCH = 16
"""Frames measured in one go: the statistics are batched, and the board has a hundred thousand."""


@dataclass(slots=True)
class Outcome:
    """What the rules said of one run at one cadence."""

    every: int
    verdict: str
    flags: list[Flag]
    """Those that stand at the end."""
    causes: list[Cause]
    alarms: list[Flag] = field(default_factory=list)
    """Every flag that was ever critical or warning, as it was then."""
    first_critical: int | None = None
    first_alarm: int | None = None
    """Step of the first warning or critical flag."""
    first_cause: int | None = None
    """First step from which on the cause that stands at the end was first."""
    samples: int = 0


class Lane:
    """Frames of one cadence, turned into observations."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.observations: list[Observation] = []
        self._statistician = Statistician()
        self._table: LayerTable | None = None
        self._rates: dict[str, float] = {}
        self._loss_slot = 0
        self._losses: list[tuple[int, float]] = []
        self._scalars: dict[str, list[tuple[int, float]]] = {}
        self._given = bytearray()
        self._waiting: list[RawFrame] = []
        self._newest: RawFrame | None = None
        """The last frame that came, kept or not; its payload is not its own."""

    def adopt(self, plan: Plan) -> None:
        self.measure()
        self._statistician.adopt(plan)
        self._loss_slot = next(s.offset for s in plan.slots if s.what is What.LOSS)
        old = self._table
        if old and (old.layers, old.models, old.optimizers) == (
            plan.layers,
            plan.models,
            plan.optimizers,
        ):
            return
        self._table = LayerTable(
            seq=0,
            id=old.id + 1 if old else 1,
            layers=plan.layers,
            models=plan.models,
            optimizers=plan.optimizers,
            layer_metrics=tuple(m.name for m in LAYER_METRICS),
            model_metrics=tuple(m.name for m in MODEL_METRICS),
        )

    def take(self, header: FrameHeader, payload: np.ndarray) -> None:
        values = payload[self._loss_slot : self._loss_slot + header.loss_count]
        self._losses += [
            (header.loss_first_step + i, float(v)) for i, v in enumerate(values.tolist())
        ]
        self._given += header.loss_given or bytes([1] * header.loss_count)
        for name, points in header.scalars.items():
            self._scalars.setdefault(name, []).extend(points)
        self._newest = RawFrame(header, payload)
        if header.step <= 10 or header.step % self.every == 0:
            self._keep(header, payload)

    def rest(self) -> None:
        """The run is over: losses and scalars since the last sample come as the client sends them.

        That frame measures nothing.
        """
        last = self._newest
        if last is not None and (self._losses or self._scalars):
            nothing = bytes([1, *bytes(len(last.header.present) - 1)])
            self._keep(msgspec.structs.replace(last.header, present=nothing), last.payload)
        self.measure()

    def _keep(self, header: FrameHeader, payload: np.ndarray) -> None:
        merged = payload.copy()
        merged[self._loss_slot : self._loss_slot + len(self._losses)] = [v for _, v in self._losses]
        header = msgspec.structs.replace(
            header,
            loss_first_step=self._losses[0][0] if self._losses else header.step,
            loss_count=len(self._losses),
            loss_given=bytes(self._given),
            scalars=self._scalars,
        )
        self._losses, self._scalars, self._given = [], {}, bytearray()
        self._waiting.append(RawFrame(header, merged))
        if len(self._waiting) >= BATCH:
            self.measure()

    def measure(self) -> None:
        """Turn what waits into observations, as the hub does."""
        for measured in self._statistician.measure(self._waiting):
            assert self._table is not None
            for name, (_, values) in measured.scalars.items():
                if len(values) and (name == "lr" or name.startswith("lr/")):
                    self._rates[name] = float(values[-1])
            steps, losses = measured.scalars.get(
                "loss", (np.zeros(0, np.int64), np.zeros(0, np.float32))
            )
            self.observations.append(
                Observation(
                    step=measured.step,
                    table=self._table,
                    layers=measured.layers.copy(),
                    models=measured.models.copy(),
                    loss_steps=steps,
                    losses=losses,
                    learning_rates=dict(self._rates),
                )
            )
        self._waiting.clear()


def judge(every: int, observations: list[Observation]) -> Outcome:
    """Run the rules over one recorded lane."""
    engine = Engine()
    out = Outcome(every=every, verdict="healthy", flags=[], causes=[])
    tops: list[tuple[int, str]] = []
    for seen in observations:
        for flag in engine.observe(seen):
            if flag.severity != "info" and flag.resolved_step is None:
                out.alarms.append(own(flag))
                out.first_alarm = out.first_alarm or seen.step
            if flag.severity == "critical" and flag.resolved_step is None:
                out.first_critical = out.first_critical or seen.step
        causes = engine.causes()
        top = causes[0].cause if causes else ""
        if not tops or tops[-1][1] != top:
            tops.append((seen.step, top))
        out.samples += 1
    out.verdict = engine.verdict()
    out.flags = [own(f) for f in engine.flags if f.resolved_step is None]
    out.causes = list(engine.causes())
    if out.causes:
        out.first_cause = tops[-1][0]
    return out


def own(flag: Flag) -> Flag:
    """A copy: the engine writes on in its own."""
    return msgspec.structs.replace(flag)


class Tap:
    """Stands where the client's arena is: hands frames on at once."""

    lanes: list[Lane] = []  # noqa: RUF012
    stride = 1

    def __init__(self, path: Path, payload_bytes: int) -> None:
        self.waiting, self.has_room, self.dropped = 0, True, 0
        self.failed = False
        self.length, self.place = 1, 0
        self.path = path
        self._payload = np.zeros(payload_bytes // 4, np.float32)

    def payload(self, place: int) -> np.ndarray:
        return self._payload

    def write(self, header: bytes, payload: np.ndarray | None) -> bool:
        decoded = msgspec.msgpack.decode(header, type=FrameHeader)
        for lane in Tap.lanes:
            lane.take(decoded, self._payload if payload is None else payload)
        return True

    def close(self, *, unlink: bool) -> None:
        """Nothing to let go of."""


class PlanTap:
    """Stands where the client's link is: hands plans on."""

    patience_s = 0.0

    def post(self, message: object) -> None:
        if isinstance(message, Plan):
            for lane in Tap.lanes:
                lane.adopt(message)

    @property
    def is_free(self) -> bool:
        return True

    def close(self, bye: object) -> bool:
        return True

    def hear_out(self) -> None:
        """Nobody says anything."""

    def abandon(self) -> None:
        """Nothing to let go of."""


class Recorder:
    """deadband as a listener: everything is measured, and judged in the end."""

    def __init__(self, cadences: tuple[int, ...] = CADENCES, judging: bool = True) -> None:
        self.judging = judging
        self.lanes = [Lane(every) for every in cadences]
        self._watch: watching.Watch | None = None
        self._open = ExitStack()

    def on_start(self, model: nn.Module | Mapping[str, nn.Module], optimizer: Any) -> None:
        Tap.lanes = self.lanes
        self._open.enter_context(mock.patch.object(client_recorder, "Arena", Tap))
        self._watch = watching.Watch(
            {"model": model} if isinstance(model, nn.Module) else dict(model),
            optimizer if isinstance(optimizer, list) else [optimizer],
            name="scoreboard",
            run="scoreboard",
            settings=Settings(every=1, budget=None, hub=False),
        )
        self._watch._link = PlanTap()

    def on_arrays(self, arrays: Sequence[Shown]) -> None:
        assert self._watch is not None
        for each in arrays:
            self._watch.observe(each.name, each.value, each.activation, each.role)

    def on_step(self, step: int, loss: torch.Tensor) -> None:
        assert self._watch is not None
        self._watch.step(loss=loss)

    def close(self) -> None:
        """End the watching."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._open.close()
        for lane in self.lanes:
            lane.rest()

    def verdict(self) -> Verdict:
        self.close()
        if not self.judging:
            return Verdict(verdict="healthy")
        outcome = judge(self.lanes[0].every, self.lanes[0].observations)
        return Verdict(
            verdict=outcome.verdict,
            causes=tuple(cause.cause for cause in outcome.causes),
            first_alarm=outcome.first_alarm,
        )


def record(
    scenario: Scenario, cadences: tuple[int, ...] = CADENCES
) -> tuple[dict[int, list[Observation]], float]:
    """Train the scenario once; its observations per cadence and its true skill at the end."""
    recorder = Recorder(cadences, judging=False)
    try:
        _, score = train(scenario, recorder)
    finally:
        recorder.close()
    if not all(lane.observations for lane in recorder.lanes):
        # The client never raises into training: what broke it would pass as a run without an alarm.
        raise RuntimeError(f"nothing was measured of {scenario.name}")
    return {lane.every: lane.observations for lane in recorder.lanes}, score
