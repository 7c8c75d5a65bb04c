"""Every key does what the help says of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import LARGE, SMALL, app_on, collapsed, healthy, recorded, shown

from deadband_monitor.metrics import LAYER_METRICS
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.keys import HEAT_METRICS, KEYS, bindings, groups, key_line
from deadband_monitor.tui.screens.dashboard import DashboardScreen
from deadband_monitor.tui.screens.flag import FlagScreen
from deadband_monitor.tui.screens.help import HelpScreen, help_rows
from deadband_monitor.tui.screens.layer import LayerScreen
from deadband_monitor.tui.screens.output import OutputScreen


async def test_space_freezes_the_picture_while_reading_goes_on() -> None:
    source = healthy()
    app = app_on(source)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.press("space")
        before = app.view.state.step
        source.advance(12)
        await pilot.press("j")
        assert app.view.state.step == before
        assert "FROZEN +12" in shown(app)
        await pilot.press("space")
        assert app.view.state.step == before + 12
        assert "FROZEN" not in shown(app)


async def test_a_flag_still_shows_in_the_state_line_while_frozen() -> None:
    source = collapsed(samples=50)
    app = app_on(source)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press("space")
        source.advance(60)
        app.repaint()
        assert "FAILING" in shown(app)
        assert "output-collapse" not in shown(app)


@pytest.mark.parametrize("number", range(1, 9))
async def test_digits_choose_the_metric_of_the_map(number: int) -> None:
    app = app_on(healthy())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.press(str(number))
        assert app.view.metric.name == HEAT_METRICS[number - 1]
        title = app.screen.query_one("#heat").border_title
        assert f"{number} {app.view.metric.title}" in str(title)


async def test_m_goes_through_all_metrics() -> None:
    app = app_on(healthy())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.press("m")
        assert app.view.metric.name == "out_rms"
        await pilot.press("M", "M")
        assert app.view.metric.name == LAYER_METRICS[-1].name


async def test_brackets_zoom_to_the_newest_steps_and_back() -> None:
    app = app_on(healthy(samples=300))
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        whole = app.view.axis
        assert whole.first == 0
        await pilot.press("]")
        closer = app.view.axis
        assert closer.per_column < whole.per_column
        assert closer.first > 0
        assert closer.last >= 300
        await pilot.press(*["]"] * 10)
        assert app.view.axis.per_column == 1
        await pilot.press(*["["] * 10)
        assert app.view.axis == whole


async def test_j_and_k_walk_the_layers_and_w_follows_the_worst_again() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        layers = app.view.state.layers
        assert app.view.selected is not None
        assert layers[app.view.selected].name == "net.1"
        await pilot.press("j", "down")
        assert layers[app.view.selected].name == "net.3"
        await pilot.press("k")
        assert layers[app.view.selected].name == "net.2"
        await pilot.press(*["up"] * 4)
        assert layers[app.view.selected].name == "net.0"
        assert not app.view.following
        await pilot.press("w")
        assert layers[app.view.selected].name == "net.1"


async def test_the_layer_at_hand_stays_at_hand_when_rows_are_sorted() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.press("j", "s")
        assert app.view.state.layers[app.view.selected or 0].name == "net.2"
        assert set(app.view.order[:2]) == {1, 3}, "flagged layers come first"
        await pilot.press("s")
        assert app.view.order == list(range(12))


async def test_enter_opens_the_layer_and_escape_comes_back() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.press("enter")
        assert isinstance(app.screen, LayerScreen)
        assert "dead units" in shown(app)
        assert "up to 0.50" in shown(app)
        await pilot.press("j")
        assert "weight spread" in shown(app)
        await pilot.press("escape")
        assert isinstance(app.screen, DashboardScreen)


async def test_f_shows_a_flag_with_evidence_cause_and_advice() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press("f")
        assert isinstance(app.screen, FlagScreen)
        page = shown(app)
        assert "onset at step 62" in page
        assert "learning-rate-too-high" in page
        assert "divide the learning rate by 10" in page
        await pilot.press("n")
        assert "began in net.1, then net.3" in shown(app)
        await pilot.press("N")
        assert "began in the network as a whole" in shown(app)
        await pilot.press("j", "enter")
        assert isinstance(app.screen, LayerScreen)
        assert app.view.state.layers[app.view.selected or 0].name == "net.1"
        await pilot.press("escape")
        assert isinstance(app.screen, DashboardScreen)


async def test_n_marks_the_next_flag_on_the_dashboard() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.press("n")
        assert app.view.flag_id == 2
        await pilot.press("n")
        assert app.view.flag_id == 1
        await pilot.press("n")
        assert app.view.flag_id == 2


async def test_without_flags_the_flag_keys_say_so() -> None:
    app = app_on(healthy())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press("n")
        await pilot.press("f")
        assert "nothing out of order" in shown(app)


async def test_t_changes_between_dark_and_light() -> None:
    app = app_on(healthy())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press("t")
        await pilot.pause()
        assert app.theme == "deadband-light"
        assert not app.ink.dark
        await pilot.press("t")
        await pilot.pause()
        assert app.theme == "deadband-dark"


async def test_the_help_lists_every_key_of_the_screen() -> None:
    app = app_on(healthy())
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        await pilot.press("question_mark")
        assert isinstance(app.screen, HelpScreen)
        page = shown(app)
        for keys in groups("dashboard").values():
            for key in keys:
                if not key.replay:
                    assert (key.help_shown or key.shown) in page
        await pilot.press("j", "k", "escape")
        assert isinstance(app.screen, DashboardScreen)


async def test_p_shows_what_the_script_printed(tmp_path: Path) -> None:
    log = tmp_path / "train.log"
    log.write_text("epoch 1\n 10%\r 99%\nloss 0.3\n")
    source = healthy()
    app = DeadbandApp(source, child_output=log, threaded=False)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press("p")
        assert isinstance(app.screen, OutputScreen)
        page = shown(app)
        assert "99%" in page
        assert "10%" not in page
        assert "loss 0.3" in page
        await pilot.press("escape", "q")
    assert app.return_value == 0


async def test_p_without_a_log_says_where_the_output_is() -> None:
    app = app_on(healthy())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press("p")
        assert isinstance(app.screen, DashboardScreen)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
async def test_leaving_ends_with_0_and_touches_nothing(key: str) -> None:
    source = healthy()
    app = app_on(source)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press(key)
    assert app.return_value == 0
    assert not source.closed, "whoever opened a source closes it"


async def test_a_click_on_the_key_line_does_what_the_key_does() -> None:
    app = app_on(healthy())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.click("#keys", offset=(3, 0))
        await pilot.pause()
        assert app.view.frozen is not None


async def test_a_recording_is_moved_by_the_same_keys() -> None:
    source = recorded()
    app = app_on(source)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        assert "REPLAY" in shown(app)
        assert "step 160/160" in shown(app)
        await pilot.press("g")
        assert source.position == 0
        await pilot.press("right", "right")
        assert source.position == 2
        await pilot.press("shift+right")
        assert source.position == 27
        await pilot.press("shift+left", "left")
        assert source.position == 1
        await pilot.press("G")
        assert source.position == 160
        await pilot.press("n")
        assert source.asked[-1] == 74, "the step at which the first flag was called"
        assert "output-collapse" in shown(app)
        await pilot.press("o")
        assert source.asked[-1] == 62, "its onset"
        assert "output-collapse" not in shown(app), "nothing of what came later is known there"
        await pilot.press("plus", "plus", "minus")
        assert source.speed == 2.0
        await pilot.press("space")
        assert source.playing
        assert "▶ REPLAY x2" in shown(app)
        assert app.view.axis.last >= 160, "the axis shows the whole recording as it plays"


async def test_keys_of_recordings_do_nothing_to_a_live_run() -> None:
    app = app_on(healthy())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        await pilot.press("g", "G", "left", "right", "plus", "minus", "o")
        assert isinstance(app.screen, DashboardScreen)


def test_every_binding_has_an_action() -> None:
    screens = {"dashboard": DashboardScreen, "layer": LayerScreen, "flag": FlagScreen}
    for where, screen in screens.items():
        for binding in bindings(where):
            action = binding.action.partition("(")[0]  # type: ignore[union-attr]
            owner = DeadbandApp if action.startswith("app.") else screen
            assert hasattr(owner, "action_" + action.removeprefix("app.")), action


def test_no_screen_binds_a_key_twice() -> None:
    for where in ("dashboard", "layer", "flag", "picker", "output", "ranks"):
        keys = [key for entry in KEYS if where in entry.where for key in entry.keys]
        assert len(keys) == len(set(keys)), where


def test_the_key_line_of_a_recording_begins_with_its_own_keys() -> None:
    assert [key.shown for key in key_line("dashboard", replay=True)][:3] == ["space", "←", "→"]
    assert "Recording" not in str(help_rows("dashboard", replay=False, width=72))
    assert "Recording" in str(help_rows("dashboard", replay=True, width=72))
