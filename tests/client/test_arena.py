"""The ring in shared memory: made ready beside training; lost without harm where it cannot be."""

from __future__ import annotations

import _thread
import errno
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import deadband
from deadband import wire
from deadband.arena import Arena

PAYLOAD = 4 * 2**17


class Outbox:
    """Stands where the link to a hub is."""

    is_free = True
    patience_s = 0.0

    def __init__(self) -> None:
        self.posts: list[object] = []

    def post(self, message: object) -> None:
        self.posts.append(message)

    def close(self, bye: object) -> bool:
        return False

    def hear_out(self) -> None:
        pass

    def abandon(self) -> None:
        """Nothing to let go of."""


def full_after(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared memory runs full after so many reservations."""
    reserve, made = os.posix_fallocate, [0]

    def posix_fallocate(file: int, start: int, size: int) -> None:
        made[0] += 1
        if made[0] > calls:
            raise OSError(errno.ENOSPC, "full")
        reserve(file, start, size)

    monkeypatch.setattr(os, "posix_fallocate", posix_fallocate)


@pytest.mark.parametrize("beside", [True, False])
def test_every_frame_is_there_when_it_is_needed(
    beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not beside:
        monkeypatch.setattr(_thread, "start_new_thread", lambda *_: 0)  # it never gets its turn
    arena = Arena(tmp_path / "ring", PAYLOAD)
    frame = np.ones(PAYLOAD // 4, np.float32)
    for _ in range(arena.length):
        assert arena.has_room
        arena.write(b"", frame)
    assert not arena.has_room
    assert not arena.failed
    arena.close(unlink=True)


def test_a_ring_that_nobody_empties_holds_the_first_frames_and_some_of_many_more(
    tmp_path: Path,
) -> None:
    arena = Arena(tmp_path / "ring", PAYLOAD)
    frame = np.ones(PAYLOAD // 4, np.float32)
    written = []
    turn = 0
    while arena.has_room:
        if turn % arena.stride == 0:
            arena.write(b"", frame)
            written.append(turn)
        turn += 1
    half = arena.length // 2
    assert written[:half] == list(range(half))
    assert turn > 25 * arena.length
    assert max(np.diff(written)) <= turn / 4
    arena.close(unlink=True)


def test_a_ring_that_cannot_be_reserved_takes_only_what_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: 0)
    full_after(2, monkeypatch)
    arena = Arena(tmp_path / "ring", PAYLOAD)
    frame = np.ones(PAYLOAD // 4, np.float32)
    written = 0
    while arena.has_room:
        arena.write(b"", frame)
        written += 1
    assert 0 < written < arena.length
    assert arena.failed
    arena.close(unlink=True)


def test_without_any_room_there_is_no_ring_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_after(0, monkeypatch)
    with pytest.raises(OSError, match="full"):
        Arena(tmp_path / "ring", PAYLOAD)
    assert list(tmp_path.iterdir()) == []


def test_frames_travel_in_messages_once_shared_memory_has_run_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_thread, "start_new_thread", lambda *_: 0)
    monkeypatch.setenv("DEADBAND_HUB", "off")
    full_after(1, monkeypatch)
    model = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 512))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    watch._link = outbox = Outbox()
    for _ in range(30):
        loss = model(torch.randn(64, 512)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    plans = [each for each in outbox.posts if isinstance(each, wire.Plan)]
    frames = [each for each in outbox.posts if isinstance(each, wire.Frame)]
    assert [bool(plan.arena) for plan in plans][-2:] == [True, False]
    assert frames
    assert (watch._recorder.samples, watch._recorder.dropped) == (30, 0)
    assert watch._faults == 0
    watch.close()
    Path(plans[0].arena).unlink()
