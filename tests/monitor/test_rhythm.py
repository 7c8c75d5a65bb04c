"""When the hub looks for frames, and when it measures them."""

from __future__ import annotations

from itertools import pairwise

from deadband_monitor.hub.rhythm import (
    BUSY_S,
    GATHER_S,
    IDLE_S,
    LOOK_S,
    SHARE,
    STAYS_BUSY_S,
    WATCHED_GATHER_S,
    Rhythm,
)


def run(
    rhythm: Rhythm, start: float, end: float, share_a_second: float, *, watched: bool = False
) -> tuple[list[float], list[float], list[float]]:
    """Waits, moments of measuring, and what a ring held at each look, while frames come evenly."""
    waits, measured, fills = [], [], []
    now = looked = start
    held = False
    while now < end:
        wait = rhythm.wait_s(now, watched=watched)
        now += wait
        filled = share_a_second * (now - looked)
        looked, held = now, held or filled > 0
        waits.append(wait)
        fills.append(filled)
        if rhythm.look(now, filled=filled, waiting=held, crowded=False, watched=watched):
            measured.append(now)
            held = False
    return waits, measured, fills


def test_a_start_is_looked_at_often() -> None:
    assert Rhythm(0.0).wait_s(1.0, watched=False) == BUSY_S


def test_few_frames_are_looked_for_four_times_a_second_and_measured_together() -> None:
    waits, measured, _ = run(Rhythm(0.0), 0.0, 20.0, 0.05)
    assert min(waits[-20:]) > 0.99 * LOOK_S
    late = [each for each in measured if each > 2 * STAYS_BUSY_S]
    gaps = [after - before for before, after in pairwise(late)]
    assert 0.9 * GATHER_S < min(gaps) <= max(gaps) < GATHER_S + LOOK_S


def test_a_ring_that_fills_fast_never_fills_by_more_than_its_share_between_two_looks() -> None:
    rhythm = Rhythm(0.0)
    run(rhythm, 0.0, 4.0, 0.05)
    _, _, fills = run(rhythm, 4.0, 10.0, 5.0)
    assert max(fills[1:]) <= 1.01 * SHARE


def test_somebody_who_looks_on_waits_no_longer_than_a_tenth_of_a_second() -> None:
    rhythm = Rhythm(0.0)
    waits, measured, _ = run(rhythm, 0.0, 10.0, 0.05, watched=True)
    assert max(waits) <= WATCHED_GATHER_S / 2
    late = [each for each in measured if each > 2 * STAYS_BUSY_S]
    assert max(after - before for before, after in pairwise(late)) < 1.5 * WATCHED_GATHER_S


def test_a_wish_for_more_frames_makes_it_look_often_again() -> None:
    rhythm = Rhythm(0.0)
    run(rhythm, 0.0, 10.0, 0.05)
    rhythm.expect(10.0)
    assert rhythm.wait_s(10.1, watched=False) == BUSY_S
    assert rhythm.wait_s(10.1 + STAYS_BUSY_S, watched=False) > BUSY_S


def test_without_frames_it_idles() -> None:
    waits, measured, _ = run(Rhythm(0.0), 0.0, 10.0, 0.0)
    assert (waits[-1], measured) == (IDLE_S, [])


def test_a_crowded_ring_is_measured_at_once() -> None:
    rhythm = Rhythm(0.0)
    assert rhythm.look(0.01, filled=0.5, waiting=True, crowded=True, watched=False)
    assert not rhythm.look(0.02, filled=0.1, waiting=True, crowded=False, watched=False)
