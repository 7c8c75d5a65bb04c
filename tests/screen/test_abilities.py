"""Filter, fold, scale, acknowledge, mute, copy, export, the way back in time, and the mouse."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pictures import LARGE, SMALL, Recorded, app_on, collapsed, healthy, shown

from deadband.wire import Event
from deadband_monitor.errors import UnknownRun
from deadband_monitor.source.base import Source
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import collapsing_run
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.draw.text import plain
from deadband_monitor.tui.screens.flag import FlagScreen
from deadband_monitor.tui.screens.layer import LayerScreen
from deadband_monitor.tui.screens.prompt import PromptScreen
from deadband_monitor.tui.widgets.canvas import Canvas

TWIN: list[Event] = list(collapsing_run(layers=12, samples=400))


def live(samples: int = 100) -> tuple[DeadbandApp, FakeSource]:
    """A live run with its recording beside it."""
    source = collapsed(samples=samples)

    def past(of: Source) -> Recorded:
        assert of is source
        return Recorded(TWIN, source.state.step)

    app = DeadbandApp(source, open_past=past, clock=lambda: source.last_heard + 0.3, threaded=False)
    return app, source


def listed(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines()


def title(app: DeadbandApp) -> str:
    return str(app.screen.query_one("#heat").border_title)


async def test_a_filter_shows_the_layers_that_match_as_it_is_typed() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("slash")
        assert isinstance(app.screen, PromptScreen)
        await pilot.press(*"1[01]$")
        assert app.view.order == [10, 11]
        await pilot.press("enter")
        await pilot.pause()
        assert "/1[01]$/ 2 of 12" in title(app)
        await pilot.press("j", "j", "j")
        assert app.view.selected == 11, "keys walk the layers that are shown"


async def test_escape_leaves_the_filter_as_it_was() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("slash", *"net.1$", "enter")
        await pilot.press("slash", *"xx", "escape")
        await pilot.pause()
        assert app.view.pattern == "net.1$"
        assert app.view.order == [1]


async def test_a_pattern_that_is_none_is_told_and_not_taken() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("slash", *"net(")
        trouble = str(app.screen.query_one("#trouble").render())
        assert "no regular expression" in trouble
        await pilot.press("enter")
        assert isinstance(app.screen, PromptScreen)
        await pilot.press("backspace", *"x", "enter")
        assert isinstance(app.screen, PromptScreen), "no layer matches either"
        await pilot.press("escape")
        assert app.view.order == list(range(12))


async def test_blocks_that_repeat_fold_into_one_row_by_the_worst() -> None:
    app = app_on(collapsed(layers=12))
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("z")
        assert app.view.lanes == [tuple(range(12))]
        assert "net.* x12" in shown(app)
        await pilot.press("z")
        assert "net.* x12" not in shown(app)


async def test_c_writes_the_time_under_the_map() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        axis = app.screen.query(".heat-axis").first(Canvas)
        steps = plain(axis.rows)
        await pilot.press("c")
        await pilot.pause()
        times = plain(axis.rows)
        assert "▼62" in steps
        assert "120" in steps
        assert "▼15 s" in times, "four steps a second"
        assert "25 s" not in times, "nobody knows when step 120 will be"
        assert "time since" in title(app)
        await pilot.press("c")
        assert plain(axis.rows) == steps


async def test_v_spaces_the_charts_in_another_way() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        pictures = []
        for expected in ("log", "linear", "auto"):
            await pilot.press("v")
            assert app.view.scale == expected
            pictures.append(app.screen.query_one("#gradient").rows)  # type: ignore[attr-defined]
        assert pictures[0] != pictures[1]


async def test_an_acknowledged_flag_is_quiet_until_it_is_called_back() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        before = shown(app)
        assert "▼1" in before
        await pilot.press("a")
        assert "▼1" not in shown(app)
        assert "seen" in shown(app)
        assert "FAILING" in shown(app), "the verdict is the rules', not the reader's"
        await pilot.press("a")
        assert "▼1" in shown(app)


async def test_a_muted_kind_is_quiet_everywhere() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("n", "u")
        kind = app.view.flag.kind if app.view.flag else ""
        assert app.view.muted == {kind}
        assert all(app.view.severity(row) == "" for row in (1, 3)) or kind != "dead-units"
        await pilot.press("u")
        assert not app.view.muted


async def test_acknowledged_flags_do_not_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    source = collapsed(samples=50)
    app = app_on(source)
    rung: list[int] = []
    monkeypatch.setattr(app, "bell", lambda: rung.append(1))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        app.view.muted = {"output-collapse", "dead-units", "loss-divergence"}
        source.advance(60)
        app.repaint()
        assert app.view.state.open_flags
        assert not rung


async def test_left_goes_back_in_a_live_run_and_escape_returns() -> None:
    app, source = live()
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.press("left")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert "REPLAY" in shown(app)
        assert app.view.state.step == 99
        source.advance(20)
        app.repaint()
        assert "live is" in shown(app)
        await pilot.press("o")
        assert app.view.state.step == 62, "the onset of the flag at hand"
        assert "output-collapse" not in shown(app), "nothing of what came later is known there"
        await pilot.press("escape")
        assert not app.vantage.travelling
        assert app.view.state.step == 120
        assert "LIVE" in shown(app)


async def test_a_step_can_be_typed() -> None:
    app, _ = live()
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("colon", *"4x")
        await pilot.press("enter")
        assert isinstance(app.screen, PromptScreen), "a step is a number"
        await pilot.press("backspace", "0", "enter")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert app.view.state.step == 40
        await pilot.press("G")
        assert not app.vantage.travelling


async def test_a_critical_flag_of_now_rings_in_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    app, source = live(samples=50)
    rung: list[int] = []
    monkeypatch.setattr(app, "bell", lambda: rung.append(1))
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("g")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert app.vantage.travelling
        source.advance(60)
        app.repaint()
        assert rung


async def test_without_a_recording_the_way_back_is_said_to_be_closed() -> None:
    source = healthy()

    def nowhere(of: Source) -> Recorded:
        raise UnknownRun(f"no way back: the recording of {of.name} is not on this machine")

    app = DeadbandApp(source, open_past=nowhere, threaded=False)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("left")
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert not app.vantage.travelling
        assert any("no way back" in str(toast.message) for toast in app._notifications)


async def test_a_click_on_the_map_takes_layer_and_step() -> None:
    app, _ = live()
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        tile = list(app.screen.query(".heat-tile"))[1]
        await pilot.click(tile, offset=(3, 5))
        await pilot.pause()
        await app.workers.wait_for_complete()
        await pilot.pause()
        assert app.vantage.travelling
        column = 13
        axis = app.view.axis
        assert app.view.state.step == axis.first + (column + 1) * axis.per_column - 1


async def test_a_second_click_on_a_name_opens_the_layer() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.click(".heat-labels", offset=(4, 5))
        await pilot.pause()
        first = app.view.selected
        assert not app.view.following
        await pilot.click(".heat-labels", offset=(4, 5))
        await pilot.pause()
        assert isinstance(app.screen, LayerScreen)
        assert app.view.selected == first


async def test_a_click_on_a_flag_takes_it_and_a_second_one_opens_its_page() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.click("#flags", offset=(9, 2))
        await pilot.pause()
        chosen = app.view.flag_id
        assert chosen is not None
        await pilot.click("#flags", offset=(9, 2))
        await pilot.pause()
        assert isinstance(app.screen, FlagScreen)
        assert app.view.flag_id == chosen
        await pilot.click("#flag-list", offset=(9, 2))
        await pilot.pause()
        assert app.view.flag_id == app.view.flags[1].id


async def test_the_screen_under_a_prompt_goes_on_moving() -> None:
    source = collapsed(samples=50)
    app = app_on(source)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("colon")
        source.advance(10)
        app.repaint()
        assert "step 60" in str(app.screen_stack[-2].query_one("#state").rows)  # type: ignore[attr-defined]


async def test_the_screen_is_copied_as_it_stands_there() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press("y")
        lines = app.clipboard.splitlines()
        assert len(lines) == 24
        assert "FAILING" in lines[0]
        assert all(len(line) <= 80 for line in lines)
        heat = next(line for line in lines if "net.1" in line)
        assert heat.rstrip()[-1].isdigit(), "names, map and values are on one line"


async def test_an_export_is_text_picture_and_readings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("slash", *"net.1$", "enter")
        await pilot.press("Y")
        await pilot.pause()
    stem = "digits-mlp-7f3a1c-100-dashboard"
    files = {path.suffix: path for path in listed(tmp_path)}
    assert {path.stem for path in files.values()} == {stem}
    assert set(files) == {".txt", ".svg", ".csv"}
    rows = list(csv.DictReader(lines_of(files[".csv"])))
    assert lines_of(files[".svg"])[0].startswith("<svg")
    assert {row["layer"] for row in rows} == {"net.1"}
    assert {"out_variance", "saturation"} & {row["metric"] for row in rows}
    assert all(float(row["low"]) <= float(row["high"]) for row in rows)


async def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pathlib.Path.cwd", lambda: tmp_path / "gone")
    app = app_on(healthy())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.press("Y")
        await pilot.pause()
        assert any("cannot write" in str(toast.message) for toast in app._notifications)
