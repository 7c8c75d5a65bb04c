"""An app in the ink of its terminal: as many colours as it has, a theme of them, its title."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from textual.app import App

from deadband_monitor.settings import Choices
from deadband_monitor.tui.ink import DARK_THEME, LIGHT_THEME, THEMES, Depth, Ink

KEEP_TITLE, GIVE_TITLE_BACK = "\x1b[22;0t", "\x1b[23;0t"


class TerminalApp(App[int]):
    """Knows its terminal, and nothing of runs.

    Args:
        ink: what the terminal can show; None: looked up.
        theme: the one that was asked for; empty: the terminal's.
        remember: keeps the theme that is chosen for the next time.
    """

    def __init__(self, ink: Ink | None, *, theme: str, remember: Callable[[Choices], None]) -> None:
        # With NO_COLOR Textual would write greys, unless told to keep the terminal's own colours.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.ink = ink or Ink.detect(
            colors=self.console.color_system,
            no_color=self.no_color,
            encoding=getattr(sys.__stdout__, "encoding", None) or "ascii",
            environ=os.environ,
        )
        self._remember = remember
        self.trouble = ""
        """What is wrong with a setting, for the user to read once there is a screen."""
        self.animation_level = "none"
        for known in THEMES:
            self.register_theme(known)
        self.theme = self._first_theme(theme)
        self.ink = self.ink.on(dark=self.current_theme.dark)

    def _first_theme(self, wanted: str) -> str:
        """The theme that was asked for, where this terminal has the colours for it."""
        name = {"dark": DARK_THEME, "light": LIGHT_THEME}.get(wanted, wanted)
        if self.ink.depth is not Depth.FULL or not name:
            return self.ink.theme
        if name not in self.available_themes:
            self.trouble = f"no theme {wanted!r}: dark, light, or one of the palette's (ctrl+p)"
            return self.ink.theme
        return name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """What our style sheet needs and other themes lack."""
        return {"frame": "#585858", "dim": "#8a8a8a", "strong": "#eeeeee"}

    def enter_terminal(self) -> None:
        """Look like this terminal, and keep its title."""
        self.set_class(not self.ink.unicode, "-ascii")
        self.theme_changed_signal.subscribe(self, self._on_theme)
        self.write(KEEP_TITLE)

    def leave_terminal(self) -> None:
        """Give the title back."""
        self.write(GIVE_TITLE_BACK)

    def write(self, escape: str) -> None:
        """Textual has no public way to set the title of the terminal."""
        if self._driver is not None and not self.is_headless:
            self._driver.write(escape)

    def action_theme(self) -> None:
        """Dark or light."""
        if self.ink.depth is not Depth.FULL:
            self.notify("this terminal has no colours to choose from", timeout=3)
            return
        self.theme = LIGHT_THEME if self.ink.dark else DARK_THEME

    def _on_theme(self, theme: object) -> None:
        if self.ink.depth is Depth.FULL:
            self._remember(Choices(theme=self.theme))
        self.ink = self.ink.on(dark=bool(getattr(theme, "dark", True)))
        for screen in self.screen_stack:
            screen.refresh(repaint=True, layout=True)
            for widget in screen.query("Canvas"):
                widget.refresh()
        self.repaint_soon()

    def repaint_soon(self) -> None:
        """Draw again when the layout has settled."""
