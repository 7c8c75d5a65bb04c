"""A state that is copied bit by bit while it grows."""

from __future__ import annotations

import zlib
from itertools import islice

import msgspec
import numpy as np
import pytest

from deadband_monitor.source.scripted import healthy_run
from deadband_monitor.state import copying, series
from deadband_monitor.state.copying import Copying
from deadband_monitor.state.run_state import RunState, unpacked
from deadband_monitor.state.series import PackedSeries, Series

PART = 2 * 2 * 3 * 20
"""Two buckets of two layers and three metrics."""


def growing(steps: int, capacity: int = 64) -> RunState:
    state = RunState()
    state.series = Series((2, 3), capacity)
    for step in range(steps):
        state.series.add(step, np.full((2, 3), step, np.float32))
    return state


def packed(copy: Copying) -> PackedSeries:
    return copy.taken().series.pack()


def test_what_comes_meanwhile_is_in_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PART_BYTES", PART)
    state = growing(30)
    copy, step = Copying(state), 30
    while not copy.go_on():
        state.series.add(step, np.full((2, 3), step, np.float32))
        step += 1
    assert 50 < step < 64
    assert packed(copy) == state.series.pack()


def test_a_late_word_on_a_bucket_that_was_copied_is_in_the_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(copying, "PART_BYTES", PART)
    state = growing(30)
    copy = Copying(state)
    for _ in range(10):
        copy.go_on()
    state.series.add(2, np.full((2, 3), 999.0, np.float32))
    while not copy.go_on():
        pass
    assert packed(copy) == state.series.pack()


def test_buckets_that_merge_meanwhile_are_copied_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "PART_BYTES", PART)
    state = growing(60)
    copy, step = Copying(state), 60
    while not copy.go_on():
        state.series.add(step, np.full((2, 3), step, np.float32))
        step += 1 if step < 128 else 100
    assert state.series.width > 1
    assert packed(copy) == state.series.pack()


def test_the_copy_stays_as_it_is() -> None:
    state = growing(30)
    copy = Copying(state)
    while not copy.go_on():
        pass
    taken = copy.taken()
    before = taken.pack()
    state.series.add(31, np.ones((2, 3), np.float32))
    state.clock.add(31, np.asarray(1.0, np.float32))
    state.last_scalar["loss"] = 1.0
    assert taken.pack() == before


def test_what_is_squeezed_piece_by_piece_is_what_is_encoded_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(series, "PIECE_BYTES", PART)
    for events in (0, 1, 90):
        state = RunState()
        for number, event in enumerate(islice(healthy_run(samples=80), events), 1):
            state.apply(msgspec.structs.replace(event, seq=number))
        whole = zlib.decompress(state.pack(512))
        assert unpacked(whole) == unpacked(state.encoded(512))


@pytest.mark.parametrize("steps", [29, 30, 64])
def test_a_copy_is_made_coarser_like_what_it_is_of(steps: int) -> None:
    state = growing(steps, capacity=256)
    copy = Copying(state)
    while not copy.go_on():
        pass
    assert copy.taken().series.coarse(16).pack() == state.series.coarse(16).pack()
