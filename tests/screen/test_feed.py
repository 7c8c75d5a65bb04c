"""Reading goes on beside the UI, and a slow terminal gets fewer pictures."""

from __future__ import annotations

import threading

from deadband_monitor.errors import SourceError
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import healthy_run
from deadband_monitor.tui.feed import Feed
from deadband_monitor.tui.governor import Governor


class Signalling(FakeSource):
    """Says when it has played enough."""

    def __init__(self, wanted: int) -> None:
        super().__init__(healthy_run(samples=200), pace=1)
        self.enough = threading.Event()
        self._wanted = wanted

    def refresh(self, wait_s: float) -> bool:
        changed = super().refresh(wait_s)
        if self.state.samples >= self._wanted:
            self.enough.set()
        return changed


def test_the_thread_reads_on_and_stops_when_told() -> None:
    source = Signalling(100)
    feed = Feed(source)
    feed.start()
    assert source.enough.wait(10)
    with feed.look(patience_s=5) as held:
        assert held
        assert source.state.samples >= 100
    feed.stop()
    seen = source.state.samples
    assert not feed.pump(), "nothing is read after the end"
    assert source.state.samples == seen


def test_the_ui_does_not_wait_for_a_busy_reader() -> None:
    feed = Feed(FakeSource(healthy_run()))
    with feed.look() as first, feed.look() as second:
        assert first
        assert not second
    with feed.look() as again:
        assert again


def test_a_refusal_is_kept_for_the_user() -> None:
    class Refusing(FakeSource):
        def refresh(self, wait_s: float) -> bool:
            raise SourceError("gone")

    feed = Feed(Refusing(healthy_run()))
    assert feed.pump()
    assert feed.error == "gone"
    assert not feed.pump()


def test_late_ticks_halve_the_rate_and_calm_brings_it_back() -> None:
    governor = Governor(fps=4)
    now = 0.0
    for _ in range(8):
        now += 0.6
        period = governor.beat(now)
    assert period == 0.5
    assert governor.slow
    for _ in range(30):
        now += governor.period_s
        period = governor.beat(now)
    assert period == 0.25
    assert not governor.slow


def test_one_late_tick_changes_nothing() -> None:
    governor = Governor(fps=4)
    for tick in range(40):
        governor.beat(tick * 0.25 + (0.4 if tick > 20 else 0.0))
    assert not governor.slow


def test_the_rate_never_falls_below_one_picture_a_second() -> None:
    governor = Governor(fps=10)
    for tick in range(60):
        governor.beat(tick * 5.0)
    assert governor.period_s == 1.0
