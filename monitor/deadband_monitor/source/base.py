"""What a viewer reads a run through, wherever the run is: the Source protocol."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from deadband.wire import AskView
from deadband_monitor.state.run_state import RunState


class Source(Protocol):
    """A run that is live, or a recording.

    Used from one thread at a time. `refresh` may skip pictures in between (a slow viewer sees
    fewer), but the state it leaves has folded in every event once and in order.
    """

    name: str
    """What to call it on screen: the run id or the file."""

    @property
    def state(self) -> RunState:
        """The run as of the last `refresh`; only `refresh` changes it."""

    @property
    def where(self) -> str:
        """The host of the run, as the screen says it; empty for this one."""

    @property
    def trouble(self) -> str:
        """Why the host does not answer, and when it is tried again; empty while it does."""

    @property
    def link(self) -> str:
        """`live`, `lost` (the hub does not answer; trying again), `ended`, `replay`."""

    @property
    def last_heard(self) -> float:
        """Seconds since the epoch: the last word from the hub; in a recording the last sample."""

    def refresh(self, wait_s: float) -> bool:
        """Fold in what is new, waiting at most `wait_s` for it; True if anything changed.

        Raises:
            SourceError: the run cannot be read any more; the message is for the user.
        """

    def close(self) -> None:
        """Let go of sockets and files."""


@runtime_checkable
class Linked(Protocol):
    """A source whose way to the run may be down, and is tried again ever less often."""

    def retry(self) -> None:
        """Try again at once; from any thread."""


@runtime_checkable
class Selective(Protocol):
    """A source that can leave out of `state` what nobody looks at."""

    def want(self, wish: AskView) -> None:
        """What a screen shows of the run from now on; from any thread."""

    @property
    def lacks(self) -> bool:
        """Whether what was wanted last has not come yet."""


@runtime_checkable
class Player(Source, Protocol):
    """A source that can be moved in: a recording."""

    playing: bool
    speed: float

    @property
    def position(self) -> int:
        """The step it stands at."""

    @property
    def last_step(self) -> int:
        """Where the recording ends."""

    def seek(self, step: int) -> None:
        """Go to a step."""

    def step_by(self, samples: int) -> None:
        """Go some samples on, or back."""
