"""How a model and its optimisers are set to be regularised, and since which step so strongly."""

from __future__ import annotations

import math

from deadband.wire import LayerTable, Model

_MORE_DROPPED = 0.05
"""By how much a dropout must rise to be another."""
_MORE_DECAY = 1.5
"""By what factor a weight decay must rise to be another."""


class Rise:
    """A figure that may have been raised in mid-run."""

    def __init__(self, figure: float) -> None:
        self.before = self.now = figure
        self.step: int | None = None
        """The first step that may have had it as high as now; None where it was never raised."""

    def change(self, step: int, figure: float, least: float) -> None:
        """It is told anew; `least`: from which on it is raised."""
        if figure > least:
            self.before, self.step = self.now, step
        elif figure < self.now:
            self.step = None
        self.now = figure


class Settings:
    """Dropout of one model and the strongest weight decay of the run."""

    def __init__(self, table: LayerTable, model: Model) -> None:
        self.dropout = Rise(model.dropout)
        self.decay = Rise(_decay(table))

    def change(self, step: int, table: LayerTable, model: Model) -> None:
        """A plan tells them anew; `step`: the first that it may have been so."""
        self.dropout.change(step, model.dropout, self.dropout.now + _MORE_DROPPED)
        self.decay.change(step, _decay(table), self.decay.now * _MORE_DECAY)


def _decay(table: LayerTable) -> float:
    """NaN where no optimiser is known yet: what is told later was so before."""
    return max((group.weight_decay for group in table.optimizers), default=math.nan)
