"""Keys that ask a run for something: the spread of a tensor, dense steps, a note; what stays."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import DARK, app_on, collapsed, healthy, recorded, shown, until

from deadband.wire import AskDense, AskNote, Flag, FlagChange, Note, Pace, Status, What
from deadband_monitor.seen import Seen, keep_seen, read_seen
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.screens.prompt import PromptScreen
from deadband_monitor.tui.widgets.panels import note_marks
from deadband_monitor.tui.widgets.spreads import Fine, Ridge

SIZE = (120, 40)


def title(panel: Ridge | Fine) -> str:
    return str(panel.border_title)


async def test_d_goes_through_the_tensors_of_a_layer_and_round() -> None:
    source = collapsed()
    app = app_on(source)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        ridge = app.screen.query_one(Ridge)
        assert title(ridge).startswith("outputs · ")
        names = []
        for _ in range(3):
            await pilot.press("d")
            await pilot.pause()
            names.append(title(ridge).partition(" ·")[0])
        assert names == ["weights", "weight gradients", "outputs"]
        await pilot.press("j")
        assert source.spread is not None
        assert source.spread.subject[2] is What.ACTIVATION


async def test_the_onset_is_marked_in_its_row_and_a_note_in_its_own() -> None:
    source = collapsed()
    source.apply(Note(seq=source.state.seq + 1, step=12, time=1.0, text="look here"))
    app = app_on(source)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        lines = [line for line in shown(app).splitlines() if "▕" in line]
        assert len(lines) >= 5
        (onset,) = (line for line in lines if "◂ onset" in line)
        assert abs(int(onset.split("▏")[0]) - 61) < 15
        (noted,) = (line for line in lines if "◂ note" in line)
        assert int(noted.split("▏")[0]) <= 12
        assert [mark.style for mark in note_marks(app.view)] == ["info"]


async def test_h_shows_the_newest_samples_finely_and_goes_back() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter", "h")
        await pilot.pause()
        fine = app.screen.query_one(Fine)
        assert fine.display
        assert title(fine) == "outputs, finely · step 100 · 600 of 4,096 values"
        await until(pilot, lambda: any("⣿" in text for row in fine.rows for text, _ in row))
        await pilot.press("h")
        await pilot.pause()
        assert not fine.display


async def test_a_panel_that_has_got_its_size_is_drawn_though_a_screen_kept_what_it_was_to_call(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = app_on(collapsed())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        monkeypatch.setattr(app, "call_after_refresh", lambda *_: True)
        await pilot.press("h")
        fine = app.screen.query_one(Fine)
        await until(pilot, lambda: any("⣿" in text for row in fine.rows for text, _ in row))


async def test_of_a_layer_that_is_off_on_another_rank_only_that_rank_s_spread_is_shown() -> None:
    source = healthy()
    layer = source.state.layers[0].name
    step = source.state.step
    flag = Flag(
        id=9, kind="dead-units", severity="warning", model="model", layer=layer, onset_step=step,
        raised_step=step, message="all units are off", ranks=[3],
    )  # fmt: skip
    source.apply(FlagChange(seq=source.state.seq + 1, step=step, flag=flag))
    app = app_on(source)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter", "h")
        await pilot.pause()
        assert app.view.selected == 0
        fine, ridge = app.screen.query_one(Fine), app.screen.query_one(Ridge)
        assert title(fine).startswith("outputs of rank 3, finely · ")
        assert title(ridge).startswith("outputs of rank 3 · ")
        await pilot.press("j")
        await pilot.pause()
        assert title(ridge).startswith("outputs · "), "nothing is wrong with that layer there"


async def test_a_layer_of_a_source_that_tells_no_spread_says_so() -> None:
    app = app_on(recorded())
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("enter")
        await pilot.pause()
        assert "not told by this source" in shown(app)


async def test_dense_steps_are_asked_for_by_number() -> None:
    source = collapsed()
    app = app_on(source)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("D")
        assert isinstance(app.screen, PromptScreen)
        await pilot.press("enter")
        await pilot.pause()
        assert source.demands == [AskDense(steps=200)]
        await pilot.press("D", "backspace", "backspace", "backspace", "x", "enter")
        assert isinstance(app.screen, PromptScreen)
        await pilot.press("backspace", "0", "enter")
        await pilot.pause()
        assert source.demands[1:] == [AskDense(steps=0)]
        assert not source.said


async def test_a_note_goes_to_the_step_that_is_shown() -> None:
    source = collapsed()
    app = app_on(source)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("i", *"lr 2", "enter")
        await pilot.pause()
        assert source.demands == [AskNote(text="lr 2", step=100)]
        await pilot.press("i", "enter", "i", "escape")
        assert len(source.demands) == 1


async def test_the_state_line_says_how_long_it_stays_dense() -> None:
    source = collapsed()
    state = source.state
    source.apply(
        Status(
            seq=state.seq + 1,
            time=1.0,
            status="running",
            step=state.step,
            samples=state.samples,
            dropped=0,
            overhead=0.01,
            pace=Pace(why="asked", until=state.step + 120),
        )
    )
    app = app_on(source)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert "dense for 120 more steps, asked by a viewer" in shown(app)


def kept_app(source: FakeSource) -> DeadbandApp:
    return DeadbandApp(
        source,
        ink=DARK,
        clock=lambda: source.last_heard,
        recall=read_seen,
        keep=keep_seen,
        threaded=False,
    )


async def test_what_was_acknowledged_and_muted_is_so_the_next_time(home: Path) -> None:
    first = kept_app(collapsed())
    async with first.run_test(size=SIZE) as pilot:
        await pilot.press("a", "n", "u")
        flags = first.view.acknowledged, first.view.muted
    again = kept_app(collapsed())
    async with again.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert (again.view.acknowledged, again.view.muted) == flags
        assert flags[0]
        assert flags[1]
        assert read_seen("collapsing-000001") != Seen()
        await pilot.press("a", "u")
    assert list((home / "seen").iterdir()) == []
    assert read_seen("collapsing-000001") == Seen()
