"""The run picker: every run of this machine and of the hosts that are watched."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from textual import events
from textual.app import ComposeResult

from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.tui.draw.run_list import heading, run_row
from deadband_monitor.tui.draw.text import Row, fit, spread
from deadband_monitor.tui.governor import EVERYTHING, Due
from deadband_monitor.tui.keys import PICKER, bindings, key_line
from deadband_monitor.tui.screens.base import SizedScreen
from deadband_monitor.tui.screens.prompt import PromptScreen, no_pattern
from deadband_monitor.tui.widgets.canvas import Canvas
from deadband_monitor.tui.widgets.panels import KeyLine

EVERY_S = 2.0
"""Between two looks at the folder of runs."""


class PickerScreen(SizedScreen):
    """Choose a run."""

    where = PICKER
    BINDINGS = bindings(PICKER)

    def __init__(self, list_runs: Callable[[], Sequence[RunEntry]]) -> None:
        super().__init__()
        self._list_runs = list_runs
        self.entries: list[RunEntry] = []
        self._chosen = ""
        self._moved = False
        """Whether the user has chosen: before, a run comes before a host that does not answer."""
        self._known = False
        self._first = 0
        self._all: list[RunEntry] = []
        self.marked: list[str] = []
        """Runs to compare, the first that was marked first."""
        self.pattern = ""
        """Regular expression that runs must match; empty: all do."""
        self.top = Canvas(id="state")
        self.list = Canvas(id="list", classes="panel")
        self.detail = Canvas(id="detail")

    def compose(self) -> ComposeResult:
        """Title, list, the run at hand, keys."""
        yield self.top
        yield self.list
        yield self.detail
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Look now and every two seconds."""
        self.look()
        self.set_interval(EVERY_S, self.look)

    def look(self) -> None:
        """Read the list of runs in a thread: recordings may lie on a slow disk."""
        self.run_worker(self._read, thread=True, exclusive=True, group="runs")

    def _read(self) -> None:
        entries = list(self._list_runs())
        self.app.call_from_thread(self.take, entries)

    def take(self, entries: list[RunEntry]) -> None:
        """Show these runs; the run at hand stays at hand."""
        self._all, self._known = entries, True
        self._sift()

    def _sift(self) -> None:
        wanted = re.compile(self.pattern)
        self.entries = entries = [
            entry
            for entry in self._all
            if wanted.search(f"{entry.run} {entry.host} {entry.status} {entry.verdict}")
        ]
        self.marked = [run for run in self.marked if run in {entry.key for entry in self._all}]
        names = [entry.key for entry in entries if entry.run or self._moved]
        if entries and self._chosen not in names:
            self._chosen = (names or [entries[0].key])[0]
        self.paint(EVERYTHING)

    @property
    def chosen(self) -> RunEntry | None:
        """The run at hand."""
        return next((entry for entry in self.entries if entry.key == self._chosen), None)

    def paint(self, due: Due) -> None:
        """Draw the list."""
        del due
        width = self.list.size.width
        now = self.deadband.clock()
        live = sum(entry.live for entry in self.entries)
        count = sum(bool(entry.run) for entry in self.entries)
        told = f"{count} runs, {live} live " if self._known else "looking for runs "
        self.top.show([spread([(" deadband ", "title")], [(told, "dim")], self.top.size.width)])
        self.list.entitle(f"runs · /{self.pattern}/" if self.pattern else "runs")
        far = any(entry.host for entry in self.entries)
        rows: list[Row] = [heading(width, far=far)]
        room = max(self.list.size.height - 1, 1)
        at = next((i for i, entry in enumerate(self.entries) if entry.key == self._chosen), 0)
        self._first = first = min(max(at - room // 2, 0), max(len(self.entries) - room, 0))
        rows += [
            run_row(
                entry,
                now,
                width,
                far=far,
                chosen=entry.key == self._chosen,
                mark="AB"[self.marked.index(entry.key)] if entry.key in self.marked else "",
            )
            for entry in self.entries[first : first + room]
        ]
        if self._known and self.pattern and not self.entries:
            rows = [[("no run matches", "strong")]]
        elif self._known and not self.entries:
            rows = [
                [("no runs yet on this machine", "strong")],
                [],
                [("watch a network collapse    ", "dim"), ("deadband demo lr-too-high", "text")],
                [("watch a script of your own  ", "dim"), ("deadband run --live train.py", "text")],
            ]
        self.list.show(rows)
        chosen = self.chosen
        told = ""
        if chosen:
            place = f"{chosen.host}:" if chosen.host else ""
            told = chosen.problem or f"recording {place}{chosen.path}"
        self.detail.show([fit([(f" {told}", "dim")], self.detail.size.width)])
        self.query_one(KeyLine).paint(
            key_line(PICKER, replay=False, changed=self.deadband.settings.keys)
        )

    def action_select(self, by: int) -> None:
        """The next run."""
        names = [entry.key for entry in self.entries]
        if names:
            at = names.index(self._chosen) if self._chosen in names else 0
            self._chosen, self._moved = names[min(max(at + by, 0), len(names) - 1)], True
            self.paint(EVERYTHING)

    def action_open(self) -> None:
        """Open the run at hand."""
        entry = self.chosen
        if entry is None:
            return
        if entry.problem:
            place = f"{entry.host}: " if entry.host else ""
            self.notify(f"{place}{entry.problem}", severity="error")
            return
        self.deadband.open_run(entry)

    def action_mark(self) -> None:
        """Mark the run at hand; a third mark takes the place of the second."""
        if self._chosen in self.marked:
            self.marked.remove(self._chosen)
        elif self.chosen is not None:
            self.marked = [*self.marked[:1], self._chosen]
        self.action_select(1)
        self.paint(EVERYTHING)

    def action_compare(self) -> None:
        """The two marked runs, or the marked one and the one at hand."""
        wanted = list(dict.fromkeys([*self.marked, self._chosen]))[:2]
        entries = {entry.key: entry for entry in self._all if not entry.problem}
        if len(wanted) < 2:
            self.notify("mark a run with space, then go to another one", timeout=3)
        elif not all(run in entries for run in wanted):
            self.notify("one of the two cannot be read", severity="error", timeout=4)
        else:
            self.deadband.compare((entries[wanted[0]], entries[wanted[1]]))

    def action_filter(self) -> None:
        """Only runs that match."""
        before = self.pattern

        def heed(text: str) -> str:
            if trouble := no_pattern(text):
                return trouble
            self.pattern = text
            self._sift()
            return ""

        def leave(text: str | None) -> None:
            self.pattern = before if text is None else text
            self._sift()

        self.app.push_screen(PromptScreen("runs matching", before, heed), leave)

    def on_click(self, event: events.Click) -> None:
        """A click takes a run at hand, a second one opens it."""
        if event.widget is not self.list:
            return
        offset = event.get_content_offset(self.list)
        if offset is None:
            return
        at = self._first + offset.y - 1
        if 0 <= at < len(self.entries):
            again = self.entries[at].key == self._chosen
            self._chosen, self._moved = self.entries[at].key, True
            self.paint(EVERYTHING)
            if again:
                self.action_open()
