"""What watching costs, beside what it may cost: each figure is taken within one process.

Two processes of the same bare loop differ by 2-4 % (where memory happens to lie), more than most
of these figures, and a step of one process drifts by as much within seconds. So one process trains
in short turns, watched and bare by turns; what is shown is the median of the ratios of neighbours,
by processor time of the training thread. A turn of the governed loop holds one sample and the steps
that are left out for it, half of them before and half behind.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

SECONDS = {"mlp": 60.0, "deep": 90.0, "cnn": 110.0, "gpt": 130.0}
"""Of one workload: seven minutes in all."""
MANY_LAYERS = 10_000
_SHARES = {"default": 0.40, "whole": 0.15, "unsampled": 0.10, "every": 0.35}
_TURN_S = 0.1
_LEAST_STEPS = 3
_MOST_STEPS = {"unsampled": 100, "every": 40}
"""Of a turn. The hub takes its frames while the bare turn runs, so that none is dropped."""
_LEAST_GAP = 4
"""Steps between two samples that have a middle."""
_FAR = 1 << 60


@dataclass(frozen=True, slots=True)
class Figures:
    """What one process has found out."""

    step_ms: float = 0.0
    default: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the training thread: lower quartile, median, upper quartile of the ratios."""
    default_by_samples: float = 0.0
    """The same from what a sampled step and the two behind it take longer; 0: all are sampled."""
    default_all: float = 0.0
    """All processes: the same, times what they took in a stretch by what its thread took."""
    p99_ms: float = 0.0
    rate: float = 0.0
    unsampled: tuple[float, float, float] = (0.0, 0.0, 0.0)
    every: tuple[float, float, float] = (0.0, 0.0, 0.0)
    every_taken: float = 0.0
    """Share of the steps that got a frame."""
    watch_ms: float = 0.0
    close_ms: float = 0.0
    memory_mb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """The most that a workload's figures may be; `beat` is what the peer design reached."""

    default: float
    every: float
    beat: float
    p99_ms: float


BARS = {
    "mlp": Bar(default=1.015, every=1.30, beat=1.20, p99_ms=0.3),
    "deep": Bar(default=1.015, every=1.11, beat=1.06, p99_ms=5.0),
    "cnn": Bar(default=1.015, every=1.03, beat=1.015, p99_ms=5.0),
    "gpt": Bar(default=1.01, every=1.03, beat=1.01, p99_ms=5.0),
}


@dataclass(slots=True)
class Turn:
    """Some steps in a row."""

    thread: list[float]
    wall: list[float]
    sampled: list[bool]
    process_s: float
    hub_s: float
    wall_s: float

    @property
    def step_s(self) -> float:
        """Processor time of the training thread, a step."""
        return sum(self.thread) / len(self.thread)


class Trainer:
    """Trains in turns, with and without the watch's part of the loop.

    Args:
        name: of a workload.
    """

    def __init__(self, name: str) -> None:
        from watchers import Deadband
        from workloads import make

        self._load = make(name)
        for _ in range(5):
            self._load.step()
        self.before_mb = _memory_mb("VmHWM")
        start = time.perf_counter()
        self._looker = Deadband(self._load)
        self.watch_ms = 1e3 * (time.perf_counter() - start)
        self.watch = self._looker.watch
        until = time.perf_counter() + 3.0
        while self.watch.steps < 40 or (  # plans are made, and the hub has come up
            time.perf_counter() < until and not self._looker.helper_cpu_s
        ):
            self._looker.stepped(self._load.step())

    def steps(self, goes_on: Callable[[Turn], bool], *, watched: bool) -> Turn:
        """Train while `goes_on`. Between a watched turn and a bare one no sample is under way."""
        step, watch = self._load.step, self.watch
        recorder = watch._recorder
        turn = Turn([], [], [], 0.0, 0.0, 0.0)
        process_s, hub_s = time.process_time(), self._looker.helper_cpu_s
        began = time.perf_counter()
        watch._last = began  # the bare turn before was no step of its
        while len(turn.thread) < _LEAST_STEPS or goes_on(turn):
            taken = recorder.samples
            start, thread_start = time.perf_counter(), time.thread_time()
            loss = step()
            if watched:
                watch.step(loss=loss)
            thread_s, wall_s = time.thread_time() - thread_start, time.perf_counter() - start
            turn.thread.append(thread_s)
            turn.wall.append(wall_s)
            turn.sampled.append(recorder.samples != taken)
            turn.wall_s = time.perf_counter() - began
        turn.process_s = time.process_time() - process_s
        turn.hub_s = self._looker.helper_cpu_s - hub_s
        return turn

    def turn(self, kind: str, *, watched: bool) -> Turn:
        """A turn of the length of its kind."""
        most = _MOST_STEPS[kind]
        return self.steps(
            lambda turn: turn.wall_s < _TURN_S and len(turn.thread) < most, watched=watched
        )

    def period(self) -> Turn:
        """One sample of the governed loop in the middle of the steps that are left out for it."""

        recorder, cadence = self.watch._recorder, self.watch._cadence
        before = recorder.samples

        def goes_on(_: Turn) -> bool:
            middle = cadence.next_step - cadence.interval // 2
            return recorder.samples == before or self.watch.steps < middle

        return self.steps(goes_on, watched=True)

    def bare(self, steps: int) -> Turn:
        """So many steps that the watch hears nothing of."""
        return self.steps(lambda turn: len(turn.thread) < steps, watched=False)

    def settle(self) -> None:
        """End the sample that is under way."""
        while self.watch._armed:
            self._looker.stepped(self._load.step())

    def pace(self, every: int | None) -> None:
        """Sample every so many steps from now on; None: as the budget says."""
        cadence = self.watch._cadence
        cadence._every = every
        cadence.next_step = self.watch.steps + 1 if every != _FAR else _FAR
        self.watch._due = 0
        self._looker.stepped(self._load.step())  # its end is where the next step is armed

    def close(self) -> float:
        """End the watch; milliseconds that took."""
        start = time.perf_counter()
        self._looker.close()
        return 1e3 * (time.perf_counter() - start)


