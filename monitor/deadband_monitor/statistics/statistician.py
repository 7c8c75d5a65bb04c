"""Frames in, statistics out: holds what must be remembered between samples, delegates the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from deadband.wire import Plan
from deadband_monitor.metrics import LAYER_COLUMN, MODEL_COLUMN
from deadband_monitor.statistics.activations import ActivationMemory, Activations
from deadband_monitor.statistics.attention import Attention
from deadband_monitor.statistics.evaluations import EvaluationLosses
from deadband_monitor.statistics.layout import Batch, Places
from deadband_monitor.statistics.losses import FrameLosses, Losses, scalars
from deadband_monitor.statistics.models import ModelMemory, ModelSlots
from deadband_monitor.statistics.norms import Norms
from deadband_monitor.statistics.pairs import pairs, put_diversity
from deadband_monitor.statistics.parameters import Parameters, WeightMemory
from deadband_monitor.statistics.reach import Reach
from deadband_monitor.statistics.summaries import Summaries
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.tested import Tested
from deadband_monitor.statistics.values import Mask, Measured, RawFrame

_BATCH_ELEMENTS = 6 << 20
"""Elements of payload measured in one go, 24 MiB: bounds the memory of a pass over many frames.
Three of 300 layers at once take two thirds of what they take one by one."""

_SKIPS_FORGIVEN = 3
"""A GradScaler finds its scale by letting steps fail, one or two at a time; with more in a row it
does not find it, and the infinite gradients are reported."""
_SKIP_WINDOW = 20
"""Samples that the share of skipped steps is of; those before the run count as carried out, so that
the one or two that find the scale are no large share of few."""


class Statistician:
    """Turns the frames of one run into samples.

    Remembers first weights, label windows and the like by the names of models and layers, so a new
    plan goes on where the old one stopped. Frames must come in the order of their steps.
    """

    def __init__(self) -> None:
        self._plan: Plan | None = None
        self._activation_memory = ActivationMemory()
        self._weight_memory = WeightMemory()
        self._model_memory: dict[str, ModelMemory] = {}
        self._losses = Losses()
        self._evaluations = EvaluationLosses()
        self._skips_in_a_row = 0
        self._skips: deque[bool] = deque([False] * _SKIP_WINDOW, maxlen=_SKIP_WINDOW)
        self._rate = np.nan

    def adopt(self, plan: Plan) -> None:
        """Read the frames that follow by this plan."""
        self._plan = plan
        self._places = Places(plan)
        self._activations = Activations(plan, self._activation_memory)
        self._parameters = Parameters(plan, self._weight_memory)
        self._norms = Norms(plan)
        self._tested = Tested(plan)
        self._attention = Attention(plan)
        self._reach = Reach(plan)
        self._summaries = Summaries(plan)
        self._models = [
            ModelSlots(plan, index, self._model_memory.setdefault(model.name, ModelMemory()))
            for index, model in enumerate(plan.models)
        ]
        self._pairs = pairs([model.reader for model in self._models])
        if np.isnan(self._rate) and plan.optimizers:
            self._rate = plan.optimizers[0].lr

    def measure(self, frames: Sequence[RawFrame]) -> list[Measured]:
        """Statistics of each frame, all taken under the adopted plan."""
        if self._plan is None or not frames:
            return []
        measured: list[Measured] = []
        at_once = max(1, _BATCH_ELEMENTS * 4 // max(1, self._plan.payload_bytes))
        with np.errstate(all="ignore"):
            for start in range(0, len(frames), at_once):
                measured += self._measure(self._plan, frames[start : start + at_once])
        return measured

    def _measure(self, plan: Plan, frames: Sequence[RawFrame]) -> list[Measured]:
        layers = Table(len(frames), len(plan.layers), LAYER_COLUMN)
        models = Table(len(frames), len(plan.models), MODEL_COLUMN)
        frames = Batch.of(self._places, frames)
        stepped = np.array([not frame.header.skipped for frame in frames])
        judged = self._judged(stepped)
        self._activations.measure(frames, layers, judged)
        self._parameters.measure(frames, layers, stepped, judged)
        self._norms.measure(frames, layers)
        self._tested.measure(frames, layers)
        self._attention.measure(frames, layers)

        broken = np.zeros(len(frames), dtype=np.bool_)
        for model in self._models:
            broken |= model.output_broken(frames)
        losses = [
            self._losses.read(plan, frame, output_broken=bool(bad))
            for frame, bad in zip(frames, broken, strict=True)
        ]
        for model in self._models:
            model.measure(frames, losses, models)
        for pair in self._pairs:
            put_diversity(pair, frames, models)
        self._summaries.put(layers, models)
        self._reach.measure(frames, layers, models, stepped)
        evaluated = [self._evaluations.read(frame) for frame in frames]
        self._put_losses(plan, losses, evaluated, models)
        series_of = []
        for place, (frame, loss) in enumerate(zip(frames, losses, strict=True)):
            series = scalars(frame, loss)
            if "lr" in series:
                self._rate = float(series["lr"][1][-1])
            models.put_one("lr", place, slice(None), self._rate)
            self._skips.append(frame.header.skipped)
            models.put_one("skipped", place, slice(None), sum(self._skips) / _SKIP_WINDOW)
            series_of.append(series)
        return [
            Measured(
                step=frame.header.step,
                time=frame.header.time,
                layers=rows,
                models=row,
                scalars=series,
            )
            for frame, rows, row, series in zip(
                frames, layers.finished(), models.finished(), series_of, strict=True
            )
        ]

    def _judged(self, stepped: Mask) -> Mask:
        """Frames whose gradients count: those that were stepped, and long rows of skipped ones."""
        judged = stepped.copy()
        for place, carried_out in enumerate(stepped):
            self._skips_in_a_row = 0 if carried_out else self._skips_in_a_row + 1
            judged[place] |= self._skips_in_a_row > _SKIPS_FORGIVEN
        return judged

    @staticmethod
    def _put_losses(
        plan: Plan, losses: Sequence[FrameLosses], evaluated: Sequence[float], models: Table
    ) -> None:
        """The run's loss goes to the models that have one; to all where none is known to."""
        named = [index for index, model in enumerate(plan.models) if model.loss]
        index = np.array(named or range(len(plan.models)), dtype=np.int64)
        shape = (len(losses), len(index))
        last = np.repeat([loss.last for loss in losses], len(index)).reshape(shape)
        evaluations = np.repeat(evaluated, len(index)).reshape(shape)
        share = np.repeat([loss.nonfinite for loss in losses], len(index)).reshape(shape)
        models.put("loss", index, last, ~np.isnan(last))
        models.put("eval_loss", index, evaluations, ~np.isnan(evaluations))
        models.worst_nonfinite(index, share, ~np.isnan(share))
