"""A very long run of a very deep network, opened and moved in: how long that takes, and memory.

    python tests/benchmarks/big_run.py [--layers 400] [--steps 1000000] [--samples 4000]

Writes the recording as a hub would, opens it with `deadband replay` on a pty, and waits for what
is asked for to stand on the screen: at first, after a zoom, after a jump to any step.
"""

from __future__ import annotations

import argparse
import os
import pty
import random
import re
import select
import statistics
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path

from deadband_monitor.hub.history import Chronicle
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.scripted import STARTED, collapsing_run

PROGRAM = "import sys; from deadband_monitor.cli import main; sys.exit(main())"
QUIET_S = 0.03
"""No byte for this long: the picture is whole."""
PATIENCE_S = 20.0
ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")


class Screen:
    """`deadband replay` on a pty."""

    def __init__(self, recording: Path, columns: int, rows: int) -> None:
        self.process, self._terminal = pty.fork()
        if self.process == 0:
            os.environ["TERM"] = "xterm-256color"
            os.environ.pop("COLORTERM", None)
            os.execv(sys.executable, [sys.executable, "-c", PROGRAM, "replay", str(recording)])
        ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._terminal, keys.encode())

    def wait(self, shown: Callable[[bytes], bool]) -> float:
        """When (monotonic) the last byte of the picture came that shows this.

        Raises:
            TimeoutError: it never did.
        """
        read, last, end = b"", time.monotonic(), time.monotonic() + PATIENCE_S
        found = False
        while time.monotonic() < end:
            if select.select([self._terminal], [], [], QUIET_S)[0]:
                read += os.read(self._terminal, 65536)
                last = time.monotonic()
                found = found or shown(ESCAPES.sub(b"", read))
            elif found:
                return last
        raise TimeoutError(ESCAPES.sub(b"", read)[-500:])

    def drain(self, seconds: float = 0.3) -> None:
        """Read what is still to come."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self._terminal], [], [], left)[0]:
                os.read(self._terminal, 65536)

    def memory_mb(self) -> float:
        """Resident memory (Linux)."""
        status = Path(f"/proc/{self.process}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_s(self) -> float:
        """Processor time so far, of all threads that live (Linux): a busy machine adds none."""
        spent = 0
        for task in Path(f"/proc/{self.process}/task").iterdir():
            with suppress(OSError):
                spent += int((task / "schedstat").read_text().split()[0])
        return spent / 1e9

    def leave(self) -> None:
        """Quit and wait for it."""
        self.press("q")
        with suppress(OSError):  # the other side has closed
            self.drain(1.0)
        os.waitpid(self.process, 0)


class Moment:
    """When a key was pressed, and what the viewer had spent by then."""

    def __init__(self, screen: Screen) -> None:
        self._screen, self._cpu, self._at = screen, screen.cpu_s(), time.monotonic()

    def until(self, shown: float) -> tuple[float, float]:
        """Seconds from then to a picture, and of a processor."""
        return shown - self._at, self._screen.cpu_s() - self._cpu


def write(path: Path, layers: int, steps: int, samples: int) -> None:
    """The recording of a run that collapses half way."""
    chronicle = Chronicle(Recorder(path))
    every = max(steps // samples, 1)
    script = collapsing_run(layers=layers, samples=samples, onset=samples // 2, every=every)
    for number, event in enumerate(script):
        chronicle.add(event)
        if number % 20 == 0:
            chronicle.commit(STARTED + 0.25 * number)
    chronicle.close(STARTED + 0.25 * samples)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=400)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--samples", type=int, default=4000)
    parser.add_argument("--moves", type=int, default=40)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--recording", type=Path, help="kept here, and taken if it is there")
    arguments = parser.parse_args()
    columns, rows = map(int, arguments.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.recording or Path(folder, "big-000001.dbr")
        if not path.exists():
            write(path, arguments.layers, arguments.steps, arguments.samples)
        print(
            f"{arguments.layers} layers, {arguments.steps:,} steps, {arguments.samples:,} samples:"
            f" {path.stat().st_size / 1e6:.0f} MB"
        )
        measure(path, arguments.steps, arguments.samples, arguments.moves, columns, rows)


def measure(path: Path, steps: int, samples: int, moves: int, columns: int, rows: int) -> None:
    """Open it, zoom, jump about, and print what that took."""
    began = time.monotonic()
    screen = Screen(path, columns, rows)
    last = f"{steps:,}/{steps:,}".encode()
    first = screen.wait(lambda text: last in text and b"a column" in text) - began
    first_cpu, opened = screen.cpu_s(), screen.memory_mb()
    screen.drain(2.0)
    zooms, jumps, grown = [], [], [opened]
    for key in "]]]]]][[[[[[":
        screen.drain()
        sent = Moment(screen)
        screen.press(key)
        zooms.append(sent.until(screen.wait(lambda text: b"a column" in text)))
    every, places = steps // samples, random.Random(3)
    for move in range(moves):
        step = every * places.randrange(1, samples)
        screen.press(":")
        screen.drain()  # the line must be open before anything is typed into it
        screen.press(str(step))
        screen.drain()
        wanted = f"{step:,}/{steps:,}".encode()
        sent = Moment(screen)
        screen.press("\r")
        shown = screen.wait(lambda text, wanted=wanted: wanted in text)  # type: ignore[misc]
        jumps.append(sent.until(shown))
        if move % 10 == 9:
            grown.append(screen.memory_mb())
    screen.leave()
    print(f"first picture {first:.2f} s after the command ({first_cpu:.2f} s of a processor)")
    for what, taken in (("zoom", zooms), ("jump to a step", jumps)):
        for kind, took in (("", [each[0] for each in taken]), (" (cpu)", [it[1] for it in taken])):
            took.sort()
            print(
                f"{what}{kind}: median {statistics.median(took) * 1000:.0f} ms,"
                f" p95 {took[int(0.95 * (len(took) - 1))] * 1000:.0f} ms,"
                f" most {took[-1] * 1000:.0f} ms"
            )
    print("memory after opening and each 10 jumps: " + ", ".join(f"{it:.0f}" for it in grown), "MB")


if __name__ == "__main__":
    main()
