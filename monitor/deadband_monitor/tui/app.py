"""The terminal UI: owns the tick, and the way from screen to screen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

os.environ.setdefault("TEXTUAL_FPS", "20")  # caps repaints; read when textual is imported

from textual.app import SystemCommand
from textual.notifications import SeverityLevel
from textual.screen import Screen

from deadband.wire import AskDense, AskNote, AskView, Flag
from deadband_monitor.errors import MonitorError
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.metrics import LAYER_COLUMN
from deadband_monitor.seen import Seen
from deadband_monitor.settings import Choices, Settings
from deadband_monitor.source.base import Player, Selective, Source
from deadband_monitor.source.open import open_both, open_entry, open_past
from deadband_monitor.state.run_state import RunState
from deadband_monitor.state.sight import Sight, wish_of
from deadband_monitor.tui.alarm import Alarm, notification
from deadband_monitor.tui.chase import Chase
from deadband_monitor.tui.draw.state_line import Head
from deadband_monitor.tui.feed import Feed
from deadband_monitor.tui.governor import EVERYTHING, Beats, Governor
from deadband_monitor.tui.heading import head
from deadband_monitor.tui.ink import Ink
from deadband_monitor.tui.keys import KEYS, RUN, key_of, names
from deadband_monitor.tui.screens.base import RunScreen, SizedScreen
from deadband_monitor.tui.screens.compare import CompareScreen
from deadband_monitor.tui.screens.dashboard import DashboardScreen
from deadband_monitor.tui.screens.flag import FlagScreen
from deadband_monitor.tui.screens.help import HelpScreen
from deadband_monitor.tui.screens.layer import LayerScreen
from deadband_monitor.tui.screens.output import OutputScreen
from deadband_monitor.tui.screens.ranks import RanksScreen
from deadband_monitor.tui.screens.runs import PickerScreen
from deadband_monitor.tui.terminal import TerminalApp
from deadband_monitor.tui.vantage import Vantage
from deadband_monitor.tui.view import as_set
from deadband_monitor.tui.wishes import first_wish, wish

T = TypeVar("T")
KEY_PATIENCE_S = 0.05
"""A key press waits this long for a reader that is busy; then the next tick draws its picture."""


class DeadbandApp(TerminalApp):
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
        super().__init__(ink, theme=settings.theme or choices.theme, remember=remember)
        self.trouble = self.trouble or trouble
        self.clock = clock
        self.view = as_set(settings)
        self.vantage = Vantage(source, threaded=threaded)
        self._picking = list_runs
        self._open_run = open_run
        self._open_past = open_past
        self._child_output = child_output
        self.settings = settings
        self._recall, self._keep = recall, keep
        self._recalled = ""
        """The run whose acknowledged flags the view knows of."""
        self._governor = Governor(self.settings.fps)
        self._threaded = threaded
        self._shown: tuple[object, ...] = ()
        self._beats = Beats()
        self._soon = False
        self._owed = False
        self._wished: AskView | None = None
        """What the screen shows."""
        self._chase = Chase(
            lambda: self.feed.lacks, lambda: self._paint(force=True), self.set_timer
        )
        self._answer: AskView | None = None
        """What the hub had cut for us when we drew last."""
        self._alarm = Alarm()

    def _change_keys(self) -> None:
        """Give abilities the keys that the settings name."""
        unknown = sorted(set(self.settings.keys) - set(names()))
        if unknown:
            self.trouble = f"no ability {unknown[0]!r} to give keys to: {', '.join(names())}"
        self.set_keymap({name: keys for name, keys in self.settings.keys.items() if keys})

    def on_mount(self) -> None:
        """Open the first screen and start to look."""
        self.enter_terminal()
        self._change_keys()
        if self.settings.metric not in LAYER_COLUMN:
            self.trouble = f"no metric {self.settings.metric!r} to show at first"
        if self.trouble:
            self.notify(self.trouble, title="settings", severity="warning", timeout=10)
        if self._picking is not None:
            self.push_screen(PickerScreen(self._picking))
        else:
            self._start_run()
        self._tick()

    def on_unmount(self) -> None:
        """Stop reading; give the terminal back."""
        self.leave_terminal()
        self.vantage.close()

    # --- looking -----------------------------------------------------------------------------

    @property
    def feed(self) -> Feed:
        """What is read of the run that is looked at."""
        return self.vantage.feed

    @property
    def player(self) -> Player | None:
        """The source, where it is a recording."""
        return self.vantage.player

    def _tick(self) -> None:
        period = self._governor.period_s
        if self._threaded:
            period = self._governor.beat(time.monotonic())
        else:
            self.feed.pump()
        if self._owed:
            self._soon = False
        self._paint(force=self._owed)
        self.set_timer(period, self._tick)

    def repaint(self) -> None:
        """Draw again at once: somebody has pressed a key."""
        if not self._threaded:
            self.feed.pump()
        self._paint(force=True)
        if self._threaded:
            self._chase.begin(time.monotonic())

    def repaint_soon(self) -> None:
        """Draw again when the layout has settled."""
        # A screen left before it is idle keeps what it was to call: then the next tick draws.
        self._owed = True
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
                self._owed = False
                screen.paint(EVERYTHING)
            return
        present = self.vantage.hear_present()
        if present is not None:
            self._sound(present)
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
            if not self.vantage.travelling:
                self._sound(list(state.flags.values()))
            force = force or self._answered(state)
            due = self._beats.due(time.monotonic(), everything=force)
            answering = self.vantage.answering
            shown = (screen, state, state.seq, self.feed.source.link, self.feed.error,
                     player and (player.position, player.playing),
                     answering and answering.answers)  # fmt: skip
            if shown == self._shown and not force:
                screen.paint_frame(due)
                return
            if due == EVERYTHING:
                self._shown = shown
            screen.paint(due)
            if due.numbers:
                self._wished = wish(self.view, screen.where)
                self.feed.want(self._wished)

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
            newest=self.vantage.newest,
            retry_key=key_of("retry", self.settings.keys),
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

    def demand(self, demand: AskDense | AskNote) -> None:
        """Have something done by the run; while we look at its past, by the run as it is now."""
        if self.vantage.demand(demand):
            self.repaint()
        else:
            self.notify("this run cannot be asked for anything", severity="warning", timeout=4)

    def _ask_and_tell(self, screen: RunScreen) -> None:
        """Say what tensor is looked at, and show what became of earlier demands."""
        answering = self.vantage.answering
        if answering is not None:
            answering.look_at(screen.subject(), finely=self.view.finely, rank=screen.rank())
        for done in self.vantage.said():
            severity: SeverityLevel = "warning" if done.refused else "information"
            self.notify(done.said, severity=severity, timeout=4)

    def _sound(self, flags: Sequence[Flag]) -> None:
        loud = [flag for flag in flags if self.view.loud(flag)]
        name = self.feed.source.name
        title, news = self._alarm.hear(loud, name)
        if news and (self.player is None or self.vantage.travelling):
            if self.settings.bell:
                self.bell()
            if self.settings.notify:
                self.write(notification(f"deadband: {name}: {news}"))
        if title:
            self.write(title)

    # --- from screen to screen ---------------------------------------------------------------

    def _start_run(self) -> None:
        self.vantage.start(first_wish(self.view))
        self._shown, self._alarm = (), Alarm()
        self.push_screen(DashboardScreen())

    def open_run(self, entry: RunEntry) -> None:
        """Open a run of the picker."""
        self._open(lambda: self._open_run(entry), self._show_run)

    def compare(self, entries: tuple[RunEntry, RunEntry]) -> None:
        """Two runs of the picker on the same axes."""

        def show(sources: tuple[Source, Source]) -> None:
            self.push_screen(CompareScreen(sources, threaded=self._threaded))

        self._open(lambda: open_both(entries, self._open_run), show)

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
        self.vantage.take(source)
        self._recalled = ""
        self.view = as_set(self.settings)
        self._start_run()

    def travel(self, move: Callable[[Player], None]) -> None:
        """Move in the recording; of a live run, open it first, where we stand now."""
        player = self.player
        if player is not None:
            self.feed.ask(lambda: move(player))
            self.repaint()
            return
        source, wished = self.feed.source, self._wished

        def connect() -> Player:
            past = self._open_past(source)
            if isinstance(past, Selective) and wished is not None:
                past.want(wished)
            past.seek(source.state.step)
            move(past)
            past.refresh(0.0)  # here, where the picture need not wait for it
            return past

        self._open(connect, lambda past: self._show_past(source, past), severity="warning")

    def _show_past(self, live: Source, past: Player) -> None:
        if self.feed.source is not live:
            past.close()  # somebody has left in the meantime
            return
        self.vantage.go_back(past)
        self.view.frozen = None
        self.repaint()

    def come_back(self) -> None:
        """From the past to now."""
        if self.vantage.come_back():
            self.repaint()

    def leave_run(self) -> None:
        """Back to the picker, where there is one."""
        if self._picking is None:
            return
        while len(self.screen_stack) > 1 and not isinstance(self.screen, PickerScreen):
            self.pop_screen()
        self.vantage.leave()

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

    def action_help(self) -> None:
        """The help of this screen."""
        where = getattr(self.screen, "where", "picker")
        replay = self.player is not None
        self.push_screen(HelpScreen(where, replay=replay, changed=self.settings.keys))

    def action_detach(self) -> None:
        """Leave. Training is not touched."""
        self.exit(0)

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
