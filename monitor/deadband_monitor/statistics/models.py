"""Statistics of a model as a whole: its input, its output, its loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from deadband.wire import Plan, What
from deadband_monitor.statistics.layout import Batch
from deadband_monitor.statistics.losses import FrameLosses
from deadband_monitor.statistics.model_inputs import InputMemory, measure_inputs
from deadband_monitor.statistics.model_outputs import ModelOutputs, OutputMemory
from deadband_monitor.statistics.reader import ModelReader
from deadband_monitor.statistics.table import Table
from deadband_monitor.statistics.values import Mask


@dataclass(slots=True)
class ModelMemory:
    """What is remembered of one model from sample to sample, across plans."""

    inputs: InputMemory = field(default_factory=InputMemory)
    outputs: OutputMemory = field(default_factory=OutputMemory)


class ModelSlots:
    """Input, output, target and output gradient of one model under one plan."""

    def __init__(self, plan: Plan, index: int, memory: ModelMemory) -> None:
        self.reader = ModelReader(plan, index)
        self._memory = memory
        self._outputs = ModelOutputs(self.reader, memory.outputs)

    def output_broken(self, frames: Batch) -> Mask:
        """Which frames hold an output that is not finite, (frames,)."""
        taken = self.reader.take(frames, What.OUTPUT)
        if taken is None:
            return np.zeros(len(frames), dtype=np.bool_)
        with np.errstate(all="ignore"):
            suspect = taken.here & ~np.isfinite(taken.flat.sum(axis=1))
            return np.asarray(suspect & ~np.isfinite(taken.flat).all(axis=1))

    def measure(self, frames: Batch, losses: Sequence[FrameLosses], table: Table) -> None:
        """Fill the columns of the model's input, output and labels."""
        given = measure_inputs(self.reader, self._memory.inputs, frames, table)
        self._outputs.measure(frames, losses, given, table)
