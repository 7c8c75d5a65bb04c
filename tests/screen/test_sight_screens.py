"""What a hub cuts for a screen is drawn exactly as the whole state is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest
from pictures import DARK, LARGE, SMALL, after, assert_same

from deadband.wire import AskView, Event, Sight
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.scripted import collapsing_run
from deadband_monitor.source.viewing import Viewing
from deadband_monitor.state.run_state import RunState
from deadband_monitor.tui.app import DeadbandApp

HUGE = (200, 60)


class CutSource:
    """A live run, as its hub cuts it; the link takes no time."""

    name = "digits-mlp-7f3a1c"
    link = "live"
    where = trouble = ""
    last_heard = 1_700_000_030.0

    def __init__(self, script: Iterator[Event], folder: Path) -> None:
        self._script = script
        self._kept = Chronicle(Recorder(folder / "run.dbr"))
        self._viewing = Viewing(far=True)
        self.answered = 0

    @property
    def state(self) -> RunState:
        return self._viewing.state

    @property
    def lacks(self) -> bool:
        return self._viewing.lacks_answer

    def want(self, wish: AskView) -> None:
        self._viewing.wish = wish

    def play(self, events: int) -> None:
        for event in islice(self._script, events):
            self._kept.add(event)

    def refresh(self, wait_s: float) -> bool:
        del wait_s
        answer = self._kept.sight(self._viewing.question(), waited_s=60.0)
        if isinstance(answer, Sight):
            self._viewing.take(answer)
            self.answered += 1
        return answer is not None

    def close(self) -> None:
        """Nothing to let go of."""


class WholeSource:
    """The same run, all of it."""

    name, link, last_heard = CutSource.name, CutSource.link, CutSource.last_heard
    where = trouble = ""

    def __init__(self, script: Iterator[Event]) -> None:
        self.state = RunState()
        self._script = script

    def play(self, events: int) -> None:
        for event in islice(self._script, events):
            self.state.apply(event)

    def refresh(self, wait_s: float) -> bool:
        del wait_s
        return True

    def close(self) -> None:
        """Nothing to let go of."""


def script() -> Iterator[Event]:
    return collapsing_run(layers=30, samples=900, onset=240, every=5)


async def screens(
    source: WholeSource | CutSource, size: tuple[int, int], keys: list[str], more: int
) -> list[str]:
    """What is on the screen after each key, and `more` events later."""
    app = DeadbandApp(source, ink=DARK, clock=lambda: CutSource.last_heard, threaded=False)
    pictures = []
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        for key in keys:
            pictures.append(await after(key, app, pilot))
            source.play(more)
            app.feed.pump()
    return pictures


KEYS = {
    "map": ["2", "m", "j", "s"],
    "time": ["]", "]", "[", "c"],
    "rows": ["z", "z", "G", "k"],
    "layer": ["j", "enter", "3", "escape"],
    "flag": ["f", "n", "escape"],
    "ranks": ["r", "escape"],
    "frozen": ["v", "space", "j", "space"],
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=list(KEYS))
@pytest.mark.parametrize(("size", "played"), [(SMALL, 40), (LARGE, 700)])
async def test_every_screen_is_the_same(
    size: tuple[int, int], played: int, keys: list[str], tmp_path: Path
) -> None:
    whole, cut = WholeSource(script()), CutSource(script(), tmp_path)
    whole.play(played)
    cut.play(played)
    expected = await screens(whole, size, keys, 9)
    told = await screens(cut, size, keys, 9)
    for key, one, other in zip(keys, expected, told, strict=True):
        assert_same(one, other, key)
    assert cut.answered > len(keys)


async def test_a_huge_screen_is_the_same(tmp_path: Path) -> None:
    whole, cut = WholeSource(script()), CutSource(script(), tmp_path)
    whole.play(500)
    cut.play(500)
    (expected,), (told,) = await screens(whole, HUGE, ["j"], 9), await screens(cut, HUGE, ["j"], 9)
    assert_same(expected, told, "j")
