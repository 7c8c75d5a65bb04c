"""Runs to look at: fixed data, a fixed clock and no thread, so that a picture stays the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from deadband.wire import Event, Sample, Status
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import STARTED, collapsing_run, healthy_run
from deadband_monitor.state.run_state import RunState
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.ink import Depth, Ink
from deadband_monitor.tui.screens.base import RunScreen
from deadband_monitor.tui.widgets.canvas import Canvas

SMALL, LARGE = (80, 24), (120, 40)
DARK, LIGHT = Ink(), Ink(dark=False)
PLAIN = Ink(depth=Depth.NONE)
ASCII = Ink(depth=Depth.NONE, unicode=False)
BASIC = Ink(depth=Depth.BASIC)


def healthy(samples: int = 90, layers: int = 12) -> FakeSource:
    source = FakeSource(healthy_run(layers=layers, samples=400), name="digits-mlp-7f3a1c")
    source.advance(samples)
    return source


def collapsed(samples: int = 100, layers: int = 12) -> FakeSource:
    source = FakeSource(collapsing_run(layers=layers, samples=400), name="digits-mlp-7f3a1c")
    source.advance(samples)
    return source


def with_status(source: FakeSource, status: str, error: str = "") -> FakeSource:
    state = source.state
    source.apply(
        Status(
            seq=state.seq + 1,
            time=STARTED + 30,
            status=status,
            step=state.step,
            samples=state.samples,
            dropped=0,
            overhead=0.006,
            error=error,
        )
    )
    return source


def app_on(source: FakeSource | Recorded, ink: Ink = DARK, late_s: float = 0.3) -> DeadbandApp:
    return DeadbandApp(source, ink=ink, clock=lambda: source.last_heard + late_s, threaded=False)


class Recorded:
    """A recording that stands where it is told to."""

    name = "digits-mlp-7f3a1c"
    link = "replay"
    where = trouble = ""

    def __init__(self, events: list[Event], last_step: int) -> None:
        self._events = events
        self.last_step = last_step
        self.playing = False
        self.speed = 1.0
        self.asked: list[int] = []
        self.seek(last_step)

    @property
    def position(self) -> int:
        return self.state.step

    @property
    def last_heard(self) -> float:
        return STARTED

    def seek(self, step: int) -> None:
        self.asked.append(step)
        self.state = RunState()
        for event in self._events:
            if isinstance(event, Sample) and event.step > step:
                break
            self.state.apply(event)

    def step_by(self, samples: int) -> None:
        self.seek(self.position + samples)

    def refresh(self, wait_s: float) -> bool:
        del wait_s
        return False

    def close(self) -> None:
        """Nothing to let go of."""


def recorded(samples: int = 160) -> Recorded:
    return Recorded(list(collapsing_run(layers=6, samples=samples)), samples)


def entry(run: str, **changed: object) -> RunEntry:
    known: dict[str, object] = {
        "run": run,
        "name": run.rpartition("-")[0],
        "path": Path(f"/home/user/.local/state/deadband/runs/{run}.dbr"),
        "live": False,
        "status": "finished",
        "verdict": "healthy",
        "started": STARTED,
        "last_time": STARTED + 60,
        "step": 2000,
        "samples": 800,
    }
    return RunEntry(**{**known, **changed})  # type: ignore[arg-type]


RUNS = (
    entry("gpt-s-7f3a1c", live=True, status="running", step=12_480, verdict="failing"),
    entry("vit-b-02c1aa", live=True, status="silent", step=88_102),
    entry("mlp-tanh-demo-1b2c3d", started=STARTED - 7200, verdict="warning"),
    entry("resnet-a9ffee", status="failed", started=STARTED - 86_400 * 3),
    entry("old-000001", status="killed"),
    entry("torn-000002", status="unreadable", verdict="", problem="torn-000002.dbr is cut off"),
)


def shown(app: DeadbandApp) -> str:
    """All canvases of the screen in front, as text."""
    return "\n".join(
        "".join(text for text, _ in row)
        for canvas in app.screen.query(Canvas)
        if canvas.display
        for row in canvas.rows
    )


def run_screen(app: DeadbandApp) -> RunScreen:
    assert isinstance(app.screen, RunScreen)
    return app.screen


async def until(pilot: Pilot[int], arrived: Callable[[], bool]) -> None:
    """Wait for what comes with the next drawing or message."""
    for _ in range(600):
        if arrived():
            return
        await pilot.pause(0.01)
    raise AssertionError("nothing changed")


async def after(key: str, app: DeadbandApp, pilot: Pilot[int]) -> str:
    """What is on the screen when a key was pressed and its picture has come."""
    await pilot.press(key)
    for _ in range(2):  # what the picture lacks is asked for when it is painted
        app.repaint()
    await pilot.pause()
    return shown(app)


def assert_same(one: str, other: str, key: str) -> None:
    """But for dots of a curve and last digits on the verge between two."""
    assert len(other) == len(one), f"after {key}"
    unlike = [at for at, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    assert len(unlike) <= 3, f"after {key}: {[one[at - 9 : at + 9] for at in unlike]}"
