"""What watching costs training: `python tests/benchmarks/overhead.py [WORKLOAD ...] [--peers]`.

`--bars` takes seven and a half minutes and prints each figure beside what it may be, all measured
within one process a workload (see `bars.py`); `--scale 0.2` does so in a fifth of the time. Without
it conditions are compared across processes, which is less sure but shows more of them:

Every condition trains in processes of its own that stay alive and take turns, so that load on the
machine meets all alike; a turn of the bare loop stands beside every one of them. Prints ratios to
that bare turn (the median, and the range that holds the middle half) and never judges:

thread, wall, all cpu   ratios by processor time of the training thread, by the clock, and by
                        processor time of the process and of its hub
p99 +ms                 what the 99th percentile of a step's wall time is above the bare loop's
clocked                 share of the time that deadband's own clock says its copies took
a second, dropped       samples taken and dropped; `us each`: time of the training thread a sample
MB, watch, close        peak memory above the bare process; milliseconds that the two calls took
disk                    bytes that the training thread has written to disk

`--turns 4 --reps 2` takes about seven minutes on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

TURN_S = {"mlp": 0.8, "deep": 0.8, "cnn": 1.6, "gpt": 1.6}


@dataclass(frozen=True, slots=True)
class Turn:
    """What one process did in one turn."""

    steps: int
    wall_s: float
    thread_s: float
    """Processor time of the training thread."""
    all_s: float
    """Processor time of its process and of those it has started."""
    steps_ms: list[float]
    """Wall time of the slowest hundredth of the steps: of their fastest, p99."""
    clocked: float
    """Share of the time that the watcher's own clock says it took."""
    taken: int
    dropped: int
    written: int
    """Bytes to disk by the training thread."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known of a process at its end."""

    watch_ms: float
    close_ms: float
    memory_mb: float
    """Of the process, shared memory included."""


