"""What a watch tells its user of the rules' opinions."""

from __future__ import annotations

from deadband import wire
from deadband.opinions import OnFlag, Opinions


class Verdicts:
    """The part of a `Watch` that passes on what the hub has said.

    While training goes on that is what has come by now. After `close` it is what the whole run came
    to: the first question waits until the hub has judged all of it, ten seconds at most.

    Args:
        stop_on: severity at which training is to be stopped; None: never.
    """

    def __init__(self, stop_on: str | None) -> None:
        self._opinions = Opinions(stop_on)

    @property
    def flags(self) -> tuple[wire.Flag, ...]:
        """Every flag so far; those that stand have no `resolved_step`."""
        self._hear()
        return tuple(self._opinions.now.flags)

    @property
    def causes(self) -> tuple[wire.Cause, ...]:
        """What the rules hold to be the cause, best first."""
        self._hear()
        return tuple(self._opinions.now.causes)

    @property
    def verdict(self) -> str:
        """`healthy`, `warning` or `failing`."""
        self._hear()
        return self._opinions.now.verdict

    def on_flag(self, callback: OnFlag) -> OnFlag:
        """Call `callback(flag)` for every new flag, in the training thread at the next step."""
        self._opinions.callbacks.append(callback)
        return callback

    def _hear(self) -> None:
        """Take in what has come."""
        raise NotImplementedError
