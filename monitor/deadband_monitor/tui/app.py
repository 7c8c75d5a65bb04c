"""The terminal UI: owns the tick, the theme and the way from screen to screen."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("TEXTUAL_FPS", "20")  # caps repaints; read when textual is imported

from textual.app import App, SystemCommand
from textual.notifications import SeverityLevel
from textual.screen import Screen

from deadband.wire import AskDense, AskNote, AskView, Flag
from deadband_monitor.errors import MonitorError
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.seen import Seen
from deadband_monitor.settings import Choices, Settings
from deadband_monitor.source.base import Source
from deadband_monitor.source.on_demand import Answering, Spread
from deadband_monitor.source.open import open_entry, open_past
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.sight import Sight, wish_of
from deadband_monitor.tui.alarm import Alarm, notification
from deadband_monitor.tui.draw.state_line import Head
from deadband_monitor.tui.feed import Feed, NoSource
from deadband_monitor.tui.governor import (
    EVERYTHING,
    NUMBERS_EVERY_S,
    TRENDS_EVERY_S,
    Due,
    Governor,
)
from deadband_monitor.tui.heading import head
from deadband_monitor.tui.ink import DARK_THEME, LIGHT_THEME, THEMES, Depth, Ink
from deadband_monitor.tui.keys import KEYS, RUN, names
from deadband_monitor.tui.screens.base import Player, RunScreen, SizedScreen
from deadband_monitor.tui.screens.compare import CompareScreen
from deadband_monitor.tui.screens.dashboard import DashboardScreen
from deadband_monitor.tui.screens.flag import FlagScreen
from deadband_monitor.tui.screens.help import HelpScreen
from deadband_monitor.tui.screens.layer import LayerScreen
from deadband_monitor.tui.screens.output import OutputScreen
from deadband_monitor.tui.screens.ranks import RanksScreen
from deadband_monitor.tui.screens.runs import PickerScreen
from deadband_monitor.tui.view import View

T = TypeVar("T")
KEY_PATIENCE_S = 0.05
"""A key press waits this long for a reader that is busy; then the next tick draws its picture."""


class DeadbandApp(App[int]):
    """Screens on one run at a time."""

    CSS_PATH = "deadband.tcss"
    TITLE = "deadband"
    ENABLE_COMMAND_PALETTE = True

    def __init__(
        self,
        source: Source | None = None,
        *,
        list_runs: Callable[[], Sequence[RunEntry]] | None = None,
        open_run: Callable[[RunEntry], Source] = open_entry,
        child_output: Path | None = None,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        choices: Choices = Choices(),  # noqa: B008 - frozen
        remember: Callable[[Choices], None] = lambda choices: None,
        recall: Callable[[str], Seen] = lambda run: Seen(),
        keep: Callable[[str, Seen], None] = lambda run, seen: None,
        trouble: str = "",
        ink: Ink | None = None,
        open_past: Callable[[Source], Player] = open_past,
        clock: Callable[[], float] = time.time,
        threaded: bool = True,
    ) -> None:
        # With NO_COLOR Textual would write greys, unless told to keep the terminal's own colours.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.ink = ink or Ink.detect(
            colors=self.console.color_system,
            no_color=self.no_color,
            encoding=getattr(sys.__stdout__, "encoding", None) or "ascii",
            environ=os.environ,
        )
        self.clock = clock
        self.view = self._fresh_view(settings)
        self.feed = Feed(source) if source is not None else Feed(NoSource())
        self._picking = list_runs
        self._open_run = open_run
        self._open_past = open_past
        self._present: Feed | None = None
        """The live run, read on while we look at its past."""
        self._own_source = False
        self._child_output = child_output
        self.settings = settings
        self._trouble = trouble
        self._remember = remember
        self._recall, self._keep = recall, keep
        self._recalled = ""
        """The run whose acknowledged flags the view knows of."""
        self._governor = Governor(self.settings.fps)
        self._threaded = threaded
        self._shown: tuple[object, ...] = ()
        self._numbers_at = 0.0
        self._trends_at = 0.0
        self._soon = False
        self._owed = False
        self._answer: AskView | None = None
        """What the hub had cut for us when we drew last."""
        self._alarm = Alarm()
        self._present_step = 0
        self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._first_theme(settings.theme or choices.theme)
        self.ink = self.ink.on(dark=self.current_theme.dark)

    @staticmethod
    def _fresh_view(settings: Settings) -> View:
        view = View()
        if settings.metric in LAYER_COLUMN:
            view.show_metric(settings.metric)
        view.worst_first, view.folded = settings.sort == "worst", settings.fold
        return view

    def _first_theme(self, wanted: str) -> str:
        """The theme that was asked for, where this terminal has the colours for it."""
        name = {"dark": DARK_THEME, "light": LIGHT_THEME}.get(wanted, wanted)
        if self.ink.depth is not Depth.FULL or not name:
            return self.ink.theme
        if name not in self.available_themes:
            self._trouble = f"no theme {wanted!r}: dark, light, or one of the palette's (ctrl+p)"
            return self.ink.theme
        return name

    def _change_keys(self) -> None:
        """Give abilities the keys that the settings name."""
        unknown = sorted(set(self.settings.keys) - set(names()))
        if unknown:
            self._trouble = f"no ability {unknown[0]!r} to give keys to: {', '.join(names())}"
        self.set_keymap({name: keys for name, keys in self.settings.keys.items() if keys})

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What our style sheet needs and other themes lack."""
        return {"frame": "#585858", "dim": "#8a8a8a", "strong": "#eeeeee"}

    def on_mount(self) -> None:
        """Open the first screen and start to look."""
        self.set_class(not self.ink.unicode, "-ascii")
        self._change_keys()
        if self.settings.metric not in LAYER_COLUMN:
            self._trouble = f"no metric {self.settings.metric!r} to show at first"
        if self._trouble:
            self.notify(self._trouble, title="settings", severity="warning", timeout=10)
        self.theme_changed_signal.subscribe(self, self._on_theme)
        if self._picking is not None:
            self.push_screen(PickerScreen(self._picking))
        else:
            self._start_run()
        self._write("\x1b[22;0t")  # keep the terminal's title, given back on leaving
        self._tick()

    def on_unmount(self) -> None:
        """Stop reading; give the title back."""
        self._write("\x1b[23;0t")
        self._close_feed()

    # --- looking -----------------------------------------------------------------------------

    @property
    def player(self) -> Player | None:
        """The source, where it is a recording."""
        source = self.feed.source
        return source if isinstance(source, Player) else None

    @property
    def travelling(self) -> bool:
        """Whether we look at the past of a live run."""
        return self._present is not None

    def _tick(self) -> None:
        period = self._governor.period_s
        if self._threaded:
            period = self._governor.beat(time.monotonic())
        else:
            self.feed.pump()
        self._paint(force=self._owed)
        self.set_timer(period, self._tick)

    def repaint(self) -> None:
        """Draw again at once: somebody has pressed a key."""
        if not self._threaded:
            self.feed.pump()
        self._paint(force=True)

    def repaint_soon(self) -> None:
        """Draw again when the layout has settled."""
        if not self._soon:
            self._soon = True
            self.call_after_refresh(self._repaint_now)

    def _repaint_now(self) -> None:
        self._soon = False
        self._paint(force=True)

    def _paint(self, *, force: bool) -> None:
        # A prompt or the help lies over a screen that goes on moving.
        screen = next(
            (it for it in reversed(self.screen_stack) if isinstance(it, SizedScreen)), None
        )
        if screen is None or not screen.laid_out:
            return
        if not isinstance(screen, RunScreen):
            if force:
                screen.paint(EVERYTHING)
            return
        self._hear_present()
        with self.feed.look(KEY_PATIENCE_S if force else 0.0) as held:
            if not held:
                self._owed = self._owed or force
                return
            self._owed = False
            state = self.feed.source.state
            self.view.live = state
            self._recall_seen(state)
            self._ask_and_tell(screen)
            player = self.player
            self.view.last_step = player.last_step if player else None
            if self._present is None:
                self._sound(list(state.flags.values()))
            now = time.monotonic()
            force = force or self._answered(state)
            due = Due(
                numbers=force or now - self._numbers_at >= NUMBERS_EVERY_S,
                trends=force or now - self._trends_at >= TRENDS_EVERY_S,
            )
            if due.numbers:
                self._numbers_at = now
            if due.trends:
                self._trends_at = now
            shown = (screen, state, state.seq, self.feed.source.link, self.feed.error,
                     player and (player.position, player.playing),
                     self.answering and self.answering.answers)  # fmt: skip
            if shown == self._shown and not force:
                screen.paint_frame(due)
                return
            if due == EVERYTHING:
                self._shown = shown
            screen.paint(due)
            if due.numbers:
                self.feed.want(self.view.wish(screen.where))

    def _answered(self, state: RunState) -> bool:
        """Whether the hub has sent what the last key press asked for."""
        before = self._answer
        self._answer = wish_of(state.sight.asked) if isinstance(state.sight, Sight) else None
        return self._answer != before

    def head(self) -> Head:
        """What the state line says now."""
        return head(
            self.feed,
            self.view,
            self.clock(),
            newest=self._present_step if self._present else None,
            slow=self._governor.slow,
        )

    def _recall_seen(self, state: RunState) -> None:
        """What this person has acknowledged or muted in this run before."""
        run = state.info.hello.run if state.info else ""
        if run and run != self._recalled:
            self._recalled = run
            seen = self._recall(run)
            self.view.acknowledged |= set(seen.acknowledged)
            self.view.muted |= set(seen.muted)

    def keep_seen(self) -> None:
        """Keep it for the next time."""
        if self._recalled:
            seen = Seen(acknowledged=sorted(self.view.acknowledged), muted=sorted(self.view.muted))
            self._keep(self._recalled, seen)

    @property
    def answering(self) -> Answering | None:
        """The source, where it can be asked for more than the news."""
        source = self.feed.source
        return source if isinstance(source, Answering) else None

    @property
    def spread(self) -> Spread | None:
        """What is known of the tensor that is looked at."""
        return self.answering.spread if self.answering is not None else None

    def demand(self, demand: AskDense | AskNote) -> None:
        """Have something done by the run; while we look at its past, by the run as it is now."""
        feed = self._present or self.feed
        source = feed.source
        if isinstance(source, Answering):
            feed.ask(lambda: source.demand(demand))
            self.repaint()
        else:
            self.notify("this run cannot be asked for anything", severity="warning", timeout=4)

    def _ask_and_tell(self, screen: RunScreen) -> None:
        """Say what tensor is looked at, and show what became of earlier demands."""
        if self.answering is not None:
            self.answering.look_at(screen.subject(), finely=self.view.finely)
        feeds = (self.feed, self._present) if self._present else (self.feed,)
        for source in (feed.source for feed in feeds):
            while isinstance(source, Answering) and source.said:
                done = source.said.popleft()
                severity: SeverityLevel = "warning" if done.refused else "information"
                self.notify(done.said, severity=severity, timeout=4)

    def _hear_present(self) -> None:
        """While we look at the past, what happens now still rings."""
        if self._present is None:
            return
        with self._present.look() as held:
            if held:
                state = self._present.source.state
                self._present_step = state.step
                self._sound(list(state.flags.values()))

    def _sound(self, flags: Sequence[Flag]) -> None:
        loud = [flag for flag in flags if self.view.loud(flag)]
        name = self.feed.source.name
        title, news = self._alarm.hear(loud, name)
        if news and (self.player is None or self.travelling):
            if self.settings.bell:
                self.bell()
            if self.settings.notify:
                self._write(notification(f"deadband: {name}: {news}"))
        if title:
            self._write(title)

    def _write(self, escape: str) -> None:
        """Textual has no public way to set the title of the terminal."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(escape)

    # --- from screen to screen ---------------------------------------------------------------

    def _start_run(self) -> None:
        self.feed.want(self.view.first_wish())
        if self._threaded:
            self.feed.start()
        else:
            self.feed.pump()
        self._shown, self._alarm = (), Alarm()
        self.push_screen(DashboardScreen())

    def open_run(self, entry: RunEntry) -> None:
        """Open a run of the picker."""
        self._open(lambda: self._open_run(entry), self._show_run)

    def compare(self, entries: tuple[RunEntry, RunEntry]) -> None:
        """Two runs of the picker on the same axes."""

        def both() -> tuple[Source, Source]:
            one = self._open_run(entries[0])
            try:
                return one, self._open_run(entries[1])
            except (MonitorError, OSError):
                one.close()
                raise

        def show(sources: tuple[Source, Source]) -> None:
            self.push_screen(CompareScreen(sources, threaded=self._threaded))

        self._open(both, show)

    def _open(
        self, connect: Callable[[], T], show: Callable[[T], None], severity: SeverityLevel = "error"
    ) -> None:
        """Open something in a thread, since it may take a while, and show it, or say why not."""

        def work() -> None:
            try:
                opened = connect()
            except (MonitorError, OSError) as error:
                self.call_from_thread(self.notify, str(error), severity=severity, timeout=8)
                return
            self.call_from_thread(show, opened)

        self.run_worker(work, thread=True, exclusive=True, group="open")

    def _show_run(self, source: Source) -> None:
        self._close_feed()
        self._recalled = ""
        self.view, self.feed, self._own_source = self._fresh_view(self.settings), Feed(source), True
        self._start_run()

    def travel(self, move: Callable[[Player], None]) -> None:
        """Move in the recording; of a live run, open it first, where we stand now."""
        player = self.player
        if player is not None:
            self.feed.ask(lambda: move(player))
            self.repaint()
            return
        source = self.feed.source

        def connect() -> Player:
            past = self._open_past(source)
            past.seek(source.state.step)
            move(past)
            past.refresh(0.0)  # here, where the picture need not wait for it
            return past

        self._open(connect, lambda past: self._show_past(source, past), severity="warning")

    def _show_past(self, live: Source, past: Player) -> None:
        if self.feed.source is not live:
            past.close()  # somebody has left in the meantime
            return
        self._present, self._present_step = self.feed, live.state.step
        self.feed = Feed(past)
        self.view.frozen = None
        if self._threaded:
            self.feed.start()
        self.repaint()

    def come_back(self) -> None:
        """From the past to now."""
        if self._present is not None:
            self.feed.stop()
            self.feed.source.close()
            self.feed, self._present = self._present, None
            self.repaint()

    def leave_run(self) -> None:
        """Back to the picker, where there is one."""
        if self._picking is None:
            return
        while len(self.screen_stack) > 1 and not isinstance(self.screen, PickerScreen):
            self.pop_screen()
        self._close_feed()
        self.feed = Feed(NoSource())

    def _close_feed(self) -> None:
        if self._present is not None:
            self.feed.stop()
            self.feed.source.close()
            self.feed, self._present = self._present, None
        self.feed.stop()
        if self._own_source:
            self.feed.source.close()
            self._own_source = False

    def show_layer(self) -> None:
        """The page of the layer at hand; from a flag, of its layer."""
        view = self.view
        if isinstance(self.screen, FlagScreen) and (flag := view.flag) is not None:
            for row, layer in enumerate(view.state.layers):
                if (layer.model, layer.name) == (flag.model, flag.layer):
                    view.select(row)
            self.pop_screen()
        if view.state.layers:
            self.push_screen(LayerScreen())
        else:
            self.notify("no layer yet", timeout=2)

    def show_flags(self) -> None:
        """The page of the flag at hand."""
        if isinstance(self.screen, LayerScreen):
            self.pop_screen()
        if self.view.flag is not None:
            self.view.flag_id = self.view.flag.id
        self.push_screen(FlagScreen())

    def show_ranks(self) -> None:
        """Every process of the run."""
        self.push_screen(RanksScreen())

    def show_output(self) -> None:
        """What the script has printed, where we know."""
        if self._child_output is None:
            self.notify("its output is in the terminal that it was started in", timeout=4)
        else:
            self.push_screen(OutputScreen(self._child_output))

    def seek_flag(self, flag: Flag) -> None:
        """In a recording: to the step at which the flag was called, the first that shows it."""
        if player := self.player:
            self.feed.ask(lambda: player.seek(flag.raised_step))

    def action_help(self) -> None:
        """The help of this screen."""
        where = getattr(self.screen, "where", "picker")
        replay = self.player is not None
        self.push_screen(HelpScreen(where, replay=replay, changed=self.settings.keys))

    def action_theme(self) -> None:
        """Dark or light."""
        if self.ink.depth is not Depth.FULL:
            self.notify("this terminal has no colours to choose from", timeout=3)
            return
        self.theme = LIGHT_THEME if self.ink.dark else DARK_THEME

    def action_detach(self) -> None:
        """Leave. Training is not touched."""
        self.exit(0)

    def _on_theme(self, theme: object) -> None:
        if self.ink.depth is Depth.FULL:
            self._remember(Choices(theme=self.theme))
        self.ink = self.ink.on(dark=bool(getattr(theme, "dark", True)))
        for screen in self.screen_stack:
            screen.refresh(repaint=True, layout=True)
            for widget in screen.query("Canvas"):
                widget.refresh()
        self.repaint_soon()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """Every key's ability by name, besides Textual's own."""
        yield from super().get_system_commands(screen)
        where = getattr(screen, "where", "")
        for key in KEYS:
            if where in key.where and where in RUN and not key.each and not key.replay:
                yield SystemCommand(
                    f"{key.label} ({key.shown})", key.doc, _runner(screen, key.action)
                )


def _runner(screen: Screen[object], action: str) -> Callable[[], object]:
    return lambda: screen.run_action(action)
