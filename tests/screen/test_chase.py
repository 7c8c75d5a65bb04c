"""The picture that a key press asked for is drawn when it comes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from deadband_monitor.tui.chase import PATIENCE_S, Chase


class Scene:
    """A clock and timers that are moved by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.lacking, self.drawn = 100.0, True, 0
        self.waiting: list[Callable[[], None]] = []
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        self.chase = Chase(
            lambda: self.lacking, self._draw, lambda after_s, it: self.waiting.append(it)
        )

    def _draw(self) -> None:
        self.drawn += 1

    def tick(self, seconds: float = 0.02) -> None:
        self.now += seconds
        due, self.waiting = self.waiting, []
        for each in due:
            each()


def test_what_comes_is_drawn_once_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.chase.begin(scene.now)
    scene.chase.begin(scene.now)
    assert len(scene.waiting) == 1, "two keys, one chase"
    scene.tick()
    assert scene.drawn == 0
    scene.lacking = False
    scene.tick()
    assert (scene.drawn, scene.waiting) == (1, [])


def test_nothing_is_chased_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.lacking = False
    scene.chase.begin(scene.now)
    assert scene.waiting == []


def test_what_never_comes_is_left_to_the_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(monkeypatch)
    scene.chase.begin(scene.now)
    scene.tick(PATIENCE_S)
    assert (scene.drawn, scene.waiting) == (0, [])
