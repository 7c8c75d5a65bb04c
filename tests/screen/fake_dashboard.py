"""The dashboard on a scripted run, as a program: for tests and benchmarks of a real terminal.

python tests/screen/fake_dashboard.py LAYERS SAMPLES_PER_SECOND [ONSET]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, count, islice

import msgspec

from deadband.wire import Event, Sample
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import collapsing_run
from deadband_monitor.tui.start import run_dashboard

FLOOD = 100.0
"""Faster than this, samples are said again instead of made."""


class PacedSource(FakeSource):
    """Plays its script by the clock."""

    def __init__(self, script: Iterable[Event], per_second: float) -> None:
        super().__init__(script, name="paced")
        self._per_second = per_second
        self._began = time.monotonic()

    @property
    def last_heard(self) -> float:
        return time.time()

    def refresh(self, wait_s: float) -> bool:
        due = int((time.monotonic() - self._began) * self._per_second)
        if due > self.state.samples:
            self.advance(due - self.state.samples)
        changed, self._changed = self._changed, False
        if not changed:
            time.sleep(wait_s)
        return changed


def again(samples: Sequence[Sample]) -> Iterator[Sample]:
    """The same samples for ever, each later than the one before."""
    last = samples[-1]
    span = last.step - samples[0].step + 1
    for turn in count(1):
        for number, sample in enumerate(samples):
            yield msgspec.structs.replace(
                sample,
                seq=last.seq + (turn - 1) * len(samples) + number + 1,
                step=sample.step + turn * span,
                time=sample.time + turn * span / 10,
            )


def main() -> int:
    layers, per_second = int(sys.argv[1]), float(sys.argv[2])
    onset = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
    script: Iterator[Event] = iter(collapsing_run(layers=layers, samples=20_000, onset=onset))
    # Drawn before the clock starts: a benchmark of the screen is not one of the script.
    ready = list(islice(script, min(int(per_second * 60), 2000)))
    if per_second > FLOOD:  # to make new ones would keep the processor from the screen
        script = again([event for event in ready if isinstance(event, Sample)])
    return run_dashboard(PacedSource(chain(ready, script), per_second))


if __name__ == "__main__":
    raise SystemExit(main())
