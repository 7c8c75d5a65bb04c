"""One screen's view of a recording, at any of its events."""

from __future__ import annotations

from deadband import wire
from deadband.wire import AskView
from deadband_monitor.errors import SourceError
from deadband_monitor.record.base import Scenic, Whole
from deadband_monitor.source.viewing import Viewing
from deadband_monitor.state.pictures import Pictures
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.sight import Sight


class PastView:
    """The state of a viewer, fed with what is cut from a recording."""

    def __init__(self, recording: Scenic) -> None:
        self.wish = AskView(version=wire.VERSION)
        """What the screen shows; set from any thread."""
        self.answers = 0
        self._recording = recording
        self._viewing = Viewing(far=False)
        self._reached = -1
        self._wished: AskView | None = None
        """What we have the answer to."""

    @property
    def state(self) -> RunState:
        """The run at the event that was gone to."""
        return self._viewing.state

    @property
    def lacks(self) -> bool:
        """Whether the state is the answer to another wish."""
        return self.wish != self._wished

    def everything(self) -> Pictures | None:
        """Pictures of every metric, on the axis that is shown; None where they lie elsewhere."""
        sight, recording = self._viewing.state.sight, self._recording
        if not isinstance(sight, Sight) or not isinstance(recording, Whole):
            return None
        return recording.everything(sight.axis, self._reached)

    def go(self, seq: int) -> None:
        """Show the run at event `seq`, where it does not stand already.

        Raises:
            BadRecording, LinkLost, NotCut: see `Scenic.sight`.
            SourceError: what has come cannot be read.
        """
        wish = self.wish
        if seq == self._reached and wish == self._wished:
            return
        viewing = self._viewing if seq >= self._reached else Viewing(far=False)
        viewing.wish = wish
        answer = self._recording.sight(viewing.question(), seq)
        try:
            viewing.take(answer)
        except ValueError as error:
            raise SourceError(
                f"cannot read what is cut from the recording ({error}): use the same deadband on"
                " both sides"
            ) from error
        self._viewing, self._reached, self._wished = viewing, seq, wish
        self.answers += 1
