"""Takes the README's pictures: trains a demo and its twin for real and keeps the screens.

    .venv/bin/python docs/picture.py [NAME]     (default: lr-too-high; into docs/)

The demo runs as `deadband demo` runs it; the screens are the real ones on the live hub, at 120x40,
a little after the first cause was named, and on both recordings afterwards.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deadband import wire
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.replay import ReplaySource
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.ink import Ink
from deadband_monitor.tui.screens.compare import CompareScreen

STEPS_AFTER_THE_CAUSE = 60
PATIENCE_S = 240.0
SIZE = (120, 40)
FOLDER = Path(__file__).parent


def main(name: str = "lr-too-high") -> None:
    """Train, look, keep the pictures."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["DEADBAND_HOME"] = home
        well, _ = _train(name, "--healthy")
        well.wait()
        training, run = _train(name)
        deadline = time.monotonic() + PATIENCE_S
        while not wire.registry_path(run).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        asyncio.run(_look(run, deadline))
        training.wait()
        asyncio.run(_compare())


def _train(name: str, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    run = wire.new_run_id(name + "".join(options).replace("--", "-"))
    module = f"deadband_demos.{name.replace('-', '_')}"
    command = [sys.executable, "-m", "deadband.launch", "-m", module, *options]
    environment = {**os.environ, "DEADBAND_RUN": run, "DEADBAND_NAME": name}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL), run


async def _look(run: str, deadline: float) -> None:
    """The dashboard and the page of the first flag of a live run."""
    source = LiveSource(run)
    app = DeadbandApp(source, ink=Ink())
    async with app.run_test(size=SIZE) as pilot:
        while time.monotonic() < deadline:
            await pilot.pause(0.2)
            state = source.state
            if state.causes and state.step >= (
                min(flag.raised_step for flag in state.flags.values()) + STEPS_AFTER_THE_CAUSE
            ):
                break
        _keep(app, "dashboard")
        await pilot.press("f")
        await pilot.pause(1.0)
        _keep(app, "flag")
    source.close()


async def _compare() -> None:
    """The two recordings beside each other."""
    recordings = sorted(wire.runs_folder().glob("*.dbr"), key=lambda path: path.stat().st_mtime)
    app = DeadbandApp(list_runs=list, ink=Ink())
    async with app.run_test(size=SIZE) as pilot:
        one, other = (ReplaySource(path) for path in recordings)
        app.push_screen(CompareScreen((one, other)))
        await pilot.pause(2.0)
        _keep(app, "compare")


def _keep(app: DeadbandApp, file: str) -> None:
    app.repaint()
    svg = app.export_screenshot(title="deadband")
    # The page that shows it has a monospaced font of its own; nothing is to be fetched for it.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    (FOLDER / f"{file}.svg").write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
