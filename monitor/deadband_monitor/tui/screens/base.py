"""What the screens of a run have in common: the view they share, and what their keys do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from textual import events
from textual.geometry import Size
from textual.screen import Screen

from deadband.wire import AskDense, AskNote
from deadband_monitor.errors import MonitorError
from deadband_monitor.source.on_demand import Subject
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.tui.draw.flags import place
from deadband_monitor.tui.draw.text import count
from deadband_monitor.tui.exports import export, safe_name, screen_text
from deadband_monitor.tui.governor import Due
from deadband_monitor.tui.keys import DASHBOARD, FLAG, HEAT_METRICS, LAYER, key_line
from deadband_monitor.tui.screens.prompt import PromptScreen, no_pattern
from deadband_monitor.tui.widgets.boxes import Still
from deadband_monitor.tui.widgets.heat_map import HeatMap
from deadband_monitor.tui.widgets.panels import FlagList, KeyLine, StateLine

if TYPE_CHECKING:
    from deadband_monitor.tui.app import DeadbandApp

WIDE, TALL, HUGE = 100, 32, 50
SHORT = 18
"""Below this the heat map would be a title and an axis without a row between them."""
SMALLEST = (60, 16)
EXPORT_PATIENCE_S = 5.0
FASTEST, SLOWEST = 64.0, 0.25
DENSE_STEPS = 200
"""What is asked for unless another number is typed: ten seconds of a loop of 50 ms."""


class SizedScreen(Still, Screen[None]):
    """A screen that knows how large it is: classes for the style sheet."""

    laid_out = False
    """Whether its panels have their sizes, so that there is something to paint on."""

    def __init__(self) -> None:
        super().__init__()
        # Before it has children: each later change is looked up for all of them.
        self._tell(self.app.size)

    def on_resize(self, event: events.Resize) -> None:
        """Tell the style sheet the size."""
        self._tell(event.size)
        self.call_after_refresh(self._settle)

    def _tell(self, size: Size) -> None:
        width, height = size
        wanted = {
            "-wide": width >= WIDE,
            "-tall": height >= TALL,
            "-huge": height >= HUGE,
            "-short": height < SHORT,
            "-tiny": width < SMALLEST[0] or height < SMALLEST[1],
        }
        self.update_classes(wanted, update=self.is_attached)

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
    _frame: tuple[()] | tuple[list[StateLine], list[KeyLine]] = ()

    def paint_frame(self, due: Due) -> None:
        """State line and key line, the same on all screens."""
        app = self.deadband
        if not due.numbers:
            return
        if not self._frame:  # a query walks the whole screen, and these two never change
            self._frame = [*self.query(StateLine)], [*self.query(KeyLine)]
        state_lines, key_lines = self._frame
        head, replay = app.head(), app.player is not None
        for line in state_lines:
            line.paint(head)
        for keys in key_lines:
            keys.paint(
                key_line(self.where, replay=replay, changed=app.settings.keys), replay=replay
            )

    # --- time --------------------------------------------------------------------------------

    def action_pause(self) -> None:
        """Freeze the picture, or play and pause a recording."""
        app = self.deadband
        player = app.player
        if player is None:
            self._ask(app.view.freeze)  # a copy of what no thread changes meanwhile
        else:
            self._ask(lambda: setattr(player, "playing", not player.playing))

    def action_zoom(self, by: int) -> None:
        """Fewer steps a column, or more."""
        self.deadband.view.zoom_by(by)
        self.deadband.repaint()

    def action_step(self, samples: int) -> None:
        """Some samples on, or back."""
        if samples < 0 or self.deadband.player is not None:
            self.deadband.travel(lambda player: player.step_by(samples))

    def action_seek_end(self, last: bool) -> None:
        """To the first step, or the newest."""
        if last and self.deadband.vantage.travelling:
            self.deadband.come_back()
        elif not last or self.deadband.player is not None:
            self.deadband.travel(lambda player: player.seek(player.last_step if last else 0))

    def action_go_to(self) -> None:
        """To a step that is typed."""

        def go(text: str | None) -> None:
            number = _digits(text or "")
            if number:
                self.deadband.travel(lambda player: player.seek(int(number)))

        self.app.push_screen(PromptScreen("step", "", _no_number), go)

    def action_speed(self, factor: float) -> None:
        """Play faster or slower."""
        if player := self.deadband.player:
            speed = min(max(player.speed * factor, SLOWEST), FASTEST)
            self._ask(lambda: setattr(player, "speed", speed))
            if self.where != DASHBOARD:  # whose bar says so
                self.notify(f"speed x{speed:g}", timeout=2)

    def action_onset(self) -> None:
        """To the onset of the flag at hand."""
        flag = self.deadband.view.flag
        if flag is None:
            self.notify("no flag so far", timeout=2)
        else:
            self.deadband.travel(lambda player: player.seek(flag.onset_step))

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

    def action_fold(self) -> None:
        """Repeated blocks in one row, or each layer by itself."""
        self.deadband.view.folded = not self.deadband.view.folded
        self.deadband.repaint()

    def action_clock(self) -> None:
        """Steps or time under the map."""
        self.deadband.view.clocked = not self.deadband.view.clocked
        self.deadband.repaint()

    def action_scale(self) -> None:
        """Charts logarithmic, linear or as the values ask for."""
        scale = self.deadband.view.next_scale()
        self.notify(f"charts: {scale}", timeout=2)
        self.deadband.repaint()

    def action_filter(self) -> None:
        """Only layers whose name matches."""
        view, before = self.deadband.view, self.deadband.view.pattern

        def heed(text: str) -> str:
            if trouble := no_pattern(text):
                return trouble
            view.pattern = text
            self.deadband.repaint()
            return "" if view.order else "no layer matches"

        def leave(text: str | None) -> None:
            view.pattern = before if text is None else text
            self.deadband.repaint()

        self.app.push_screen(PromptScreen("layers matching", before, heed), leave)

    def action_select(self, by: int) -> None:
        """The next layer."""
        self.deadband.view.select_next(by, on_map=self.where == DASHBOARD)
        self.deadband.repaint()

    def action_follow(self) -> None:
        """Follow the worst layer."""
        self.deadband.view.following = True
        self.deadband.repaint()

    def action_retry(self) -> None:
        """Do not wait for the next try of a lost link."""
        lost = self.deadband.vantage.retry()
        self.notify("trying now" if lost else "the link to this run is not lost", timeout=2)
        self.deadband.repaint()

    # --- what is asked of the run ------------------------------------------------------------

    def subject(self) -> Subject | None:
        """The tensor whose spread this screen shows."""
        return None

    def rank(self) -> int:
        """Whose; below 0: of the rank that stands for the run."""
        return -1

    def action_dense(self) -> None:
        """Have the next steps sampled, each of them."""

        def go(text: str | None) -> None:
            number = _digits(text or "")
            if number:
                self.deadband.demand(AskDense(steps=int(number)))

        question = "sample each of the next steps (0: no more)"
        self.app.push_screen(PromptScreen(question, str(DENSE_STEPS), _no_number), go)

    def action_note(self) -> None:
        """Write something down."""
        step = self.deadband.view.state.step

        def go(text: str | None) -> None:
            if text and text.strip():
                self.deadband.demand(AskNote(text=text, step=step))

        self.app.push_screen(PromptScreen(f"note at step {count(step)}", "", lambda _: ""), go)

    # --- where to go -------------------------------------------------------------------------

    def action_next_flag(self, by: int) -> None:
        """The next flag; in a recording to the step it was called at, the first to show it."""
        flag = self.deadband.view.next_flag(by)
        if flag is None:
            self.notify("no flag so far", timeout=2)
        elif player := self.deadband.player:
            self.deadband.feed.ask(lambda: player.seek(flag.raised_step))
        if flag is not None and self.where == LAYER:  # which lists no flags
            self.notify(f"{flag.kind} since {count(flag.onset_step)}: {place(flag)}", timeout=3)
        self.deadband.repaint()

    def action_acknowledge(self) -> None:
        """The flag at hand was seen, or is to be loud again."""
        view = self.deadband.view
        if flag := view.acknowledge():
            quiet = "seen, and quiet" if flag.id in view.acknowledged else "loud again"
            self.notify(f"{flag.kind}: {quiet}", timeout=2)
            self.deadband.keep_seen()
            self.deadband.repaint()
        else:
            self.notify("no flag so far", timeout=2)

    def action_mute(self) -> None:
        """No more of this kind of flag, or again."""
        view = self.deadband.view
        if flag := view.mute():
            quiet = "muted" if flag.kind in view.muted else "loud again"
            self.notify(f"every {flag.kind}: {quiet}", timeout=2)
            self.deadband.keep_seen()
            self.deadband.repaint()
        else:
            self.notify("no flag so far", timeout=2)

    def action_copy(self) -> None:
        """The screen to the clipboard."""
        self.app.copy_to_clipboard(screen_text(self))
        self.notify("copied, if your terminal allows it; Y writes files", timeout=3)

    def action_export(self) -> None:
        """The screen into files."""
        app = self.deadband
        name = f"{safe_name(app.feed.source.name)}-{app.view.state.step}-{self.where}"
        svg = app.export_screenshot(title=f"deadband {app.feed.source.name}")
        source = app.feed.source
        try:
            with app.feed.look(EXPORT_PATIENCE_S) as held:
                replay = source if held and isinstance(source, ReplaySource) else None
                pictures = replay.everything() if replay is not None else None
                paths = export(Path.cwd(), name, svg, screen_text(self), app.view, pictures)
        except OSError as error:
            self.notify(f"cannot write {name}: {error.strerror}", severity="error", timeout=6)
        except MonitorError as error:
            self.notify(str(error), severity="error", timeout=6)
        else:
            self.notify("wrote " + ", ".join(path.name for path in paths), timeout=5)

    def on_heat_map_chosen(self, event: HeatMap.Chosen) -> None:
        """A click on the map: that layer, at that step."""
        app = self.deadband
        again = event.step is None and event.layer == app.view.selected
        app.view.select(event.layer)
        if event.step is not None:
            step = event.step
            app.travel(lambda player: player.seek(step))
        elif again:
            app.show_layer()
        app.repaint()

    def on_flag_list_chosen(self, event: FlagList.Chosen) -> None:
        """A click on a flag takes it at hand, a second one opens its page."""
        view = self.deadband.view
        again, view.flag_id = view.flag_id == event.flag, event.flag
        if again and self.where != FLAG:
            self.deadband.show_flags()
        self.deadband.repaint()

    def action_flags(self) -> None:
        """The page of the flag at hand."""
        self.deadband.show_flags()

    def action_layer(self) -> None:
        """The page of the layer at hand."""
        self.deadband.show_layer()

    def action_ranks(self) -> None:
        """The processes of the run."""
        self.deadband.show_ranks()

    def action_output(self) -> None:
        """What the script has printed."""
        self.deadband.show_output()

    def action_back(self) -> None:
        """The screen before."""
        self.app.pop_screen()

    def action_runs(self) -> None:
        """From the past back to now; else the list of runs."""
        if self.deadband.vantage.travelling:
            self.deadband.come_back()
        else:
            self.deadband.leave_run()


def _digits(text: str) -> str:
    """A number as people write it, without what parts its thousands."""
    return text.replace(",", "").replace("_", "").strip()


def _no_number(text: str) -> str:
    """What is wrong with a number of steps; empty where it will do."""
    number = _digits(text)
    return "" if not number or number.isdecimal() else "a step is a whole number"
