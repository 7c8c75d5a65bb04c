"""What the script has printed: the end of its log, following."""

from __future__ import annotations

from pathlib import Path

from textual.app import ComposeResult

from deadband_monitor.tui.draw.text import Row, fit
from deadband_monitor.tui.governor import Due
from deadband_monitor.tui.keys import OUTPUT, bindings
from deadband_monitor.tui.screens.base import RunScreen
from deadband_monitor.tui.widgets.canvas import Canvas
from deadband_monitor.tui.widgets.panels import KeyLine, StateLine

TAIL_BYTES = 65536


class OutputScreen(RunScreen):
    """The tail of a log file."""

    where = OUTPUT
    BINDINGS = bindings(OUTPUT)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.text = Canvas(id="output", classes="panel")

    def compose(self) -> ComposeResult:
        """State, text, keys."""
        yield StateLine(id="state")
        yield self.text
        yield KeyLine(id="keys")

    def paint(self, due: Due) -> None:
        """Draw the last lines that fit."""
        self.paint_frame(due)
        self.text.entitle(f"output · {self._path}")
        if due.numbers:
            width, height = self.text.size
            self.text.show([fit(row, width) for row in tail(self._path, height)])


def tail(path: Path, lines: int) -> list[Row]:
    """The last lines of a file; of a line that was overwritten (a progress bar), its last state."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(file.tell() - TAIL_BYTES, 0))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return [[(f"cannot read {path}: {error.strerror}", "warn")]]
    shown = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    if shown and not shown[-1]:
        shown.pop()
    return [[(line, "text")] for line in shown[-lines:]] or [[("nothing printed so far", "dim")]]
