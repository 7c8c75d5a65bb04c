"""Trains a network under the real client, judges it by the real statistics and rules, in-process.

No hub process: frames go from the client's recorder straight into one lane per cadence. A lane
sees the first ten steps and then every k-th, as the governor would give it, with the losses of all
steps.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping
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

CADENCES = (1, 10, 50)


@dataclass(slots=True)
class Training:
    """A loop ready to run."""

    model: nn.Module | Mapping[str, nn.Module]
    optimizer: Any
    step: Callable[[int], torch.Tensor]
    """Trains step k (from 1), returns its loss."""
    score: Callable[[], float] | None = None
    """Skill at the end on the training data, 1 = perfect, 0 = constant answer."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way to train, and what should be said of it."""

    name: str
    build: Callable[[], Training]
    causes: frozenset[str] = frozenset()
    """Right answers; empty with `fails` where any of the five may not be named."""
    fails: bool = False
    onset: int = 1
    """Step at which the fault is at work."""
    steps: int = 400
    optional: bool = False
    """Failing in a way that these rules need not see (no collapse)."""

    @property
    def held_out(self) -> bool:
        """Half of all scenarios, by name: not looked at while the rules were made."""
        return zlib.crc32(self.name.encode()) % 2 == 1


@dataclass(slots=True)
class Outcome:
    """What the rules said of one run at one cadence."""

    every: int
    verdict: str
    flags: list[Flag]
    causes: list[Cause]
    alarms: list[Flag] = field(default_factory=list)
    """Every flag that was ever critical or warning, as it was then."""
    first_critical: int | None = None
    first_cause: int | None = None
    """First step at which the cause that stands at the end was first."""
    samples: int = 0


BATCH = 16
"""Frames measured in one go: the statistics are batched, and a corpus has a hundred thousand."""


class Lane:
    """Frames of one cadence, turned into observations."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.observations: list[Observation] = []
        self._statistician = Statistician()
        self._table: LayerTable | None = None
        self._loss_slot = 0
        self._losses: list[tuple[int, float]] = []
        self._scalars: dict[str, list[tuple[int, float]]] = {}
        self._given = bytearray()
        self._waiting: list[RawFrame] = []

    def adopt(self, plan: Plan) -> None:
        self.measure()
        self._statistician.adopt(plan)
        self._loss_slot = next(s.offset for s in plan.slots if s.what is What.LOSS)
        self._table = LayerTable(
            seq=0,
            id=plan.id,
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
        if header.step > 10 and header.step % self.every:
            return
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
        """Turn what waits into observations."""
        for measured in self._statistician.measure(self._waiting):
            assert self._table is not None
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
                out.alarms.append(flag)
            if flag.severity == "critical" and flag.resolved_step is None:
                out.first_critical = out.first_critical or seen.step
        causes = engine.causes()
        top = causes[0].cause if causes else ""
        if not tops or tops[-1][1] != top:
            tops.append((seen.step, top))
        out.samples += 1
    out.verdict = engine.verdict()
    out.flags = [replace_flag(f) for f in engine.flags if f.resolved_step is None]
    out.causes = list(engine.causes())
    if out.causes:
        out.first_cause = tops[-1][0]
    return out


def replace_flag(flag: Flag) -> Flag:
    return msgspec.structs.replace(flag)


class Tap:
    """Stands where the client's arena is: hands frames on at once."""

    lanes: list[Lane] = []  # noqa: RUF012

    def __init__(self, path: Path, payload_bytes: int) -> None:
        self.waiting, self.keeps_up, self.has_room, self.dropped = 0, True, True, 0
        self.path = path

    def write(self, header: bytes, payload: np.ndarray) -> bool:
        decoded = msgspec.msgpack.decode(header, type=FrameHeader)
        for lane in Tap.lanes:
            lane.take(decoded, payload)
        return True

    def close(self, *, unlink: bool) -> None:
        """Nothing to let go of."""


class PlanTap:
    """Stands where the client's link is: hands plans on."""

    def post(self, message: object) -> None:
        if isinstance(message, Plan):
            for lane in Tap.lanes:
                lane.adopt(message)

    @property
    def is_free(self) -> bool:
        return True

    def close(self, bye: object) -> bool:
        return True

    def abandon(self) -> None:
        """Nothing to let go of."""


def record(
    scenario: Scenario, cadences: tuple[int, ...] = CADENCES
) -> tuple[dict[int, list[Observation]], float]:
    """Train the scenario once; its observations per cadence and its true skill at the end."""
    torch.set_num_threads(1)
    torch.manual_seed(zlib.crc32(scenario.name.encode()) % 10_000)
    training = scenario.build()
    lanes = [Lane(every) for every in cadences]
    Tap.lanes = lanes
    with mock.patch.object(client_recorder, "Arena", Tap):
        models = training.model
        named = {"model": models} if isinstance(models, nn.Module) else dict(models)
        optimizers = training.optimizer
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        watch = watching.Watch(
            named,
            optimizers,
            name="scoreboard",
            run="scoreboard",
            settings=Settings(every=1, budget=None, hub=False),
        )
        watch._link = PlanTap()
        for k in range(1, scenario.steps + 1):
            loss = training.step(k)
            watch.step(loss=loss)
        watch.close()
    for lane in lanes:
        lane.measure()
    score = training.score() if training.score else math.nan
    return {lane.every: lane.observations for lane in lanes}, float(score)
