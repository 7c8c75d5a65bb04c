"""From where a run is looked at: now, as it comes, or from its past, with an ear for the present.

Whoever looks back stays in the same run: what it is asked for goes to the run as it is now, and
what happens there is still heard.
"""

from __future__ import annotations

from collections.abc import Iterator

from deadband.wire import AskDense, AskNote, AskView, Done, Flag
from deadband_monitor.source.base import Linked, Player, Source
from deadband_monitor.source.on_demand import Answering, Spread
from deadband_monitor.tui.feed import Feed, NoSource


class Vantage:
    """The one or two feeds of the run that is open.

    Args:
        source: the run; None: there is none yet. Whoever gave it closes it.
        threaded: feeds read in threads of their own; else when they are pumped.
    """

    def __init__(self, source: Source | None, *, threaded: bool) -> None:
        self.feed = Feed(source if source is not None else NoSource())
        """What the pictures show."""
        self._present: Feed | None = None
        """The live run, read on while we look at its past."""
        self._present_step = 0
        self._owned = False
        self._threaded = threaded

    @property
    def travelling(self) -> bool:
        """Whether we look at the past of a live run."""
        return self._present is not None

    @property
    def newest(self) -> int | None:
        """While we look at the past: the newest step that was heard of."""
        return self._present_step if self.travelling else None

    @property
    def player(self) -> Player | None:
        """The source, where it is a recording."""
        return self.feed.player

    @property
    def answering(self) -> Answering | None:
        """The source, where it can be asked for more than the news."""
        return self.feed.answering

    @property
    def spread(self) -> Spread | None:
        """What is known of the tensor that is looked at."""
        return self.answering.spread if self.answering is not None else None

    # --- where we stand ----------------------------------------------------------------------

    def take(self, source: Source) -> None:
        """Another run, which is ours to close."""
        self.close()
        self.feed, self._owned = Feed(source), True

    def start(self, wish: AskView) -> None:
        """Begin to read, with what will be shown first."""
        self.feed.want(wish)
        if self._threaded:
            self.feed.start()
        else:
            self.feed.pump()

    def go_back(self, past: Player) -> None:
        """Look at the past of this run, a source of its own."""
        self._present, self._present_step = self.feed, self.feed.source.state.step
        self.feed = Feed(past)
        if self._threaded:
            self.feed.start()

    def come_back(self) -> bool:
        """From the past to now; False where we are there."""
        if self._present is None:
            return False
        self.feed.stop()
        self.feed.source.close()
        self.feed, self._present = self._present, None
        return True

    def leave(self) -> None:
        """No run is open any more."""
        self.close()
        self.feed = Feed(NoSource())

    def close(self) -> None:
        """Stop reading; close what is ours."""
        self.come_back()
        self.feed.stop()
        if self._owned:
            self.feed.source.close()
            self._owned = False

    # --- what passes between us and the run --------------------------------------------------

    def hear_present(self) -> list[Flag] | None:
        """While we look at the past: the flags of now; None where they cannot be had at once."""
        if self._present is not None:
            with self._present.look() as held:
                if held:
                    state = self._present.source.state
                    self._present_step = state.step
                    return list(state.flags.values())
        return None

    def demand(self, demand: AskDense | AskNote) -> bool:
        """Have something done by the run as it is now; False where it cannot be asked."""
        feed = self._present or self.feed
        source = feed.answering
        if source is None:
            return False
        feed.ask(lambda: source.demand(demand))
        return True

    def retry(self) -> bool:
        """Do not wait for the next try of a lost link; False where none is lost."""
        feed = self._present or self.feed
        source = feed.source
        if source.link != "lost" or not isinstance(source, Linked):
            return False
        source.retry()
        return True

    def said(self) -> Iterator[Done]:
        """What became of earlier demands, each once."""
        for feed in (self.feed, self._present) if self._present else (self.feed,):
            source = feed.answering
            while source is not None and source.said:
                yield source.said.popleft()
