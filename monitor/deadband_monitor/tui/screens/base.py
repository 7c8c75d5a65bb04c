"""What the screens of a run have in common: the view they share, and what their keys do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Protocol, cast, runtime_checkable

from textual import events
from textual.screen import Screen

from deadband_monitor.tui.governor import Due
from deadband_monitor.tui.keys import DASHBOARD, HEAT_METRICS, key_line
from deadband_monitor.tui.widgets.panels import KeyLine, StateLine

if TYPE_CHECKING:
    from deadband_monitor.tui.app import DeadbandApp

WIDE, TALL, HUGE = 100, 32, 50
SHORT = 18
"""Below this the heat map would be a title and an axis without a row between them."""
SMALLEST = (60, 16)
FASTEST, SLOWEST = 64.0, 0.25


@runtime_checkable
class Player(Protocol):
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


class SizedScreen(Screen[None]):
    """A screen that knows how large it is: classes for the style sheet."""

    laid_out = False
    """Whether its panels have their sizes, so that there is something to paint on."""

    def on_resize(self, event: events.Resize) -> None:
        """Tell the style sheet the size."""
        width, height = event.size
        self.set_class(width >= WIDE, "-wide")
        self.set_class(height >= TALL, "-tall")
        self.set_class(height >= HUGE, "-huge")
        self.set_class(height < SHORT, "-short")
        self.set_class(width < SMALLEST[0] or height < SMALLEST[1], "-tiny")
        self.call_after_refresh(self._settle)

    def _settle(self) -> None:
        self.laid_out = True
        self.deadband.repaint()

    @property
    def deadband(self) -> DeadbandApp:
        """The app."""
        return cast("DeadbandApp", self.app)

    def paint(self, due: Due) -> None:
        """Draw what has changed and is due."""


class RunScreen(SizedScreen):
    """A screen on a run. Every action of `keys.KEYS` for these screens is here."""

    where: ClassVar[str]

    def paint_frame(self, due: Due) -> None:
        """State line and key line, the same on all screens."""
        app = self.deadband
        if not due.numbers:
            return
        for line in self.query(StateLine):
            line.paint(app.head())
        for keys in self.query(KeyLine):
            replay = app.player is not None
            keys.paint(key_line(self.where, replay=replay), replay=replay)

    # --- time --------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Freeze the picture, or play and pause a recording."""
        app = self.deadband
        player = app.player
        if player is None:
            app.view.freeze()
            app.repaint()
        else:
            self._ask(lambda: setattr(player, "playing", not player.playing))

    def action_zoom(self, by: int) -> None:
        """Fewer steps a column, or more."""
        self.deadband.view.zoom_by(by)
        self.deadband.repaint()

    def action_step(self, samples: int) -> None:
        """Some samples on in a recording."""
        if player := self.deadband.player:
            self._ask(lambda: player.step_by(samples))

    def action_seek_end(self, last: bool) -> None:
        """To an end of a recording."""
        if player := self.deadband.player:
            self._ask(lambda: player.seek(player.last_step if last else 0))

    def action_speed(self, factor: float) -> None:
        """Play faster or slower."""
        if player := self.deadband.player:
            speed = min(max(player.speed * factor, SLOWEST), FASTEST)
            self._ask(lambda: setattr(player, "speed", speed))

    def action_onset(self) -> None:
        """To the onset of the flag at hand."""
        flag = self.deadband.view.flag
        if flag is not None and (player := self.deadband.player):
            self._ask(lambda: player.seek(flag.onset_step))

    def _ask(self, action: Callable[[], None]) -> None:
        self.deadband.feed.ask(action)
        self.deadband.repaint()

    # --- what is shown -----------------------------------------------------------------------

    def action_metric(self, number: int) -> None:
        """Put a metric on the map."""
        self.deadband.view.show_metric(HEAT_METRICS[number - 1])
        self.deadband.repaint()

    def action_next_metric(self, by: int) -> None:
        """Put the next metric on the map."""
        self.deadband.view.next_metric(by)
        self.deadband.repaint()

    def action_sort(self) -> None:
        """Layers in their order, or worst first."""
        self.deadband.view.worst_first = not self.deadband.view.worst_first
        self.deadband.repaint()

    def action_select(self, by: int) -> None:
        """The next layer."""
        self.deadband.view.select_next(by, on_map=self.where == DASHBOARD)
        self.deadband.repaint()

    def action_follow(self) -> None:
        """Follow the worst layer."""
        self.deadband.view.following = True
        self.deadband.repaint()

    # --- where to go -------------------------------------------------------------------------

    def action_next_flag(self, by: int) -> None:
        """The next flag; in a recording to its onset."""
        flag = self.deadband.view.next_flag(by)
        if flag is None:
            self.notify("no flag so far", timeout=2)
        elif self.deadband.player is not None:
            self.deadband.seek_flag(flag)
        self.deadband.repaint()

    def action_flags(self) -> None:
        """The page of the flag at hand."""
        self.deadband.show_flags()

    def action_layer(self) -> None:
        """The page of the layer at hand."""
        self.deadband.show_layer()

    def action_output(self) -> None:
        """What the script has printed."""
        self.deadband.show_output()

    def action_back(self) -> None:
        """The screen before."""
        self.app.pop_screen()

    def action_runs(self) -> None:
        """The list of runs."""
        self.deadband.leave_run()
