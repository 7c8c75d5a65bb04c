"""The dashboard in a real terminal: it opens, the gauges move, the collapse shows, q leaves."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pyte
import pytest

PROGRAM = Path(__file__).with_name("fake_dashboard.py")
DEADLINE_S = 15.0

pytestmark = pytest.mark.terminal


class Terminal:
    """A program on a pty, and the screen that it has drawn."""

    def __init__(self, *arguments: str, shell: bool = False, **env: str) -> None:
        columns, rows = 80, 24
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        environment = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "COLORTERM", "TEXTUAL_FPS", "COLUMNS", "LINES")
        }
        program = [sys.executable, str(PROGRAM), *arguments]
        if shell:
            program = ["bash", "--norc", "--noprofile", "-i"]
        self.child = pexpect.spawn(
            program[0],
            program[1:],
            dimensions=(rows, columns),
            env={**environment, "TERM": "xterm-256color", "PYTHONUTF8": "1", **env},
        )

    @property
    def text(self) -> str:
        return "\n".join(self.screen.display)

    def read(self) -> bool:
        """Take what has been written; False at the end."""
        try:
            self._stream.feed(self.child.read_nonblocking(65536, timeout=0.2))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True

    def wait_for(self, seen: Callable[[str], bool]) -> None:
        """Read until the screen is as wanted."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            alive = self.read()
            if seen(self.text):
                return
            assert alive, f"ended early:\n{self.text}"
        pytest.fail(f"not seen in {DEADLINE_S} s:\n{self.text}")

    def leave(self) -> int:
        """Press q; the exit status."""
        self.child.send("q")
        end = time.monotonic() + DEADLINE_S
        while self.read() and time.monotonic() < end:
            pass
        self.child.close()
        return int(self.child.exitstatus)


@pytest.fixture
def opened() -> Iterator[Callable[..., Terminal]]:
    terminals: list[Terminal] = []

    def open_(*arguments: str, shell: bool = False, **settings: str) -> Terminal:
        terminals.append(Terminal(*arguments, shell=shell, **settings))
        return terminals[-1]

    yield open_
    for terminal in terminals:
        terminal.child.close(force=True)


def test_the_collapse_is_seen_live_and_q_leaves(opened: Callable[..., Terminal]) -> None:
    terminal = opened("8", "25", "40")
    terminal.wait_for(lambda text: "LIVE" in text and "worst net." in text)
    first = gauge(terminal.text)
    assert "healthy" in terminal.text
    terminal.wait_for(lambda text: gauge(text) != first)
    terminal.wait_for(lambda text: "FAILING" in text and "learning-rate-too-high" in text)
    terminal.wait_for(lambda text: "divide the learning rate by 10" in text)
    terminal.child.send("?")
    terminal.wait_for(lambda text: "keys · esc closes" in text)
    terminal.child.send("q")
    terminal.wait_for(lambda text: "keys · esc closes" not in text)
    terminal.child.setwinsize(16, 60)
    terminal.screen.resize(16, 60)
    terminal.wait_for(lambda text: "FAILING" in text)
    assert terminal.leave() == 0


def test_no_color_is_obeyed(opened: Callable[..., Terminal]) -> None:
    terminal = opened("8", "50", "5", NO_COLOR="1")
    terminal.wait_for(lambda text: "FAILING" in text and "▼▼▼" in text)
    colours = {cell.fg for row in terminal.screen.buffer.values() for cell in row.values()}
    assert colours == {"default"}
    assert terminal.leave() == 0


def test_ctrl_z_gives_the_shell_back_and_fg_the_screen(opened: Callable[..., Terminal]) -> None:
    terminal = opened(shell=True, PS1="$ ")
    terminal.child.sendline(f"{sys.executable} {PROGRAM} 8 25")
    terminal.wait_for(lambda text: "LIVE" in text and "worst net." in text)
    # The emulator knows no second screen, so what the shell writes stands over the picture.
    terminal.child.send("\x1a")
    terminal.wait_for(lambda text: "Stopped" in text)
    terminal.child.sendline("echo the shell $((40 + 2)) is here")
    terminal.wait_for(lambda text: "the shell 42 is here" in text)
    terminal.child.sendline("fg")
    terminal.wait_for(lambda text: "the shell" not in text and "worst net." in text)
    terminal.child.send("q")
    terminal.wait_for(lambda text: "$ " in text)
    terminal.child.sendline("echo left with $?")
    terminal.wait_for(lambda text: "left with 0" in text)


def gauge(text: str) -> str:
    """The line of the output variance."""
    return next((line for line in text.splitlines() if "output variance" in line), "")