def measure(name: str, seconds: float) -> Figures:
    """All figures of a workload, in this process."""
    trainer = Trainer(name)

    def pairs(kind: str, begin: Callable[[], None]) -> list[tuple[Turn, Turn]]:
        found: list[tuple[Turn, Turn]] = []
        until = time.perf_counter() + seconds * _SHARES[kind]
        while time.perf_counter() < until or len(found) < 3:
            begin()
            watched = trainer.turn(kind, watched=True)
            trainer.pace(_FAR)
            trainer.settle()
            found.append((watched, trainer.turn(kind, watched=False)))
        return found

    trainer.pace(None)
    settled_s = time.perf_counter() + min(5.0, 0.1 * seconds)
    trainer.steps(lambda _: time.perf_counter() < settled_s, watched=True)
    until = time.perf_counter() + seconds * _SHARES["whole"]
    whole = trainer.steps(lambda _: time.perf_counter() < until, watched=True)
    trainer.period()  # from the middle on
    default: list[tuple[Turn, Turn]] = []
    until = time.perf_counter() + seconds * _SHARES["default"]
    while time.perf_counter() < until or len(default) < 3:
        one = trainer.period()
        near = trainer.watch._cadence.interval < _LEAST_GAP
        if near:
            trainer.pace(_FAR)
            trainer.settle()
        two = trainer.bare(len(one.thread))
        default.append((one, two))
        if near:
            trainer.pace(None)
    unsampled = pairs("unsampled", lambda: trainer.pace(_FAR))
    every = pairs("every", lambda: trainer.pace(1))
    bare = [each for _, each in default]
    watched = [each for each, _ in default]
    alone_s = float(np.median([each.step_s for each in bare]))
    memory_mb = _memory_mb("VmHWM") - trainer.before_mb
    return Figures(
        step_ms=1e3 * alone_s,
        default=_quartiles(default),
        default_by_samples=_by_samples(watched),
        default_all=_quartiles(default)[1] * (whole.process_s + whole.hub_s) / (sum(whole.thread)),
        p99_ms=1e3 * (_p99(watched) - _p99(bare)),
        rate=sum(whole.sampled) / whole.wall_s,
        unsampled=_quartiles(unsampled),
        every=_quartiles(every),
        every_taken=float(np.mean([np.mean(one.sampled) for one, _ in every])),
        watch_ms=trainer.watch_ms,
        close_ms=trainer.close(),
        memory_mb=memory_mb,
    )


def many_layers() -> Figures:
    """Memory of a watch on more layers than it follows."""
    import torch
    from torch import nn

    import deadband

    model = nn.Sequential(*[nn.Linear(8, 8) for _ in range(MANY_LAYERS)])
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        loss: torch.Tensor = model(torch.ones(4, 8)).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step()
    before_mb = _memory_mb("VmHWM")
    start = time.perf_counter()
    watch = deadband.watch(model, optimizer, every=1)
    watch_ms = 1e3 * (time.perf_counter() - start)
    for _ in range(6):
        watch.step(loss=step())
    memory_mb = _memory_mb("VmHWM") - before_mb
    start = time.perf_counter()
    watch.close()
    close_ms = 1e3 * (time.perf_counter() - start)
    return Figures(watch_ms=watch_ms, close_ms=close_ms, memory_mb=memory_mb)


