"""A recording whose pictures are cut where it lies looks as one that is read wholly."""

from __future__ import annotations

import csv
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from pictures import DARK, LARGE, SMALL, after, assert_same, shown

from deadband.wire import AskView, What
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.record.format import OutlineRow
from deadband_monitor.record.writer import Recorder
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.source.scripted import collapsing_run
from deadband_monitor.statistics.outlines import outlines, packed
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.widgets.spreads import Fine


class WholeReplay(ReplaySource):
    """Reads everything, as any replay did once."""

    def want(self, wish: AskView) -> None:
        """What is wanted is there."""
        del wish


@pytest.fixture
def path(tmp_path: Path) -> Path:
    chronicle = Chronicle(Recorder(tmp_path / "digits-mlp-7f3a1c.dbr"))
    for event in collapsing_run(layers=30, samples=160, onset=60, every=3):
        chronicle.add(event)
    chronicle.close(1.0)
    return chronicle.recorder.path


async def screens(source: ReplaySource, size: tuple[int, int], keys: list[str]) -> list[str]:
    """What is on the screen after each key."""
    app = DeadbandApp(source, ink=DARK, clock=lambda: source.last_heard, threaded=False)
    with closing(source):
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            return [await after(key, app, pilot) for key in keys]


KEYS = {
    "moves": ["left", "g", "right", "G", "n"],
    "time": ["n", "]", "]", "["],
    "pages": ["n", "enter", "left", "escape", "f"],
}


@pytest.mark.parametrize("keys", KEYS.values(), ids=list(KEYS))
@pytest.mark.parametrize("size", [SMALL, LARGE])
async def test_every_screen_of_a_replay_is_the_same(
    path: Path, size: tuple[int, int], keys: list[str]
) -> None:
    expected = await screens(WholeReplay(path), size, keys)
    told = await screens(ReplaySource(path, settled=False), size, keys)
    for key, one, other in zip(keys, expected, told, strict=True):
        assert_same(one, other, key)


Readings = dict[tuple[str, ...], list[float]]


async def exported(source: ReplaySource, folder: Path) -> Readings:
    app = DeadbandApp(source, ink=DARK, clock=lambda: source.last_heard, threaded=False)
    with closing(source):
        async with app.run_test(size=LARGE) as pilot:
            await pilot.pause()
            app.repaint()
            await pilot.press("Y")
            await pilot.pause()
    return taken_from(folder)


def taken_from(folder: Path) -> Readings:
    """What the only table in a folder says; the file goes."""
    (file,) = folder.glob("*.csv")
    with file.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    file.unlink()
    return {
        (row["first_step"], row["layer"], row["metric"]): [
            float(row[end] or "nan") for end in ("low", "mean", "high")
        ]
        for row in rows
    }


async def test_an_export_of_a_replay_holds_every_metric_of_every_layer(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = await exported(WholeReplay(path), tmp_path)
    told = await exported(ReplaySource(path, settled=False), tmp_path)
    assert told.keys() == expected.keys()
    assert len({metric for _, _, metric in told}) > 10
    np.testing.assert_allclose(
        np.array(list(told.values())), np.array([expected[key] for key in told]), rtol=1e-4
    )


async def test_a_replay_shows_what_it_holds_in_the_place_of_a_histogram(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "run-000001.dbr")
    for event in collapsing_run(layers=4, samples=60, onset=80):
        recorder.add(event)
    values = np.random.default_rng(1).standard_normal((1, 900)).astype(np.float32)
    recorder.add_outlines(
        OutlineRow(
            number=1, step=40, time=1.0, layout=1,
            subjects=(("model", "net.1", What.ACTIVATION),), body=packed(outlines(values)),
        )
    )  # fmt: skip
    recorder.close(0.0)
    with closing(ReplaySource(recorder.path, settled=False)) as source:
        app = DeadbandApp(source, ink=DARK, clock=lambda: source.last_heard, threaded=False)
        async with app.run_test(size=LARGE) as pilot:
            await pilot.pause()
            app.view.select(1)
            await pilot.press("enter", "h")
            for _ in range(3):
                app.repaint()
                await pilot.pause()
            said = str(app.screen.query_one(Fine).border_title)
            assert "step 40 · as recorded" in said
            assert "no histogram" in said
            assert any("⣿" in line for line in shown(app).splitlines())
