"""What the dashboard writes to a terminal, and what it costs: bytes and CPU on a pty.

    python tests/benchmarks/terminal.py [--layers 40] [--rate 10] [--seconds 20] [--size 120x40]

Runs the dashboard on a scripted run whose samples come by the clock, as its own process on a pty
whose reader only counts. The first seconds (start, first full picture) are left out.
"""

from __future__ import annotations

import argparse
import os
import pty
import select
import struct
import sys
import termios
import time
import zlib
from fcntl import ioctl
from pathlib import Path

WARM_UP_S = 5.0
PROGRAM = Path(__file__).parent.parent / "screen" / "fake_dashboard.py"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=40)
    parser.add_argument("--rate", type=float, default=10.0, help="samples a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--size", default="120x40")
    parser.add_argument("--term", default="xterm-256color")
    parser.add_argument("--keys", default="", help="typed once at the start, such as ']]'")
    arguments = parser.parse_args()
    columns, rows = map(int, arguments.size.split("x"))
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = arguments.term
        os.environ.pop("COLORTERM", None)
        os.execv(
            sys.executable,
            [sys.executable, str(PROGRAM), str(arguments.layers), str(arguments.rate)],
        )
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    read(terminal, WARM_UP_S)
    if arguments.keys:
        os.write(terminal, arguments.keys.encode())
        read(terminal, 1.0)
    before, started = cpu_s(child), time.monotonic()
    written = read(terminal, arguments.seconds)
    spent, span = cpu_s(child) - before, time.monotonic() - started
    os.write(terminal, b"q")
    read(terminal, 1.0)
    os.waitpid(child, 0)
    print(
        f"{arguments.layers} layers, {arguments.rate:g} samples/s, {arguments.size},"
        f" {arguments.term}: {len(written) / span / 1000:.1f} kB/s"
        f" ({len(zlib.compress(written, 6)) / span / 1000:.2f} kB/s compressed),"
        f" {spent / span:.1%} of one core"
    )


def read(terminal: int, seconds: float) -> bytes:
    """Everything written in the next seconds."""
    end, parts = time.monotonic() + seconds, []
    while (left := end - time.monotonic()) > 0:
        if select.select([terminal], [], [], left)[0]:
            try:
                parts.append(os.read(terminal, 65536))
            except OSError:  # the other side has closed
                break
    return b"".join(parts)


def cpu_s(process: int) -> float:
    """CPU time a process has used (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
