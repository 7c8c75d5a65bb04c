"""The terminal UI: owns the tick, the theme and the way from screen to screen.

`run_dashboard` shows one run, `run_picker` all runs of this machine. Leaving never touches the
training. A caller without a terminal prints a report instead.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

os.environ.setdefault("TEXTUAL_FPS", "20")  # caps repaints; read when textual is imported

from textual.app import App, SystemCommand
from textual.screen import Screen

from deadband.wire import Flag
from deadband_monitor.errors import MonitorError
from deadband_monitor.hub.registry import RunEntry, runs
from deadband_monitor.source.base import Source
from deadband_monitor.source.open import open_entry
from deadband_monitor.tui.draw.state_line import Head, Standing, standing
from deadband_monitor.tui.feed import Feed, NoSource
from deadband_monitor.tui.governor import (
    EVERYTHING,
    NUMBERS_EVERY_S,
    TRENDS_EVERY_S,
    Due,
    Governor,
)
from deadband_monitor.tui.ink import DARK_THEME, LIGHT_THEME, THEMES, Depth, Ink
from deadband_monitor.tui.keys import KEYS, RUN
from deadband_monitor.tui.screens.base import Player, RunScreen, SizedScreen
from deadband_monitor.tui.screens.dashboard import DashboardScreen
from deadband_monitor.tui.screens.flag import FlagScreen
from deadband_monitor.tui.screens.help import HelpScreen
from deadband_monitor.tui.screens.layer import LayerScreen
from deadband_monitor.tui.screens.output import OutputScreen
from deadband_monitor.tui.screens.runs import PickerScreen
from deadband_monitor.tui.view import View, critical_flags

FPS = 4.0
KEY_PATIENCE_S = 0.05
"""A key press waits this long for a reader that is busy; then the next tick draws its picture."""
RATE_WINDOW = 64
"""Samples that the rate in the state line is taken over."""


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
        fps: float = FPS,
        ink: Ink | None = None,
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
        self.view = View()
        self.feed = Feed(source) if source is not None else Feed(NoSource())
        self._picking = list_runs
        self._open_run = open_run
        self._own_source = False
        self._child_output = child_output
        self._governor = Governor(fps)
        self._threaded = threaded
        self._shown: tuple[object, ...] = ()
        self._numbers_at = 0.0
        self._trends_at = 0.0
        self._soon = False
        self._owed = False
        self._rung: set[int] | None = None
        self._titled = ""
        self.animation_level = "none"
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.ink.theme
        self.ink = self.ink.on(dark=self.current_theme.dark)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What our style sheet needs and other themes lack."""
        return {"frame": "#585858", "dim": "#8a8a8a", "strong": "#eeeeee"}

    def on_mount(self) -> None:
        """Open the first screen and start to look."""
        self.set_class(not self.ink.unicode, "-ascii")
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

    def _tick(self) -> None:
        period = self._governor.beat(time.monotonic())
        if not self._threaded:
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
        screen = self.screen_stack[-1] if self.screen_stack else None
        if not isinstance(screen, SizedScreen) or not screen.laid_out:
            return
        if not isinstance(screen, RunScreen):
            if force:
                screen.paint(EVERYTHING)
            return
        with self.feed.look(KEY_PATIENCE_S if force else 0.0) as held:
            if not held:
                self._owed = self._owed or force
                return
            self._owed = False
            state = self.feed.source.state
            self.view.live = state
            player = self.player
            self.view.last_step = player.last_step if player else None
            self._sound(state.flags.values())
            now = time.monotonic()
            due = Due(
                numbers=force or now - self._numbers_at >= NUMBERS_EVERY_S,
                trends=force or now - self._trends_at >= TRENDS_EVERY_S,
            )
            if due.numbers:
                self._numbers_at = now
            if due.trends:
                self._trends_at = now
            shown = (screen, state, state.seq, self.feed.source.link, self.feed.error,
                     player and (player.position, player.playing))  # fmt: skip
            if shown == self._shown and not force:
                screen.paint_frame(due)
                return
            if due == EVERYTHING:
                self._shown = shown
            screen.paint(due)

    def head(self) -> Head:
        """What the state line says now."""
        source, view = self.feed.source, self.view
        state, player = source.state, self.player
        status = state.status
        latest = state.latest
        moving = source.link == "live" and (
            status is None or status.status in ("running", "silent")
        )
        silent = status is not None and status.status == "silent"
        held = view.frozen
        return Head(
            name=state.info.hello.run if state.info else source.name,
            standing=self._standing(),
            step=view.state.step,
            last_step=player.last_step if player else None,
            rate=self._rate() if moving and not silent else float("nan"),
            age_s=self.clock() - source.last_heard if moving else float("nan"),
            every=status.interval if status else 1,
            verdict=state.verdict,
            flags=state.open_flags,
            frozen_steps=state.step - held.step if held else None,
            slow_link=self._governor.slow,
            judged=latest is not None,
        )

    def _standing(self) -> Standing:
        source = self.feed.source
        state, player = source.state, self.player
        status = state.status
        if player is not None and not self.feed.error:
            sign, word = ("▶", f"REPLAY x{player.speed:g}") if player.playing else ("❚❚", "REPLAY")
            ended = status.status if status and status.status not in ("running", "silent") else ""
            return Standing(sign=sign, word=word, style="info", detail=ended)
        return standing(
            link=source.link,
            status=status.status if status else "",
            error=status.error if status else "",
            quiet_s=self._quiet_s(),
            heard=time.strftime("%H:%M:%S", time.localtime(source.last_heard)),
            sampled=state.latest is not None,
            known=state.info is not None,
            broken=self.feed.error,
        )

    def _quiet_s(self) -> float:
        """Since the newest sample; by the hub's clock up to its last word, then by ours."""
        source = self.feed.source
        status, latest = source.state.status, source.state.latest
        before = status.time - latest.time if status and latest else 0.0
        return max(before, 0.0) + self.clock() - source.last_heard

    def _rate(self) -> float:
        recent = self.feed.source.state.recent
        if len(recent) < 2:
            return float("nan")
        first, last = recent[max(len(recent) - RATE_WINDOW, 0)], recent[-1]
        span = last.time - first.time
        return (last.step - first.step) / span if span > 0 else float("nan")

    # --- alarm -------------------------------------------------------------------------------

    def _sound(self, flags: Iterable[Flag]) -> None:
        """Bell and title for a critical flag that was not there when we came."""
        critical = critical_flags(list(flags))
        if self._rung is None:
            self._rung = set(critical)
        elif critical - self._rung:
            self._rung |= critical
            if self.player is None:
                self.bell()
        name = self.feed.source.name
        title = f"{'▼ ' if critical else ''}deadband {name}"
        if title != self._titled:
            self._titled = title
            self._write(f"\x1b]2;{''.join(c for c in title if c.isprintable())}\x07")

    def _write(self, escape: str) -> None:
        """Textual has no public way to set the title of the terminal."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(escape)

    # --- from screen to screen ---------------------------------------------------------------

    def _start_run(self) -> None:
        if self._threaded:
            self.feed.start()
        else:
            self.feed.pump()
        self._shown, self._rung = (), None
        self.push_screen(DashboardScreen())

    def open_run(self, entry: RunEntry) -> None:
        """Open a run of the picker, in a thread: it may take a while."""

        def connect() -> None:
            try:
                source = self._open_run(entry)
            except (MonitorError, OSError) as error:
                self.call_from_thread(self.notify, str(error), severity="error", timeout=8)
                return
            self.call_from_thread(self._show_run, source)

        self.run_worker(connect, thread=True, exclusive=True, group="open")

    def _show_run(self, source: Source) -> None:
        self._close_feed()
        self.view, self.feed, self._own_source = View(), Feed(source), True
        self._start_run()

    def leave_run(self) -> None:
        """Back to the picker, where there is one."""
        if self._picking is None:
            return
        while len(self.screen_stack) > 1 and not isinstance(self.screen, PickerScreen):
            self.pop_screen()
        self._close_feed()
        self.feed = Feed(NoSource())

    def _close_feed(self) -> None:
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
        self.push_screen(HelpScreen(where, replay=self.player is not None))

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


def run_dashboard(source: Source, *, child_output: Path | None = None) -> int:
    """Show one run until the user leaves; the caller closes the source.

    Args:
        source: the run.
        child_output: where the script's output goes, for the key that shows it.
    """
    return DeadbandApp(source, child_output=child_output).run() or 0


def run_picker(
    list_runs: Callable[[], Sequence[RunEntry]] = runs,
    open_run: Callable[[RunEntry], Source] = open_entry,
) -> int:
    """Show the runs of this machine, and any of them, until the user leaves."""
    return DeadbandApp(list_runs=list_runs, open_run=open_run).run() or 0
