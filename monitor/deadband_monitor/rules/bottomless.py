"""Losses that the optimiser can lower for ever, because a sign is wrong: the worse, the lower."""

from __future__ import annotations

import math

from deadband_monitor.rules.trend import History

TURNED = 0.4
"""Of what a constant answer loses. Minus a loss begins near minus that of a constant answer; what
else is subtracted (an entropy's share, a penalty's margin) is a small part of it."""
BOTTOM_STEPS = 100
FALLEN = 30.0
"""Times its first size that a loss lies below zero without slowing down, while outputs have grown
`OUTGROWN`-fold. Densities fall below zero too, by a few nats an element and ever more slowly; four
scores that were made small instead of large fell 100- to 5000-fold in 400 steps."""
OUTGROWN = 10.0
UNSLOWED = 0.7
"""Fall in the second half of the run over that in the first: 1 where outputs grow evenly, as under
Adam, 3 and more where gradients grow with them; a logarithm's is 0.15 to 0.3."""
HARDLY_SLOWED = 0.5
"""The same where weights were found to grow without an end as well: gates that come to their ends
on the way left 0.66."""
AGAINST = -0.7
"""Correlation of the loss's gradient with outputs that are larger than the targets, above which no
sign is turned: minus an error drives outputs away and goes against them (-0.99 and below), an error
goes with them by then (-0.4 to 0.4, whatever is subtracted from it). While outputs are small it
goes against them either way: all of the target is still missing."""
FAR_AWAY = 3.0
"""Times the targets that outputs which come to them are not as large as; where errors count by
their size alone, the gradient is the same wherever an output lies, and need not go against it."""


class Descent:
    """How one model's loss and the size of its output have gone."""

    def __init__(self) -> None:
        self.never_positive = True
        self._began = 0
        self._first_loss = math.nan
        self._first_size = math.nan
        self._pull = math.nan
        self._course = History()
        self._now = (0, math.nan, math.nan)

    def add(self, step: int, loss: float, size: float, pull: float = math.nan) -> None:
        """Take one sample: the loss, the root mean square of the output, how gradients go with it.

        Args:
            step: of the sample.
            loss: its mean since the last one.
            size: root mean square of the output.
            pull: correlation of the loss's gradient with the output; NaN where it is not known.
        """
        self._began = self._began or step
        self.never_positive = self.never_positive and not loss >= 0
        self._first_loss = loss if math.isnan(self._first_loss) else self._first_loss
        self._first_size = size if math.isnan(self._first_size) else self._first_size
        self._pull = pull if math.isfinite(pull) else self._pull
        self._course.add(step, loss)
        self._now = step, loss, size

    def turned(self, usual: float, reach: float) -> bool:
        """Never above zero, and as far below as a constant answer's loss lies above.

        Args:
            usual: loss of a constant answer.
            reach: root mean square of the targets.
        """
        _, loss, size = self._now
        # Where the gradient tells of it, the outputs have to be driven away from the targets.
        away = size > FAR_AWAY * reach or (self._pull < AGAINST and size > reach)
        below = self.never_positive and loss < -TURNED * usual < 0
        return below and (away or math.isnan(self._pull))

    @property
    def endless(self) -> bool:
        """Far below zero, and no slower in the second half of the run than in the first."""
        return self._now[2] > OUTGROWN * self._first_size and self.falls_on(UNSLOWED)

    def falls_on(self, pace: float) -> bool:
        """The same of the loss alone, whatever the outputs do: a score that grows has it too.

        Args:
            pace: share of the fall in the first half of the run that the second half keeps.
        """
        step, loss, _ = self._now
        far = loss < -FALLEN * max(1.0, abs(self._first_loss))
        if not far or step - self._began < BOTTOM_STEPS:
            return False
        middle = self._course.at(self._began + (step - self._began) // 2)
        return middle - loss > pace * (self._first_loss - middle) > 0
