"""Asking a hub for what one screen shows: what is wanted, what of it is held, how often to ask."""

from __future__ import annotations

import msgspec

from deadband import wire
from deadband.wire import AskView
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.sight import Sight, expand, take, wish_of

NEAR_PATIENCE_S = 0.2
"""On this host: figures change on screen twice a second, flags come at once."""
FAR_PATIENCE_S = (0.4, 2.0)
FAR_BYTES_PER_S = 5000
"""What samples may take of a link to another host: 8 kB/s with flags, statuses and what the way
itself adds leave room for somebody's typing on a line of 64 kbit/s."""


class Viewing:
    """One screen's view of a run. `state` is fed by the answers to `question`."""

    def __init__(self, *, far: bool) -> None:
        self.state = RunState(sight=Sight.nothing())
        self.wish = AskView(version=wire.VERSION)
        """What the screen shows; set from any thread."""
        self._far = far
        self._asked = AskView(version=0)
        self._held = self._asked
        """The question that the state is the answer to."""
        self._size = 0

    @property
    def lacks(self) -> bool:
        """Whether the wish is another one than at the last question."""
        return wish_of(self._asked) != self.wish

    @property
    def lacks_answer(self) -> bool:
        """Whether the state is the answer to another wish."""
        return wish_of(self._held) != self.wish

    def question(self) -> AskView:
        """What to ask next."""
        wish, held, sight = self.wish, self._held, self.state.sight
        assert isinstance(sight, Sight)
        seq = self.state.seq
        axis = sight.axis
        patience = NEAR_PATIENCE_S
        if self._far:
            least, most = FAR_PATIENCE_S
            patience = min(max(self._size / FAR_BYTES_PER_S, least), most)
        self._asked = msgspec.structs.replace(
            wish,
            since=seq,
            axis=(axis.first, axis.per_column, axis.columns),
            columns_since=seq if _columns(wish) == _columns(held) else 0,
            series_since=seq if _series(wish) == _series(held) else 0,
            at_once=wish != wish_of(held),
            patience_s=patience,
        )
        return self._asked

    def take(self, answer: wire.Sight) -> None:
        """Fold the answer to the last question in.

        Raises:
            ValueError: it is not one.
        """
        take(self.state, self._asked, answer.seq, expand(answer.body))
        if self._asked.columns_since and self._asked.series_since:
            self._size = len(answer.body)
        self._held = self._asked


def _columns(ask: AskView) -> tuple[object, ...]:
    """What decides which columns are drawn."""
    layer = ask.layer if ask.course else None
    return (ask.columns, ask.zoom, ask.upto, ask.metrics, ask.trends, ask.model_metrics, layer)


def _series(ask: AskView) -> tuple[object, ...]:
    return (ask.model_metrics, ask.scalars)
