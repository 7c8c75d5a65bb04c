"""Takes the README's picture: trains the demo for real and keeps the dashboard's screen.

    .venv/bin/python docs/picture.py [NAME] [FILE]     (default: lr-too-high docs/dashboard.svg)

The demo runs as `deadband demo` runs it; the dashboard is the real one on the live hub, at 120x40,
a little after the first cause was named.
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
from deadband_monitor.source.base import Source
from deadband_monitor.source.open import open_source
from deadband_monitor.tui.app import DeadbandApp
from deadband_monitor.tui.ink import Ink

STEPS_AFTER_THE_CAUSE = 60
PATIENCE_S = 120.0


def main(name: str = "lr-too-high", file: str = "docs/dashboard.svg") -> None:
    """Train, look, keep the picture."""
    with tempfile.TemporaryDirectory() as home:
        os.environ["DEADBAND_HOME"] = home
        run = wire.new_run_id(name)
        module = f"deadband_demos.{name.replace('-', '_')}"
        training = subprocess.Popen(
            [sys.executable, "-m", "deadband.launch", "-m", module],
            env={**os.environ, "DEADBAND_RUN": run, "DEADBAND_NAME": name},
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE_S
        while not wire.registry_path(run).exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        svg = asyncio.run(_look(open_source(run), deadline))
        training.wait()
    # The page that shows it has a monospaced font of its own; nothing is to be fetched for it.
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    Path(file).write_text(svg, encoding="utf-8")


async def _look(source: Source, deadline: float) -> str:
    app = DeadbandApp(source, ink=Ink())
    async with app.run_test(size=(120, 40)) as pilot:
        state = app.feed.source.state
        while time.monotonic() < deadline:
            await pilot.pause(0.2)
            state = source.state
            if state.causes and state.step >= (
                min(flag.raised_step for flag in state.flags.values()) + STEPS_AFTER_THE_CAUSE
            ):
                break
        return app.export_screenshot(title=f"deadband attach {source.name}")


if __name__ == "__main__":
    main(*sys.argv[1:])
