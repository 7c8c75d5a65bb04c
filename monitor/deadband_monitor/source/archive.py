"""Cuts what a screen shows of a run out of its recording, at any of its events.

The same answer to the same question as a hub gives of a live run; memory stays flat, however long
the recording.
"""

from __future__ import annotations

from deadband.wire import AskView, Sight
from deadband_monitor.errors import SourceError
from deadband_monitor.hub.sights import draw, end_of, row_of, unknown
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.record.depths import DeepRecording
from deadband_monitor.source.courses import Courses, Key
from deadband_monitor.source.recorded import EveryPicture, RecordedPictures, Stretch
from deadband_monitor.source.story import Story
from deadband_monitor.state.pictures import view_axis
from deadband_monitor.state.run_state import Elsewhere, RunState
from deadband_monitor.state.sight import squeeze
from deadband_monitor.state.timeline import Axis


class Archive:
    """One viewer's way into a recording, which it stays the owner of."""

    def __init__(self, recording: DeepRecording) -> None:
        self._story = Story(recording)
        self._courses = Courses(recording)

    def sight(self, ask: AskView, seq: int, *, wholly: bool = True) -> Sight:
        """What the screen shows when the run has come to event `seq`.

        Args:
            ask: the question; what the viewer has is of an earlier event, or of this one.
            seq: the event.
            wholly: with both ends of a column and its mean; a map shows less.

        Raises:
            BadRecording: the recording is damaged there.
            SourceError: it asks for something that we do not know.
        """
        if strange := unknown(ask):
            raise SourceError(f"no metric {strange!r}: use the same deadband on both sides")
        story = self._story
        story.go(seq)
        state, ledger = story.state, story.ledger
        axis = self._axis(state, ask)
        same = ask.axis == (axis.first, axis.per_column, axis.columns)
        lowest = ledger.touched(ask.columns_since) if same else 0
        start = min(max(axis.column(lowest), 0), axis.columns) if lowest else 0
        if ask.at_once:
            start = 0  # of the layer at hand it is told at once which metrics it has
        stretch = Stretch(axis=axis, start=start, last=state.sampled_step, upto=seq)
        pictures = RecordedPictures(self._courses, state, stretch, _keys(state, ask))
        body = draw(
            state,
            ask,
            pictures,
            start=start,
            facts=ledger.facts(ask.since),
            touched=ledger.touched(ask.series_since),
            seen=pictures.measured,
            wholly=wholly,
        )
        return Sight(seq=seq, body=squeeze(body, 1 if wholly else 6))

    def everything(self, axis: Axis, seq: int) -> EveryPicture:
        """Pictures of every metric and layer at event `seq`, each cut when it is asked for."""
        self._story.go(seq)
        state = self._story.state
        stretch = Stretch(axis=axis, start=0, last=state.sampled_step, upto=seq)
        return EveryPicture(self._courses, state, stretch)

    def _axis(self, state: RunState, ask: AskView) -> Axis:
        """The axis of the answer; with it how finely the history of layers is known there."""
        place = state.sight
        assert isinstance(place, Elsewhere)
        columns, end = max(ask.columns, 1), end_of(state, ask)
        place.bucket = self._courses.width_at(state.step if end is None else end)
        axis = view_axis(state, columns, ask.zoom, end)
        if ask.zoom:
            last = min(axis.last, state.sampled_step)
            rows = self._courses.rows_of(state)
            if not self._courses.few(axis.first, last, rows):
                place.bucket = self._courses.coarsest()
                axis = view_axis(state, columns, ask.zoom, end)
        return axis


def _keys(state: RunState, ask: AskView) -> list[Key]:
    """The courses that are drawn."""
    names = [*ask.metrics, *(name for pair in ask.trends for name in pair)]
    keys: list[Key] = [("metric", LAYER_COLUMN[name]) for name in names]
    row = row_of(state, ask)
    return keys if row is None else [*keys, ("row", row)]
