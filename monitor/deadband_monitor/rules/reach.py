"""How far the answers reached when the loss was lowest: what rises with them is no skill lost."""

from __future__ import annotations

import math
from dataclasses import dataclass

AS_SMALL = 1.5
"""Times the share of the answers that the error made up at the lowest loss, a minimum by chance."""
RUNS_AWAY = 3.0
"""Times the growth of the steps by which answers may grow. Values of states that were learnt well
(Q-learning with a slow copy, 14 000 steps) grew by as much as the steps did; what runs away doubles
again and again."""


@dataclass(slots=True)
class Reach:
    """The lowest loss of one model, and how large its answers were then.

    Of the actions of a state only the one that was taken is compared with anything, so how far its
    targets are spread is not known. They grow with the return, and the error with them.
    """

    _loss: float = math.nan
    _step: int = 0
    _size: float = math.nan
    _newest: float = math.nan

    def note(self, step: int, best: float, size: float) -> None:
        """Take in the lowest level of the loss so far, and the root mean square of the answers."""
        self._newest = size
        if best != self._loss:
            self._loss, self._step, self._size = best, step, size

    def grew_as_well(self, kind: str, loss: float, step: int) -> bool:
        """Whether the error is as small a share of the answers as it was, and these ran not away.

        Args:
            kind: of the loss, one of `VALUE_LOSSES`.
            loss: its level.
            step: the newest.
        """
        grown = self._newest / self._size if self._size > 0 else 0.0
        if not 1 < grown <= RUNS_AWAY * step / max(1, self._step):
            return False
        return error_of(kind, loss) <= AS_SMALL * grown * error_of(kind, self._loss)


def error_of(kind: str, loss: float) -> float:
    """The error that a loss of values is that of; Huber's is a square up to 1."""
    if kind == "mse":
        return math.sqrt(max(0.0, loss))
    if kind in {"huber", "smooth_l1"} and loss < 0.5:
        return math.sqrt(max(0.0, 2 * loss))
    return loss if kind == "l1" else loss + 0.5
