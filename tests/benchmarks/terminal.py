"""What the dashboard writes to a terminal, what it costs, and how soon it answers, on a pty.

    python tests/benchmarks/terminal.py [--layers 40] [--rate 10] [--seconds 20] [--size 120x40]
        [--only view,idle,keys,stall,paint,peers]

Runs the dashboard on a scripted run whose samples come by the clock, as its own process on a pty
whose reader only counts. The first seconds (start, first full picture) are left out. CPU is the
process's own time, so other work on the machine does not count, though it slows what is counted.
"""

from __future__ import annotations

import argparse
import os
import pty
import select
import shutil
import struct
import sys
import termios
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

WARM_UP_S = 5.0
PROGRAM = Path(__file__).parent.parent / "screen" / "fake_dashboard.py"
PEERS = {
    "wandb beta leet": ("wandb", "beta", "leet"),
    "nn-htop": ("nn-htop",),
    "btop": ("btop",),
}
"""What people leave open beside a training, and how it is started."""
KEY_PRESSES = 60
FLOOD = 1000.0
"""Samples a second while keys are pressed and while the terminal stalls."""
STALL_S = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a program cost over a while."""

    kilobytes: float
    compressed: float
    cpu: float
    """Of one core."""

    def __str__(self) -> str:
        return (
            f"{self.kilobytes:5.1f} kB/s ({self.compressed:.2f} compressed),"
            f" {self.cpu:5.1%} of one core"
        )


class Terminal:
    """A program on a pty of its own."""

    def __init__(self, command: Sequence[str], size: tuple[int, int], term: str) -> None:
        self.started = time.monotonic()
        columns, rows = size
        self.process, self.file = pty.fork()
        if self.process == 0:
            ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            os.environ["TERM"] = term
            os.environ.pop("COLORTERM", None)
            os.execvp(command[0], list(command))

    def read(self, seconds: float, until: bytes = b"") -> bytes:
        """Everything written in the next seconds, or until some of it is there.

        Raises:
            RuntimeError: the program has ended.
        """
        end, written = time.monotonic() + seconds, bytearray()
        while (left := end - time.monotonic()) > 0 and not (until and until in written):
            if select.select([self.file], [], [], left)[0]:
                try:
                    written += os.read(self.file, 65536)
                except OSError as error:  # the other side has closed
                    text = bytes(written[-400:]).decode(errors="replace")
                    raise RuntimeError(f"the program has ended: {text}") from error
        return bytes(written)

    def warm_up(self) -> None:
        """Our own first picture, and what comes with it."""
        self.read(60.0, until=b"Detach")
        self.read(WARM_UP_S)

    def press(self, key: str) -> None:
        """A key."""
        os.write(self.file, key.encode())

    @property
    def cpu_s(self) -> float:
        """CPU time that it has used (Linux)."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def take(self, seconds: float) -> Taken:
        """Count for a while."""
        before, started = self.cpu_s, time.monotonic()
        written = self.read(seconds)
        span = time.monotonic() - started
        return Taken(
            kilobytes=len(written) / span / 1000,
            compressed=len(zlib.compress(written, 6)) / span / 1000,
            cpu=(self.cpu_s - before) / span,
        )

    def close(self) -> None:
        """Leave it."""
        try:
            self.press("q")
            self.read(2.0)
        except (RuntimeError, OSError):
            pass
        else:
            os.kill(self.process, 9)
        os.waitpid(self.process, 0)
        os.close(self.file)


def dashboard(layers: int, rate: float) -> list[str]:
    """Our own command."""
    return [sys.executable, str(PROGRAM), str(layers), f"{rate:g}"]


def view(arguments: argparse.Namespace, size: tuple[int, int]) -> None:
    """The default view, or the one that keys lead to."""
    terminal = Terminal(dashboard(arguments.layers, arguments.rate), size, arguments.term)
    terminal.warm_up()
    if arguments.keys:
        terminal.press(arguments.keys)
        terminal.read(1.0)
    taken = terminal.take(arguments.seconds)
    terminal.close()
    print(f"deadband, {arguments.layers} layers, {arguments.rate:g} samples/s: {taken}")


