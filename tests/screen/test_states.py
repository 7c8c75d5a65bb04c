"""Each state of a run, each size of a terminal: the right words, and nothing broken."""

from __future__ import annotations

import pytest
from pictures import (
    ASCII,
    BASIC,
    LARGE,
    PLAIN,
    RUNS,
    SMALL,
    app_on,
    collapsed,
    entry,
    healthy,
    shown,
    with_status,
)
from textual.app import App

from deadband_monitor.errors import SourceError, UnknownRun
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.source.base import Source
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import collapsing_run, healthy_run
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.screens.dashboard import DashboardScreen
from deadband_monitor.tui.screens.runs import PickerScreen
from deadband_monitor.tui.widgets.canvas import Canvas


async def words(source: FakeSource, size: tuple[int, int] = LARGE, late_s: float = 0.3) -> str:
    app = app_on(source, late_s=late_s)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        return shown(app)


async def test_nothing_heard_yet() -> None:
    page = await words(FakeSource(healthy_run(), name="early"))
    assert "WAITING" in page
    assert "for the run to report" in page
    assert "nothing measured yet" in page
    assert "healthy" not in page, "no verdict before there is anything to judge"


async def test_known_but_not_measured_yet() -> None:
    source = FakeSource(healthy_run(), name="early")
    for _ in range(2):
        source._play_one()
    assert "for the first sample" in await words(source)


async def test_a_live_run_says_step_rate_and_age() -> None:
    page = await words(healthy())
    assert "● LIVE" in page
    assert "step 90" in page
    assert "4/s" in page
    assert "heard 0.3 s ago" in page


async def test_a_silent_run_says_how_long() -> None:
    page = await words(with_status(healthy(), "silent"), late_s=42)
    assert "SILENT 50 s" in page, "7.5 s when the hub last spoke, and 42 s since"
    assert "4/s" not in page


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        ("finished", "", "FINISHED"),
        ("failed", "ValueError: bad shape", "FAILED"),
        ("killed", "", "KILLED"),
    ],
)
async def test_a_run_that_is_over_says_how_it_ended(status: str, error: str, said: str) -> None:
    page = await words(with_status(healthy(), status, error))
    assert said in page
    assert error in page
    assert "/s" not in page.splitlines()[0], "nothing moves any more"


@pytest.mark.parametrize(("rows", "mapped"), [(16, False), (18, True), (24, True)])
async def test_no_terminal_shows_a_heat_map_without_a_row(rows: int, mapped: bool) -> None:
    app = app_on(healthy())
    async with app.run_test(size=(60, rows)) as pilot:
        await pilot.pause()
        names = app.screen.query_one(".heat-labels", Canvas)
        assert (names.size.height > 0) == mapped
        assert "loss" in shown(app)
        assert "q Detach" in shown(app)


async def test_a_lost_hub_leaves_the_picture_and_says_so() -> None:
    source = healthy()
    source.link_shown = "lost"
    app = app_on(source)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        assert "HUB LOST" in shown(app)
        assert "trying again, as of " in shown(app)
        assert app.screen.has_class("-stale")
        names = app.screen.query_one(".heat-labels", Canvas)
        assert names.styles.text_opacity < 1.0
        assert "net.3" in shown(app)
        source.link_shown = "live"
        app.repaint()
        assert "HUB LOST" not in shown(app)


async def test_a_lost_link_is_tried_again_at_once_when_asked() -> None:
    class Far(FakeSource):
        tries = 0

        def retry(self) -> None:
            self.tries += 1

    source = Far(healthy_run(), name="gpt-s")
    source.advance(50)
    source.link_shown, source.where = "lost", "gpu-07 via ssh"
    source.trouble = "connection refused; retry in 8s"
    app = app_on(source)
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        assert "LINK LOST" in shown(app)
        assert "retry in 8s, ^r now, as of 22:13:" in shown(app).replace("\n", " ")
        assert ": connection refused" in shown(app)
        await pilot.press("ctrl+r")
        assert source.tries == 1
        source.link_shown, source.trouble = "live", ""
        await pilot.press("ctrl+r")
        assert source.tries == 1


async def test_a_source_that_refuses_ends_in_words_not_in_a_traceback() -> None:
    class Refusing(FakeSource):
        def refresh(self, wait_s: float) -> bool:
            raise SourceError("the hub speaks version 2: update deadband")

    page = await words(Refusing(healthy_run(), name="new"))
    assert "UNREADABLE" in page
    assert "the hub speaks version 2" in page


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16), (200, 60), (100, 20), (70, 60)])
async def test_the_headlines_are_in_sight_at_every_size(size: tuple[int, int]) -> None:
    app = app_on(collapsed())
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        page = shown(app)
        assert page.count("worst net.") == 3
        assert "FAILING" in page
        assert "learning-rate-too-high" in page
        assert "divide the learning rate" in page
        for canvas in app.screen.query(Canvas):
            if canvas.display and canvas.size:
                assert len(canvas.rows) <= max(canvas.size.height, 1), canvas.id


