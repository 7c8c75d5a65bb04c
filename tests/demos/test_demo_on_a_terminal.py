"""The real thing on a real terminal: training, hub and dashboard, seen as a user sees them."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator

import pexpect
import pyte
import pytest

pytestmark = [pytest.mark.terminal, pytest.mark.timeout(120)]

PATIENCE_S = 60.0


class Terminal:
    """A `deadband ...` in a pseudo-terminal, and the screen it has drawn."""

    def __init__(self, *arguments: str, columns: int = 120, rows: int = 40) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.process = pexpect.spawn(
            sys.executable,
            ["-m", "deadband_monitor", *arguments],
            dimensions=(rows, columns),
            env=environment,
            timeout=PATIENCE_S,
        )

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(self.screen.display)

    def wait_for(self, seen: Callable[[str], bool]) -> str:
        """Draw what comes until the screen shows it; the screen's text."""
        deadline = time.monotonic() + PATIENCE_S
        while not seen(self.text):
            assert time.monotonic() < deadline, f"not seen in time:\n{self.text}"
            try:
                self._stream.feed(self.process.read_nonblocking(65536, timeout=1.0))
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                assert seen(self.text), f"ended without it:\n{self.text}"
        return self.text

    def press(self, keys: str) -> None:
        """Type."""
        self.process.send(keys)

    def ends(self) -> int:
        """The exit status, drawn up to the end."""
        while True:
            try:
                self._stream.feed(self.process.read_nonblocking(65536, timeout=PATIENCE_S))
            except pexpect.EOF:
                break
        self.process.close()
        assert self.process.exitstatus is not None
        return int(self.process.exitstatus)


def step_of(text: str) -> int:
    """The step that the state line shows; 0 before it does."""
    found = re.search(r"step ([\d,]+)", text)
    return int(found[1].replace(",", "")) if found else 0


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    made: list[Terminal] = []

    def open_terminal(*arguments: str, **size: int) -> Terminal:
        made.append(Terminal(*arguments, **size))
        return made[-1]

    yield open_terminal
    for one in made:
        one.process.close(force=True)


@pytest.mark.parametrize(
    ("columns", "rows"), [(120, 40), pytest.param(80, 24, marks=pytest.mark.slow)]
)
def test_a_demo_collapses_while_one_watches_and_q_leaves(
    columns: int,
    rows: int,
    terminal: Callable[..., Terminal],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEADBAND_DEMO_PACE", "0.01")
    screen = terminal("demo", "lr-too-high", columns=columns, rows=rows)
    opened = screen.wait_for(lambda text: "LIVE" in text and step_of(text) > 0)
    assert "output variance" in opened
    assert "healthy" in opened
    first = step_of(opened)
    screen.wait_for(lambda text: step_of(text) > first + 20)
    collapsed = screen.wait_for(lambda text: "FAILING" in text)
    assert step_of(collapsed) > 300
    screen.wait_for(lambda text: "learning-rate-too-high" in text)
    screen.press("q")
    assert screen.ends() == 0
    assert "FAILING: learning-rate-too-high" in screen.text
    assert "the whole report: deadband report lr-too-high-" in screen.text.replace("\n", "")


def test_leaving_a_live_run_leaves_it_training_and_ctrl_c_stops_it(
    terminal: Callable[..., Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEADBAND_DEMO_PACE", "0.2")  # it would take minutes
    screen = terminal("demo", "healthy", columns=100, rows=30)
    screen.wait_for(lambda text: "LIVE" in text and step_of(text) > 0)
    screen.press("q")
    screen.wait_for(lambda text: "training goes on" in text and "deadband attach" in text)
    screen.press("\x03")
    assert screen.ends() == 130


def test_the_picker_opens_a_finished_run_and_q_leaves_it(
    terminal: Callable[..., Terminal],
) -> None:
    from deadband import wire
    from deadband_monitor.record.writer import Recorder
    from deadband_monitor.source.scripted import collapsing_run

    recorder = Recorder(wire.recording_path("collapsing-000001"))
    for event in collapsing_run():
        recorder.add(event)
    recorder.close(0.0)
    screen = terminal()
    screen.wait_for(lambda text: "collapsing-000001" in text)
    screen.press("\r")
    screen.wait_for(lambda text: "FAILING" in text and "output variance" in text)
    screen.press("q")
    assert screen.ends() == 0