def _quartiles(pairs: list[tuple[Turn, Turn]]) -> tuple[float, float, float]:
    """Of the ratios of each turn to the bare ones before and behind it."""
    bare = [two.step_s for _, two in pairs]
    ratios = [
        one.step_s / (0.5 * (bare[place] + bare[max(0, place - 1)]))
        for place, (one, _) in enumerate(pairs)
    ]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75))
    return float(low), float(middle), float(high)


def _by_samples(turns: list[Turn]) -> float:
    """Ratio, from what sampled steps and the two behind each take longer than those around them."""
    excesses: list[float] = []
    for turn in turns:
        usual_s = float(np.median(turn.thread))
        places = [place for place, each in enumerate(turn.sampled) if each]
        for place in places:
            behind = turn.sampled[place + 1 : place + 3]
            if not any(behind):
                some = turn.thread[place : place + 3]
                excesses.append((sum(some) - len(some) * usual_s) / usual_s)
    taken = sum(sum(turn.sampled) for turn in turns)
    steps = sum(len(turn.sampled) for turn in turns)
    if not excesses or taken > 0.25 * steps:
        return 0.0
    return 1.0 + float(np.median(excesses)) * taken / steps


def _p99(turns: list[Turn]) -> float:
    return float(np.quantile(np.concatenate([turn.wall for turn in turns]), 0.99))


def _memory_mb(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    return 0.0


# --- The table -----------------------------------------------------------------------------------


def rows(name: str, figures: Figures) -> list[tuple[str, float, str, float, str]]:
    """Label, value, its form, bar, remark."""
    bar = BARS[name]
    low, default, high = figures.default
    named = (
        f"{low:.3f}..{high:.3f}; by its samples {figures.default_by_samples:.3f}, "
        f"{figures.rate:.1f} a second"
        if figures.default_by_samples
        else f"{low:.3f}..{high:.3f}; {figures.rate:.1f} samples a second"
    )
    idle_low, unsampled, idle_high = figures.unsampled
    every_low, every, every_high = figures.every
    return [
        ("default, thread", default, ".3f", bar.default, named),
        ("default, all processes", figures.default_all, ".3f", 1.06, ""),
        ("default, p99 +ms", figures.p99_ms, ".2f", bar.p99_ms, ""),
        ("step not sampled", unsampled, ".4f", 1.003, f"{idle_low:.4f}..{idle_high:.4f}"),
        (
            "every step, thread",
            every,
            ".3f",
            bar.every,
            f"{every_low:.3f}..{every_high:.3f}; to beat {bar.beat}; "
            f"{figures.every_taken:.0%} of the steps taken",
        ),
        ("watch() ms", figures.watch_ms, ".1f", 5.0, ""),
        ("close() ms", figures.close_ms, ".0f", 200.0, ""),
        ("memory MB", figures.memory_mb, ".0f", 64.0, ""),
    ]


def show(name: str, figures: Figures) -> None:
    """Print one workload's rows: bar and value side by side."""
    if name == "many":
        title = f"{MANY_LAYERS} layers"
        table = [("memory MB", figures.memory_mb, ".0f", 64.0, "")]
    else:
        title = f"{name}: {figures.step_ms:.3f} ms of processor a step"
        table = rows(name, figures)
    print(f"\n{title}\n  {'':24}{'value':>10}{'bar':>8}")
    for label, value, form, bar, remark in table:
        verdict = "" if value <= bar else "  OVER"
        print(f"  {label:24}{value:>10{form}}{bar:>8g}{verdict:6}  {remark}", flush=True)


def run(names: list[str], scale: float) -> None:
    """Measure in a process each, and print the table."""
    import subprocess
    import tempfile

    print(f"load {os.getloadavg()[0]:.1f}", flush=True)
    for name in [*names, "many"]:
        with tempfile.TemporaryDirectory() as home:
            environ = {
                **os.environ,
                "DEADBAND_HOME": home,
                "DEADBAND_CREDIT_S": "0",
                "OMP_NUM_THREADS": "1",
            }
            seconds = SECONDS.get(name, 0.0) * scale
            done = subprocess.run(
                [sys.executable, __file__, name, str(seconds)],
                env=environ,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            show(name, Figures(**json.loads(done.stdout.splitlines()[-1])))
    print(f"\nload {os.getloadavg()[0]:.1f}", flush=True)


if __name__ == "__main__":
    own = sys.argv[1]
    print(json.dumps(asdict(many_layers() if own == "many" else measure(own, float(sys.argv[2])))))
