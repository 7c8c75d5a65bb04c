"""Two runs beside each other, from the list of runs; and the list's own keys."""

from __future__ import annotations

import pytest
from pictures import LARGE, RUNS, SMALL, collapsed, healthy, shown
from textual.pilot import Pilot

from deadband_monitor.errors import UnknownRun
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.metrics import MODEL_COLUMN, MODEL_METRICS
from deadband_monitor.source.base import Source
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.draw.compare import Pair, pair_rows
from deadband_monitor.tui.draw.text import plain
from deadband_monitor.tui.screens.compare import CompareScreen
from deadband_monitor.tui.screens.runs import PickerScreen

VARIANCE = MODEL_METRICS[MODEL_COLUMN["out_variance"]]


def app_on_two() -> tuple[DeadbandApp, dict[str, FakeSource]]:
    """The list of runs: the first one is well, all others collapse."""
    opened: dict[str, FakeSource] = {}

    def open_run(chosen: RunEntry) -> Source:
        if chosen.status == "killed":
            raise UnknownRun("it is gone")
        opened[chosen.run] = healthy() if chosen.run == RUNS[0].run else collapsed(samples=160)
        return opened[chosen.run]

    app = DeadbandApp(
        list_runs=lambda: RUNS,
        open_run=open_run,
        clock=lambda: 1_700_000_120.0,
        threaded=False,
    )
    return app, opened


async def listed(pilot: Pilot[int]) -> None:
    while RUNS[-1].run not in shown(pilot.app):  # type: ignore[arg-type]
        await pilot.pause(0.01)


async def test_two_marked_runs_stand_beside_each_other() -> None:
    app, opened = app_on_two()
    async with app.run_test(size=LARGE) as pilot:
        await listed(pilot)
        await pilot.press("space", "space", "c")
        await app.workers.wait_for_complete()
        await pilot.pause()
        screen = app.screen
        assert isinstance(screen, CompareScreen)
        page = shown(app)
        assert "A" in page
        assert "FAILING" in page
        assert "healthy" in page
        assert "≠ out variance" in page
        assert "output-collapse at 62" in page
        assert screen.views[0].axis == screen.views[1].axis, "both on the same steps"
        await pilot.press("x")
        assert screen.views[0].state.verdict == "failing", "A became B"
        await pilot.press("v")
        assert screen.views[0].scale == "log"
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(app.screen, PickerScreen)
        assert all(source.closed for source in opened.values())


async def test_one_mark_and_the_run_at_hand_are_two() -> None:
    app, opened = app_on_two()
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("space", "c")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, CompareScreen)
        assert list(opened) == [RUNS[0].run, RUNS[1].run]


async def test_one_run_alone_is_not_compared() -> None:
    app, opened = app_on_two()
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("c")
        assert isinstance(app.screen, PickerScreen)
        assert not opened
        assert any("mark a run" in str(toast.message) for toast in app._notifications)


async def test_a_run_that_cannot_be_opened_closes_the_other() -> None:
    app, opened = app_on_two()
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("space", "down", "down", "down", "c")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, PickerScreen)
        assert opened[RUNS[0].run].closed
        assert any("it is gone" in str(toast.message) for toast in app._notifications)


async def test_the_list_of_runs_can_be_filtered() -> None:
    app, _ = app_on_two()
    async with app.run_test(size=SMALL) as pilot:
        await listed(pilot)
        await pilot.press("slash", *"failed|warning", "enter")
        await pilot.pause()
        assert isinstance(app.screen, PickerScreen)
        assert [it.run for it in app.screen.entries] == [RUNS[2].run, RUNS[3].run]
        await pilot.press("slash", *"zzz")
        await pilot.pause()
        assert "no run matches" in "".join(
            plain([row])
            for row in app.screen_stack[-2].query_one("#list").rows  # type: ignore[attr-defined]
        )
        await pilot.press("escape")
        assert len(app.screen.entries) == 2, "as it was"


def pair(a: float, b: float) -> Pair:
    return Pair(metric=VARIANCE, values=(a, b))


@pytest.mark.parametrize(
    ("a", "b", "words", "marked"),
    [
        (0.5, 0.5, "same", False),
        (1.0, 1e-6, "x1e-6", True),
        (0.01, 3.5, "x350", True),
        (0.5, float("nan"), "–", True),
        (0.5, 0.6, "x1.2", False),
    ],
)
def test_what_lies_apart_is_marked(a: float, b: float, words: str, marked: bool) -> None:
    row = plain([pair_rows([pair(a, b)], 100, 5)[1]])
    assert words in row
    assert row.startswith("≠") is marked


@pytest.mark.parametrize("width", [60, 80, 120])
def test_where_room_is_short_what_differs_is_kept(width: int) -> None:
    pairs = [pair(0.5, 0.5) for _ in range(10)]
    pairs[7] = pair(1.0, 1e-8)
    rows = pair_rows(pairs, width, 4)
    assert len(rows) == 4
    assert any(plain([row]).startswith("≠") for row in rows)
    assert all(len(plain([row])) == width for row in rows)
