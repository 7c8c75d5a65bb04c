"""The loss of every step since the last sample, and which of them are NaN rather than missing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics.values import Floats, Ints, Mask, RawFrame

_HABIT = 10
"""Finite losses in a row after which a NaN is taken for a loss: whoever gave ten gives the next."""


@dataclass(frozen=True, slots=True)
class FrameLosses:
    """Losses of the steps that a frame covers."""

    steps: Ints
    values: Floats
    """NaN where a step gave none, or NaN."""
    last: float
    """The last finite one, NaN without one."""
    now: float
    """That of the frame's own step, NaN if it is not there."""
    nonfinite: float
    """Share of the given ones that are NaN or infinite; NaN where none was given."""


class Losses:
    """Reads the losses of frames in order."""

    def __init__(self) -> None:
        self._in_a_row = 0
        self._plan: Plan | None = None
        self._place: tuple[int, int] | None = None
        """Where that plan's payloads hold losses, and how many."""

    def read(self, plan: Plan, frame: RawFrame, *, output_broken: bool) -> FrameLosses:
        """Losses of the next frame.

        Old clients do not say which losses were given. Then an infinite one was; a NaN was if the
        ten steps before gave finite ones, or if the model's output of this frame is not finite.
        """
        header = frame.header
        if plan is not self._plan:
            self._plan, self._place = plan, _place(plan)
        values = _taken(self._place, frame)
        steps = header.loss_first_step + np.arange(len(values), dtype=np.int64)
        at = header.step - header.loss_first_step
        now = values.item(at) if 0 <= at < len(values) else np.nan
        if all(map(math.isfinite, values.tolist())):  # nearly always
            self._in_a_row += len(values)
            last, share = (values.item(-1), 0.0) if len(values) else (np.nan, np.nan)
            return FrameLosses(steps, values, last, now, share)
        finite = np.isfinite(values)
        if len(header.loss_given) >= len(values):
            given: Mask = np.frombuffer(header.loss_given, np.uint8)[: len(values)] > 0
            given = given | finite
        else:
            given = self._guess_given(values, finite, output_broken)
        last = float(values[finite][-1]) if finite.any() else np.nan
        share = float((given & ~finite).sum() / given.sum()) if given.any() else np.nan
        return FrameLosses(steps, values, last, now, share)

    def _guess_given(self, values: Floats, finite: Mask, output_broken: bool) -> Mask:
        given = finite | np.isinf(values)
        for place, known in enumerate(given):
            if not known and self._in_a_row < _HABIT:
                given[place] = output_broken and place == len(given) - 1
                self._in_a_row = 0
            else:
                given[place] = True
                self._in_a_row += 1
        return given


def scalars(frame: RawFrame, losses: FrameLosses) -> dict[str, tuple[Ints, Floats]]:
    """The loss, the learning rates and the users' series of one frame."""
    series: dict[str, tuple[Ints, Floats]] = {}
    for name, points in frame.header.scalars.items():
        if points:
            series[name] = _points(points)
    if len(losses.steps):
        series["loss"] = (losses.steps, losses.values)
    return series


def _points(points: Sequence[tuple[int, float]]) -> tuple[Ints, Floats]:
    steps = np.array([step for step, _ in points], dtype=np.int64)
    return steps, np.array([value for _, value in points], dtype=np.float64).astype(np.float32)


def _place(plan: Plan) -> tuple[int, int] | None:
    for slot in plan.slots:
        if slot.what is What.LOSS:
            return slot.offset, math.prod(slot.shape)
    return None


def _taken(place: tuple[int, int] | None, frame: RawFrame) -> Floats:
    if place is None:
        return np.zeros(0, dtype=np.float32)
    offset, most = place
    return frame.payload[offset : offset + min(frame.header.loss_count, most)].copy()