def idle(arguments: argparse.Namespace, size: tuple[int, int]) -> None:
    """A run from which nothing comes."""
    terminal = Terminal(dashboard(arguments.layers, 0.0), size, arguments.term)
    terminal.warm_up()
    taken = terminal.take(arguments.seconds / 2)
    terminal.close()
    print(f"deadband, idle: {taken}")


def keys(arguments: argparse.Namespace, size: tuple[int, int]) -> None:
    """From a key to the first byte of its picture, while samples pour in."""
    terminal = Terminal(dashboard(arguments.layers, FLOOD), size, arguments.term)
    terminal.warm_up()
    took, cost = [], []
    for press in range(KEY_PRESSES):
        terminal.read(0.11 + 0.037 * (press % 7))
        metric = "23"[press % 2]
        title = ("saturation", "weight spread")[press % 2].encode()
        at, spent = time.monotonic(), terminal.cpu_s
        terminal.press(metric)
        terminal.read(2.0, until=metric.encode() + b" " + title)
        took.append(1000 * (time.monotonic() - at))
        cost.append(1000 * (terminal.cpu_s - spent))
    terminal.close()
    took.sort()
    cost.sort()
    print(
        f"deadband, key to screen at {FLOOD:g} samples/s: median {took[len(took) // 2]:.0f} ms,"
        f" p95 {took[int(len(took) * 0.95)]:.0f} ms, worst {took[-1]:.0f} ms;"
        f" of CPU: median {cost[len(cost) // 2]:.0f} ms, p95 {cost[int(len(cost) * 0.95)]:.0f} ms"
    )


def stall(arguments: argparse.Namespace, size: tuple[int, int]) -> None:
    """From the end of a stall until a key's picture shows that the screen is of now."""
    terminal = Terminal(dashboard(arguments.layers, FLOOD), size, arguments.term)
    terminal.warm_up()
    time.sleep(STALL_S)  # nobody reads: the pty is full, and its writer waits
    at = time.monotonic()
    terminal.press("2")
    terminal.read(20.0, until=b"2 saturation")
    print(
        f"deadband, after a terminal that stalled {STALL_S:g} s: current"
        f" {time.monotonic() - at:.2f} s after it reads again"
    )
    terminal.close()


def paint(arguments: argparse.Namespace, size: tuple[int, int]) -> None:
    """From the command to its first picture."""
    found = []
    for _ in range(3):
        terminal = Terminal(dashboard(arguments.layers, arguments.rate), size, arguments.term)
        terminal.read(30.0, until=b"Detach")
        found.append((time.monotonic() - terminal.started, terminal.cpu_s))
        terminal.close()
    wall, cpu = min(found)
    print(f"deadband, first picture after the command: {wall:.2f} s, of them {cpu:.2f} s of CPU")


def peers(arguments: argparse.Namespace, size: tuple[int, int]) -> None:
    """What others cost where they are installed; their pictures are of other things."""
    for name, command in PEERS.items():
        if shutil.which(command[0]) is None:
            print(f"{name}: not installed here ({command[0]} is not on the PATH)")
            continue
        terminal = Terminal(command, size, arguments.term)
        try:
            terminal.read(WARM_UP_S)
            print(f"{name}: {terminal.take(arguments.seconds)}")
        except RuntimeError as error:
            print(f"{name}: {error}")
        terminal.close()


PARTS = {"view": view, "idle": idle, "keys": keys, "stall": stall, "paint": paint, "peers": peers}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--rate", type=float, default=10.0, help="samples a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--term", default="xterm-256color")
    parser.add_argument("--keys", default="", help="typed once at the start, such as ']]'")
    parser.add_argument("--only", default=",".join(PARTS), help="some of the parts")
    arguments = parser.parse_args()
    columns, rows = map(int, arguments.size.split("x"))
    print(f"{arguments.size}, {arguments.term}, load {os.getloadavg()[0]:.1f}")
    for part in arguments.only.split(","):
        PARTS[part](arguments, (columns, rows))


if __name__ == "__main__":
    main()
