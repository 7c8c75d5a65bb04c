"""A recording and the state of the run at one of its events; wound to and fro."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from deadband.wire import AskView, Sight
from deadband_monitor.hub.registry import live_hub
from deadband_monitor.record.base import RecordingReader
from deadband_monitor.record.depths import DeepRecording
from deadband_monitor.record.reader import UNFIT
from deadband_monitor.source.archive import Archive
from deadband_monitor.state.pictures import Pictures
from deadband_monitor.state.run_state import STATE_LAYOUT, RunState
from deadband_monitor.state.timeline import Axis


class OwnRecording(DeepRecording):
    """A recording on this host, so that we can tell whether a hub still writes it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._archive: Archive | None = None

    @property
    def served(self) -> bool:
        """Whether its hub lives."""
        return live_hub(self.hello.run) is not None

    def sight(self, ask: AskView, seq: int, *, wholly: bool = True) -> Sight:
        """What a screen shows of the run at event `seq`; see `Archive.sight`."""
        return self._cutter.sight(ask, seq, wholly=wholly)

    def everything(self, axis: Axis, seq: int) -> Pictures:
        """Pictures of every metric and layer at event `seq`, each cut when it is asked for."""
        return self._cutter.everything(axis, seq)

    @property
    def _cutter(self) -> Archive:
        if self._archive is None:
            self._archive = Archive(self)
        return self._archive


class Reel:
    """The state at event `reached`. Snapshots make one far away as near as the next one."""

    def __init__(self, recording: RecordingReader) -> None:
        self.recording = recording
        self.state = RunState()
        self.reached = 0
        """Number of the recorded event that the state stands at."""

    def go(self, seq: int) -> None:
        """Fold up to event `seq`; back means from the start, or from a snapshot.

        Raises:
            BadRecording: the recording is damaged there.
            LinkLost: it cannot be reached; the state is whole, and where it was or nearer.
        """
        back = seq < self.reached
        if back or seq - self.reached > self.recording.far_events:
            self._leap(seq, back=back)
        for event in self.recording.events(after=self.reached, upto=seq):
            try:
                self.state.apply(event)
            except UNFIT as error:
                raise self.recording.damaged(error) from error
            self.reached = event.seq
        self.reached = seq

    def _leap(self, seq: int, *, back: bool) -> None:
        """Take up the snapshot next before `seq`, where that is nearer than we are."""
        near = self.recording.snapshot(seq, STATE_LAYOUT)
        if back:
            self.reached, self.state = 0, RunState()
        if near is not None and near[0] > self.reached:
            # A snapshot only saves time: one that cannot be read is left aside.
            with suppress(ValueError):
                self.state = RunState.unpack(near[1])
                self.reached = near[0]
