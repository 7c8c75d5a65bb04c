"""What the screens look like. After a wanted change: `pytest tests/screen --snapshot-update`."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pictures import (
    ASCII,
    DARK,
    LARGE,
    LIGHT,
    PLAIN,
    RUNS,
    SMALL,
    app_on,
    collapsed,
    healthy,
    recorded,
    shown,
)
from test_ranks_page import with_ranks
from textual.pilot import Pilot

from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.ink import Ink

Compare = Callable[..., bool]


@pytest.mark.parametrize(
    ("size", "ink"),
    [(SMALL, DARK), (LARGE, DARK), (LARGE, LIGHT), (SMALL, PLAIN), (LARGE, ASCII)],
    ids=["small-dark", "large-dark", "large-light", "small-plain", "large-ascii"],
)
def test_a_collapse_cannot_be_missed(
    snap_compare: Compare, size: tuple[int, int], ink: Ink
) -> None:
    assert snap_compare(app_on(collapsed(), ink=ink), terminal_size=size)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_healthy_run_is_grey(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(app_on(healthy()), terminal_size=size)


def test_forty_layers_share_rows(snap_compare: Compare) -> None:
    app = app_on(collapsed(layers=40))
    assert snap_compare(app, terminal_size=LARGE, press=["2", "]"])


@pytest.mark.parametrize(
    ("size", "ink"),
    [(SMALL, DARK), (LARGE, DARK), (LARGE, LIGHT), (SMALL, ASCII)],
    ids=["small-dark", "large-dark", "large-light", "small-ascii"],
)
def test_a_layer_shows_its_readings_and_how_its_values_spread(
    snap_compare: Compare, size: tuple[int, int], ink: Ink
) -> None:
    app = app_on(collapsed(), ink=ink)
    assert snap_compare(app, terminal_size=size, press=["j", "enter"])


def test_a_layer_shows_one_tensor_finely(snap_compare: Compare) -> None:
    app = app_on(collapsed())
    assert snap_compare(app, terminal_size=LARGE, press=["j", "enter", "d", "h"])


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_flag_shows_evidence_cause_and_advice(
    snap_compare: Compare, size: tuple[int, int]
) -> None:
    assert snap_compare(app_on(collapsed()), terminal_size=size, press=["f"])


def test_a_recording_shows_where_it_stands(snap_compare: Compare) -> None:
    assert snap_compare(app_on(recorded()), terminal_size=SMALL, press=["n", "shift+left"])


def test_the_help_fits_a_small_terminal(snap_compare: Compare) -> None:
    app = app_on(recorded())
    assert snap_compare(app, terminal_size=SMALL, press=["question_mark"])


@pytest.mark.parametrize("ink", [DARK, LIGHT], ids=["dark", "light"])
def test_the_picker_lists_every_run(snap_compare: Compare, ink: Ink) -> None:
    app = DeadbandApp(
        list_runs=lambda: RUNS, ink=ink, clock=lambda: 1_700_000_120.0, threaded=False
    )

    async def listed(pilot: Pilot[int]) -> None:
        # Not for the worker: on a busy machine the next look takes its place.
        while "gpt-s-7f3a1c" not in shown(app):
            await pilot.pause(0.01)
        await pilot.press("down")

    assert snap_compare(app, terminal_size=SMALL, run_before=listed)


def test_two_runs_are_compared_on_the_same_axes(snap_compare: Compare) -> None:
    sources = {RUNS[0].run: healthy(), RUNS[1].run: collapsed(samples=160)}
    app = DeadbandApp(
        list_runs=lambda: RUNS[:2],
        open_run=lambda entry: sources[entry.run],
        ink=DARK,
        clock=lambda: 1_700_000_120.0,
        threaded=False,
    )

    async def compared(pilot: Pilot[int]) -> None:
        while RUNS[1].run not in shown(app):
            await pilot.pause(0.01)
        await pilot.press("space", "space", "c")
        while "output-collapse at 62" not in shown(app):
            await pilot.pause(0.01)

    assert snap_compare(app, terminal_size=LARGE, run_before=compared)


def test_ranks_that_differ_stand_out(snap_compare: Compare) -> None:
    app = app_on(with_ranks(collapsed(), "running", "running", "running", "failed"))
    assert snap_compare(app, terminal_size=LARGE, press=["R", "z"])
