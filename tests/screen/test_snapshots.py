"""What the screens look like. After a wanted change: `pytest tests/screen --snapshot-update`.

Every screen in every look at two sizes; of these `make test` takes the dark ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pictures import (
    ASCII,
    DARK,
    LARGE,
    LIGHT,
    PLAIN,
    RUNS,
    SMALL,
    Recorded,
    app_on,
    collapsed,
    healthy,
    recorded,
    shown,
)
from test_ranks_page import with_ranks
from textual.pilot import Pilot
from textual.widgets import Input

from deadband.wire import Diagnosis
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.hosts import NO_REPLY
from deadband_monitor.source.scripted import COVERAGE
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.ink import Ink

Compare = Callable[..., bool]
Steps = Callable[[DeadbandApp, Pilot[int]], Awaitable[None]]

NOW = 1_700_000_120.0
FAR = (
    RUNS[0],
    replace(RUNS[1], host="gpu-07"),
    RUNS[2],
    replace(RUNS[3], host="gpu-07"),
    replace(
        RUNS[5], run="", name="", host="gpu-11.cluster.example", status=NO_REPLY, started=0.0,
        last_time=0.0, step=0, samples=0, problem="ssh: connect to host gpu-11: Connection refused",
    ),
)  # fmt: skip
PRINTED = "epoch 1\n 10%\r 99%|#########9| 990/1000 [00:09<00:00]\nloss 0.3127  accuracy 0.88\n"


async def seen(app: DeadbandApp, pilot: Pilot[int], words: str) -> None:
    """Until these words are on the screen: what a thread finds comes when it comes."""
    while words not in shown(app):
        await pilot.pause(0.01)


def typed(*keys: str) -> Steps:
    async def steps(app: DeadbandApp, pilot: Pilot[int]) -> None:
        del app
        await pilot.press(*keys)

    return steps


stay = typed()


async def type_a_pattern(app: DeadbandApp, pilot: Pilot[int]) -> None:
    await pilot.press("slash")
    await pilot.pause()
    app.screen.query_one(Input).cursor_blink = False
    await pilot.press(*"net.[0-3")


async def choose_a_run(app: DeadbandApp, pilot: Pilot[int]) -> None:
    await seen(app, pilot, "gpt-s-7f3a1c")
    await pilot.press("down")


async def compare_two(app: DeadbandApp, pilot: Pilot[int]) -> None:
    await seen(app, pilot, RUNS[1].run)
    await pilot.press("space", "space", "c")
    await seen(app, pilot, "output-collapse at 62")


def well_covered() -> FakeSource:
    """A healthy run whose rules have said what they see."""
    source = healthy()
    state = source.state
    source.apply(
        Diagnosis(
            seq=state.seq + 1, step=state.step, verdict="healthy", causes=[], coverage=COVERAGE
        )
    )
    return source


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A screen and how to get there: one run, or the list of runs where there is no source."""

    source: Callable[[], FakeSource | Recorded] | None = collapsed
    steps: Steps = stay
    printed: bool = False


SCENES = {
    "dashboard": Scene(),
    "layer": Scene(steps=typed("j", "enter")),
    "histogram": Scene(steps=typed("j", "enter", "d", "h")),
    "flag": Scene(steps=typed("n", "f")),
    "coverage": Scene(source=well_covered, steps=typed("f")),
    "ranks": Scene(
        source=lambda: with_ranks(collapsed(), "running", "running", "running", "failed"),
        steps=typed("R"),
    ),
    "compare": Scene(source=None, steps=compare_two),
    "picker": Scene(source=None, steps=choose_a_run),
    "help": Scene(source=recorded, steps=typed("question_mark")),
    "output": Scene(steps=typed("p"), printed=True),
    "prompt": Scene(steps=type_a_pattern),
    "replay": Scene(source=recorded, steps=typed("n", "shift+left")),
}


def app_of(scene: Scene, ink: Ink) -> DeadbandApp:
    if scene.source is None:
        sources = {RUNS[0].run: healthy, RUNS[1].run: lambda: collapsed(samples=160)}
        return DeadbandApp(
            list_runs=lambda: RUNS[:2] if scene.steps is compare_two else FAR,
            open_run=lambda entry: sources[entry.run](),
            ink=ink,
            clock=lambda: NOW,
            threaded=False,
        )
    app = app_on(scene.source(), ink=ink)
    if scene.printed:
        app._child_output = Path("train.log")
    return app


@pytest.mark.parametrize(
    "ink",
    [
        pytest.param(DARK, id="dark"),
        pytest.param(LIGHT, id="light", marks=pytest.mark.slow),
        pytest.param(PLAIN, id="plain", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("name", SCENES)
def test_every_screen_looks_as_it_did(
    snap_compare: Compare,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    name: str,
    size: tuple[int, int],
    ink: Ink,
) -> None:
    scene = SCENES[name]
    monkeypatch.chdir(tmp_path)
    Path("train.log").write_text(PRINTED, encoding="utf-8")
    if ink is PLAIN:
        monkeypatch.setenv("NO_COLOR", "1")
    app = app_of(scene, ink)

    async def arrive(pilot: Pilot[int]) -> None:
        await scene.steps(app, pilot)

    assert snap_compare(app, terminal_size=size, run_before=arrive)


@pytest.mark.parametrize("size", [SMALL, LARGE], ids=["small", "large"])
def test_a_healthy_run_is_grey(snap_compare: Compare, size: tuple[int, int]) -> None:
    assert snap_compare(app_on(healthy()), terminal_size=size)


def test_a_collapse_is_seen_in_ascii(snap_compare: Compare) -> None:
    assert snap_compare(app_on(collapsed(), ink=ASCII), terminal_size=LARGE)


def test_a_layer_is_read_in_ascii(snap_compare: Compare) -> None:
    app = app_on(collapsed(), ink=ASCII)
    assert snap_compare(app, terminal_size=SMALL, press=["j", "enter"])


def test_forty_layers_share_rows(snap_compare: Compare) -> None:
    app = app_on(collapsed(layers=40))
    assert snap_compare(app, terminal_size=LARGE, press=["2", "]"])


def test_ranks_that_say_the_same_share_a_row(snap_compare: Compare) -> None:
    app = app_on(with_ranks(collapsed(), "running", "running", "running", "failed"))
    assert snap_compare(app, terminal_size=LARGE, press=["R", "z"])
