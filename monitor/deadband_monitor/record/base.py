"""What can be read from a recording, wherever it lies: the RecordingReader protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from deadband.wire import AskView, Event, Hello, Note, Sight, Status, What
from deadband_monitor.errors import BadRecording
from deadband_monitor.state.pictures import Pictures
from deadband_monitor.state.timeline import Axis


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """What a recording covers at the moment."""

    last_seq: int
    samples: int
    """Sampled steps, whatever number of ranks sampled them."""
    first_step: int
    last_step: int
    first_time: float
    last_time: float


class RecordingReader(Protocol):
    """An open recording; `record.reader.Recording` is one in a file.

    Raises:
        BadRecording: from any method, with one line for the user.
        LinkLost: from any method, where it lies on a host that does not answer at the moment.
    """

    name: str
    """What to call it on screen."""
    far_events: int
    """From so many events on a packed state comes sooner than the events themselves."""

    @property
    def where(self) -> str:
        """The host, as the screen says it; empty for this one."""

    @property
    def hello(self) -> Hello:
        """Who ran."""

    @property
    def last_status(self) -> Status | None:
        """The last that the hub wrote of the training process."""

    @property
    def last_seq(self) -> int:
        """Number of the newest event."""

    @property
    def served(self) -> bool:
        """Whether a live hub still writes it."""

    def span(self) -> Span:
        """What is there now; grows while a hub writes."""

    def seq_at_step(self, step: int) -> int:
        """Number of the last event that belongs to steps up to `step`."""

    def step_by(self, step: int, samples: int) -> int:
        """The step of the sample that lies `samples` after (before, if negative) that of `step`."""

    def step_at(self, seq: int) -> int:
        """Step of the newest sample up to event `seq`; 0 before the first."""

    def time_at(self, seq: int) -> float:
        """When the newest sample up to event `seq` was taken; the start of the run before it."""

    def seq_at_time(self, time: float, after: int = 0) -> int:
        """Number of the last event of the samples taken up to `time`; at least `after`."""

    def snapshot(self, seq: int, layout: int) -> tuple[int, bytes] | None:
        """A packed state of this layout from at or before event `seq`, with its number."""

    def events(self, after: int = 0, upto: int | None = None) -> Iterator[Event]:
        """Events `after` + 1 .. `upto` (the newest by default) in order, without gaps."""

    def damaged(self, error: object) -> BadRecording:
        """What to raise where something in it is not as it was written."""

    def close(self) -> None:
        """Let go of it."""


@runtime_checkable
class Scenic(Protocol):
    """A recording that can be cut into pictures where it lies."""

    def sight(self, ask: AskView, seq: int) -> Sight:
        """What a screen shows of the run at event `seq`.

        Raises:
            BadRecording, LinkLost: as from all that is asked of a recording.
            NotCut: its host has an older deadband, which cannot.
        """


@runtime_checkable
class Whole(Protocol):
    """A recording at hand, of which more can be cut than a screen shows."""

    def everything(self, axis: Axis, seq: int) -> Pictures:
        """Pictures of every metric and layer at event `seq`, each cut when it is asked for."""


@runtime_checkable
class Shelf(Protocol):
    """What a recording that lies at hand has besides: how tensors were spread, room for notes."""

    @property
    def newest_outline(self) -> int:
        """Number of the newest row of outlines; 0 where there is none."""

    def outlined(self, model: str, layer: str) -> list[What]:
        """The tensors of a layer that there are outlines of."""

    def outlines(self, model: str, layer: str, what: What) -> list[tuple[int, bytes]]:
        """Steps and packed outlines of one tensor, in order."""

    def write_down(self, text: str, step: int) -> Note:
        """Write a note behind everything that is there; only where no hub does.

        Raises:
            BadRecording: it cannot be written.
        """
