"""Every declared key does something on every screen that it is declared for: seen or told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import (
    DARK,
    LARGE,
    RUNS,
    SMALL,
    Recorded,
    collapsed,
    entry,
    healthy,
    recorded,
    shown,
    until,
)
from textual.pilot import Pilot
from textual.screen import Screen

from deadband_monitor.source.fake import FakeSource
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.keys import (
    COMPARE,
    DASHBOARD,
    FLAG,
    KEYS,
    LAYER,
    OUTPUT,
    PICKER,
    RANKS,
    Key,
)
from deadband_monitor.tui.screens.dashboard import DashboardScreen
from deadband_monitor.tui.screens.flag import FlagScreen
from deadband_monitor.tui.screens.layer import LayerScreen
from deadband_monitor.tui.screens.output import OutputScreen
from deadband_monitor.tui.screens.ranks import RanksScreen
from deadband_monitor.tui.screens.runs import PickerScreen
from deadband_monitor.tui.widgets.canvas import Canvas

WAYS: dict[str, tuple[type[Screen[None]], list[str]]] = {
    DASHBOARD: (DashboardScreen, []),
    LAYER: (LayerScreen, ["enter"]),
    FLAG: (FlagScreen, ["f"]),
    RANKS: (RanksScreen, ["R"]),
    OUTPUT: (OutputScreen, ["p"]),
}
"""From the dashboard to each screen of a run."""

HALFWAY = 100
RECORDED = {"step(1)", "step(25)", "seek_end(True)"}
"""At the newest step of a live run there is nowhere further on to go."""
CASES = [
    pytest.param(where, key, pressed, id=f"{where}-{pressed}")
    for where in (*WAYS, PICKER, COMPARE)
    for key in KEYS
    if where in key.where
    for pressed in key.keys
]


def watched(
    monkeypatch: pytest.MonkeyPatch, folder: Path, source: Callable[[], FakeSource | Recorded]
) -> tuple[DeadbandApp, list[str]]:
    """The app on a list of runs; and what it was asked that would end or stop the test."""
    asked: list[str] = []
    monkeypatch.chdir(folder)
    log = folder / "train.log"
    log.write_text("epoch 1\n", encoding="utf-8")
    monkeypatch.setattr(DeadbandApp, "action_detach", lambda app: asked.append("detach"))
    monkeypatch.setattr(DeadbandApp, "action_suspend_process", lambda app: asked.append("suspend"))
    app = DeadbandApp(
        list_runs=lambda: [*RUNS[:2], entry("resnet-a9ffee")],
        open_run=lambda entry: healthy() if entry is RUNS[0] else source(),
        open_past=lambda source: recorded(),
        child_output=log,
        ink=DARK,
        clock=lambda: 1_700_000_120.0,
        threaded=False,
    )
    return app, asked


def seen(app: DeadbandApp, asked: list[str]) -> tuple[object, ...]:
    """All that a reader can notice."""
    canvases = [canvas for canvas in app.screen.query(Canvas) if canvas.display]
    return (
        [type(screen) for screen in app.screen_stack],
        [(canvas.rows, str(canvas.border_title), canvas.region) for canvas in canvases],
        [widget.scroll_offset for widget in app.screen.query("VerticalScroll")],
        [notice.message for notice in app._notifications],
        app.theme,
        app.clipboard,
        list(asked),
    )


async def go(app: DeadbandApp, pilot: Pilot[int], where: str, pressed: str) -> None:
    """To a screen, half way in its run and its layers."""
    await until(pilot, lambda: RUNS[1].run in shown(app))
    picker = app.screen
    assert isinstance(picker, PickerScreen)
    await pilot.press(*["down"] * (1 if where == PICKER else 0))
    if where in (PICKER, COMPARE):
        picker._chosen, picker.marked, picker._moved = RUNS[1].run, [RUNS[0].run], True
        app.repaint()
    if where == COMPARE:
        await pilot.press("c")
        await until(pilot, lambda: "output-collapse at" in shown(app))
    if where not in WAYS:
        return
    app.open_run(RUNS[1])
    await until(pilot, lambda: isinstance(app.screen, DashboardScreen))
    await until(pilot, lambda: bool(app.view.state.layers))
    if isinstance(app.feed.source, Recorded):
        app.feed.source.seek(HALFWAY)
    app.view.select(3)
    screen, keys = WAYS[where]
    await pilot.press(*keys)
    await until(pilot, lambda: isinstance(app.screen, screen))
    app.view.zoom = 1 if pressed == "left_square_bracket" else 0
    app.repaint()
    await pilot.pause()


@pytest.mark.slow
@pytest.mark.parametrize(("where", "key", "pressed"), CASES)
async def test_a_key_is_seen_to_do_something(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str, key: Key, pressed: str
) -> None:
    source = recorded if key.replay or key.action in RECORDED else collapsed
    app, asked = watched(monkeypatch, tmp_path, source)
    small = where == FLAG  # there the page is longer than the screen
    async with app.run_test(size=SMALL if small else LARGE) as pilot:
        await go(app, pilot, where, pressed)
        if pressed == "1":
            await pilot.press("2")  # the first metric is the one that is shown at the start
        if key.action == "scroll_page(-1)":
            await pilot.press("pagedown")
        before = seen(app, asked)
        await pilot.press(pressed)
        await until(pilot, lambda: seen(app, asked) != before)