def work(workload: str, condition: str, turn_s: float) -> None:
    """One process: takes a turn for every line it reads."""
    from watchers import Nobody, watcher
    from workloads import make

    load = make(workload)
    for _ in range(3):
        load.step()
    start = time.perf_counter()
    looker = watcher(condition, load)
    watch_ms = 1e3 * (time.perf_counter() - start)
    thread_io = Path(f"/proc/self/task/{threading.get_native_id()}/io")

    def written() -> int:
        try:
            line = next(each for each in thread_io.read_text().splitlines() if "write_b" in each)
        except OSError:
            return 0
        return int(line.split()[1])

    def turn() -> Turn:
        times: list[float] = []
        spent, (taken, dropped), wrote = looker.spent_s, looker.counts, written()
        helpers, everything = looker.helper_cpu_s, time.process_time()
        bare = type(looker) is Nobody
        thread, began = time.thread_time(), time.perf_counter()
        last = began
        while last - began < turn_s:
            loss = load.step()
            if not bare:
                looker.stepped(loss)
            now = time.perf_counter()
            times.append(now - last)
            last = now
        thread_s = time.thread_time() - thread
        everything = time.process_time() - everything
        clocked = (looker.spent_s - spent) / (last - began)
        now_taken, now_dropped = looker.counts
        looker.between_turns()
        slowest = sorted(times)[-max(1, len(times) // 100) :]
        return Turn(
            steps=len(times),
            wall_s=last - began,
            thread_s=thread_s,
            all_s=everything + looker.helper_cpu_s - helpers,
            steps_ms=[1e3 * slowest[0], 1e3 * slowest[-1]],
            clocked=clocked,
            taken=now_taken - taken,
            dropped=now_dropped - dropped,
            written=written() - wrote,
        )

    turn()
    say(sys.stdout, "ready")
    for _ in sys.stdin:
        say(sys.stdout, json.dumps(asdict(turn())))
    memory_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    looker.close()
    close_ms = 1e3 * (time.perf_counter() - start)
    say(sys.stdout, json.dumps(asdict(Ending(watch_ms, close_ms, memory_mb))))


def say(stream: IO[str], line: str) -> None:
    """One line, at once."""
    stream.write(f"{line}\n")
    stream.flush()


class Worker:
    """A process that takes turns."""

    def __init__(self, workload: str, condition: str, turn_s: float, home: str) -> None:
        credit_s = "1" if condition == "default" else "0"
        environ = {
            **os.environ,
            "DEADBAND_HOME": home,
            "DEADBAND_CREDIT_S": credit_s,
            "OMP_NUM_THREADS": "1",
        }
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--work", workload, condition, str(turn_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environ,
            text=True,
        )

    def hear(self) -> str:
        """The next line it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with {self._process.wait()}")
        return line

    def turn(self) -> Turn:
        """Let it train for a while."""
        assert self._process.stdin is not None
        say(self._process.stdin, "go")
        return Turn(**json.loads(self.hear()))

    def end(self) -> Ending:
        """Let it finish."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        ending = Ending(**json.loads(self.hear()))
        self._process.wait(30)
        return ending


@dataclass(frozen=True, slots=True)
class Beside:
    """A turn and the bare turn beside it."""

    turn: Turn
    bare: Turn


def measure(workload: str, conditions: list[str], turns: int, reps: int) -> None:
    """Let the conditions of one workload take turns, and print what they cost."""
    rows: dict[str, list[Beside]] = {condition: [] for condition in conditions}
    endings: dict[str, list[Ending]] = {condition: [] for condition in ("bare", *conditions)}
    for _ in range(reps):
        with tempfile.TemporaryDirectory() as home:
            workers = {
                condition: Worker(workload, condition, TURN_S[workload], home)
                for condition in ("bare", *conditions)
            }
            for worker in workers.values():
                worker.hear()
            for turn in range(turns):
                order = conditions if turn % 2 else conditions[::-1]
                for first in range(0, len(order), 2):
                    before = workers[order[first]].turn()
                    bare = workers["bare"].turn()
                    rows[order[first]].append(Beside(before, bare))
                    for condition in order[first + 1 : first + 2]:
                        rows[condition].append(Beside(workers[condition].turn(), bare))
            for condition, worker in workers.items():
                endings[condition].append(worker.end())
    show(workload, rows, endings)


def show(workload: str, rows: dict[str, list[Beside]], endings: dict[str, list[Ending]]) -> None:
    """Print one table."""
    bare = [row.bare for row in next(iter(rows.values()))]
    bare_ms = float(np.median([1e3 * turn.wall_s / turn.steps for turn in bare]))
    bare_mb = float(np.median([each.memory_mb for each in endings["bare"]]))
    say(sys.stdout, f"\n{workload}: {bare_ms:.3f} ms a step, {bare_mb:.0f} MB")
    say(
        sys.stdout,
        f"{'':26}{'thread':>22}{'wall':>22}{'all cpu':>9}{'p99 +ms':>9}{'clocked':>9}"
        f"{'a second':>9}{'dropped':>9}{'us each':>9}{'MB':>8}{'watch':>8}{'close':>8}{'disk':>6}",
    )
    for condition, besides in rows.items():
        turns = [row.turn for row in besides]
        seconds = sum(turn.wall_s for turn in turns)
        taken = sum(turn.taken for turn in turns)
        added = np.median(
            [
                (row.turn.thread_s / row.turn.steps - row.bare.thread_s / row.bare.steps)
                * row.turn.steps
                / max(1, row.turn.taken)
                for row in besides
            ]
        )
        p99 = np.median([row.turn.steps_ms[0] - row.bare.steps_ms[0] for row in besides])
        end = endings[condition]
        say(
            sys.stdout,
            f"  {condition:<24}"
            f"{spread([_ratio(row, 'thread_s') for row in besides]):>22}"
            f"{spread([_ratio(row, 'wall_s') for row in besides]):>22}"
            f"{np.median([_ratio(row, 'all_s') for row in besides]):9.3f}"
            f"{p99:9.2f}"
            f"{np.median([turn.clocked for turn in turns]):9.2%}"
            f"{taken / seconds:9.1f}"
            f"{sum(turn.dropped for turn in turns) / seconds:9.1f}"
            f"{1e6 * added if taken else 0:9.0f}"
            f"{np.median([each.memory_mb for each in end]) - bare_mb:8.0f}"
            f"{np.median([each.watch_ms for each in end]):8.1f}"
            f"{np.median([each.close_ms for each in end]):8.1f}"
            f"{sum(turn.written for turn in turns):6d}",
        )


def _ratio(row: Beside, name: str) -> float:
    own: float = getattr(row.turn, name) / row.turn.steps
    bare: float = getattr(row.bare, name) / row.bare.steps
    return own / bare


def spread(values: list[float]) -> str:
    """Median and the middle half."""
    low, middle, high = np.quantile(values, (0.25, 0.5, 0.75))
    return f"{middle:.3f} ({low:.3f}..{high:.3f})"


def main() -> None:
    """Measure the workloads that were named, or all."""
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], sys.argv[3], float(sys.argv[4]))
        return
    import bars
    from watchers import CONDITIONS, PEERS, installed
    from workloads import NAMES

    own = [each for each in CONDITIONS if each != "bare"]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(NAMES))
    parser.add_argument("--turns", type=int, default=4, help="turns of each process")
    parser.add_argument("--reps", type=int, default=2, help="processes a condition")
    parser.add_argument("--only", nargs="+", metavar="CONDITION", help=", ".join(own))
    parser.add_argument("--peers", action="store_true", help="also those that are installed")
    parser.add_argument("--bars", action="store_true", help="figures beside their bars, 7.5 min")
    parser.add_argument("--scale", type=float, default=1.0, help="of the time that --bars takes")
    arguments = parser.parse_args()
    if arguments.bars:
        bars.run(arguments.workloads or list(NAMES), arguments.scale)
        return
    conditions = arguments.only or own
    if arguments.peers:
        conditions = conditions + [peer for peer in PEERS if installed(peer)]
        for peer in PEERS:
            if not installed(peer):
                say(sys.stdout, f"{peer} is not installed here and is left out")
    for workload in arguments.workloads or NAMES:
        measure(workload, conditions, arguments.turns, arguments.reps)


if __name__ == "__main__":
    main()
