"""The errors that deadband raises to its users.

DeadbandError
├── Collapsed      a flag stood that `stop_on` names
└── CannotWatch    a process that was asked from outside has nothing to watch

Bad settings are `ValueError`s that name the setting. Whatever goes wrong inside capture is counted
and reported, never raised.
"""

from __future__ import annotations

from collections.abc import Sequence

from deadband.wire import Flag


class DeadbandError(Exception):
    """Base of all errors of deadband."""


class CannotWatch(DeadbandError):  # noqa: N818 - a state, told to the one who asks
    """Nothing in this process can be watched from outside; the text says why, and the mend."""


class Collapsed(DeadbandError):  # noqa: N818 - a state, as users catch it
    """The run was stopped, at the user's wish, because a flag of the named severity stands.

    Attributes:
        flags: the flags that stood, worst first.
    """

    def __init__(self, flags: Sequence[Flag]) -> None:
        self.flags: tuple[Flag, ...] = tuple(flags)
        first = self.flags[0]
        where = first.layer or first.model
        what = first.message or first.severity
        super().__init__(f"{first.kind} in {where} since step {first.onset_step}: {what}")