async def test_a_tiny_terminal_gets_one_line() -> None:
    app = app_on(collapsed())
    async with app.run_test(size=(50, 10)) as pilot:
        await pilot.pause()
        tiny = app.screen.query_one("#tiny", Canvas)
        assert "FAILING" in "".join(text for text, _ in tiny.rows[0])
        assert "needs 60x16" in "".join(text for text, _ in tiny.rows[1])
        await pilot.resize_terminal(80, 24)
        await pilot.pause()
        await pilot.pause()
        assert not tiny.display
        assert "worst net." in shown(app)


@pytest.mark.parametrize(
    ("layers", "size"), [(1, SMALL), (2, LARGE), (7, SMALL), (40, LARGE), (500, SMALL)]
)
async def test_any_number_of_layers_fits(layers: int, size: tuple[int, int]) -> None:
    source = FakeSource(collapsing_run(layers=layers, samples=60, onset=20), name="many")
    source.finish()
    app = app_on(source)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert "net.0" in shown(app) or "+" in shown(app)
        for _ in range(3):
            await pilot.press("j", "s")


@pytest.mark.parametrize("ink", [PLAIN, ASCII, BASIC], ids=["plain", "ascii", "16 colours"])
async def test_without_colours_the_collapse_is_still_told(ink: object) -> None:
    app = app_on(collapsed(), ink=ink)  # type: ignore[arg-type]
    async with app.run_test(size=LARGE) as pilot:
        await pilot.pause()
        app.repaint()
        picture = app.export_screenshot()
        assert "FAILING" in shown(app)
        assert "▼▼▼" in shown(app)
        assert ("▼" in picture) == (ink is not ASCII)


async def test_a_critical_flag_rings_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[int] = []
    monkeypatch.setattr(App, "bell", lambda self: rung.append(1))
    source = collapsed(samples=50)
    app = app_on(source)
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        assert not rung
        source.advance(50)
        app.repaint()
        app.repaint()
        assert len(rung) == 1


async def test_coming_late_to_a_collapse_does_not_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    rung: list[int] = []
    monkeypatch.setattr(App, "bell", lambda self: rung.append(1))
    app = app_on(collapsed())
    async with app.run_test(size=SMALL) as pilot:
        await pilot.pause()
        app.repaint()
        assert not rung


# --- the picker --------------------------------------------------------------------------------


def picker(entries: tuple[RunEntry, ...] = RUNS, **source: object) -> DeadbandApp:
    def open_run(chosen: RunEntry) -> Source:
        if "error" in source:
            raise UnknownRun(str(source["error"]))
        return healthy()

    return DeadbandApp(
        list_runs=lambda: entries,
        open_run=open_run,
        clock=lambda: 1_700_000_120.0,
        threaded=False,
    )


async def settled(app: DeadbandApp) -> None:
    """Wait for the threads that list and open runs."""
    await app.workers.wait_for_complete()


async def test_the_picker_lists_runs_with_state_and_verdict() -> None:
    app = picker()
    async with app.run_test(size=SMALL) as pilot:
        await settled(app)
        await pilot.pause()
        page = shown(app)
        for word in ("● live", "◌ silent", "✓ finished", "✗ failed", "✗ killed", "? unreadable"):
            assert word in page
        assert "▼ FAILING" in page
        assert "6 runs, 2 live" in page
        assert "2m00s ago" in page


async def test_enter_opens_a_run_and_escape_comes_back_to_the_list() -> None:
    app = picker()
    async with app.run_test(size=SMALL) as pilot:
        await settled(app)
        await pilot.press("j", "k", "j", "enter")
        await settled(app)
        await pilot.pause()
        assert isinstance(app.screen, DashboardScreen)
        source = app.feed.source
        await pilot.press("escape")
        assert isinstance(app.screen, PickerScreen)
        assert isinstance(source, FakeSource)
        assert source.closed
        await pilot.press("question_mark", "escape", "q")
    assert app.return_value == 0


async def test_a_run_that_cannot_be_opened_says_why() -> None:
    app = picker(error="no run matches")
    async with app.run_test(size=SMALL) as pilot:
        await settled(app)
        await pilot.press("enter")
        await settled(app)
        await pilot.pause()
        assert isinstance(app.screen, PickerScreen)
        assert [toast.message for toast in app._notifications] == ["no run matches"]
        await pilot.press(*["down"] * 9, "enter")
        await pilot.pause()
        assert "torn-000002.dbr is cut off" in [toast.message for toast in app._notifications]


async def test_a_machine_without_runs_says_what_to_type() -> None:
    app = picker(())
    async with app.run_test(size=SMALL) as pilot:
        await settled(app)
        await pilot.press("j", "enter")
        assert "no runs yet" in shown(app)
        assert "deadband demo" in shown(app)


async def test_a_long_list_follows_the_cursor() -> None:
    app = picker(tuple(entry(f"run-{number:06d}") for number in range(60)))
    async with app.run_test(size=SMALL) as pilot:
        await settled(app)
        await pilot.press(*["down"] * 25)
        assert "▸ ✓ finished   run-000025" in shown(app)


async def test_clicks_choose_and_open_a_run() -> None:
    app = picker()
    async with app.run_test(size=SMALL) as pilot:
        await settled(app)
        await pilot.pause()
        await pilot.click("#list", offset=(5, 4))
        await pilot.pause()
        assert "▸ ✓ finished   mlp-tanh" in shown(app)
