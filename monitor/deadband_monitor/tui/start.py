"""From a source or a list of runs to the terminal UI, with the user's settings."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deadband_monitor.errors import BadSettings
from deadband_monitor.hub.registry import RunEntry, runs
from deadband_monitor.loading import swiftly
from deadband_monitor.seen import keep_seen, read_seen
from deadband_monitor.settings import Settings, read_choices, read_settings, remember
from deadband_monitor.source.base import Source
from deadband_monitor.source.open import open_entry

if TYPE_CHECKING:
    from deadband_monitor.tui.app import DeadbandApp


def run_dashboard(source: Source, *, child_output: Path | None = None) -> int:
    """Show one run until the user leaves; the caller closes the source.

    Args:
        source: the run.
        child_output: where the script's output goes, for the key that shows it.
    """
    settings, trouble = _settings()
    app = _app_class()(
        source,
        child_output=child_output,
        settings=settings,
        choices=read_choices(),
        remember=remember,
        recall=read_seen,
        keep=keep_seen,
        trouble=trouble,
    )
    return _run(app)


def run_picker(
    list_runs: Callable[[], Sequence[RunEntry]] = runs,
    open_run: Callable[[RunEntry], Source] = open_entry,
) -> int:
    """Show the runs of this machine, and any of them, until the user leaves."""
    settings, trouble = _settings()
    app = _app_class()(
        list_runs=list_runs,
        open_run=open_run,
        settings=settings,
        choices=read_choices(),
        remember=remember,
        recall=read_seen,
        keep=keep_seen,
        trouble=trouble,
    )
    return _run(app)


def _app_class() -> type[DeadbandApp]:
    # Here, so that a command that draws nothing imports no Textual.
    with swiftly():
        from deadband_monitor.tui.app import DeadbandApp
    return DeadbandApp


def _run(app: DeadbandApp) -> int:
    # What is imported stays: the collector need not walk it for as long as the screen is open.
    gc.freeze()
    return app.run() or 0


def _settings() -> tuple[Settings, str]:
    """The user's settings, and what is wrong with their file."""
    try:
        return read_settings(), ""
    except BadSettings as error:
        return Settings(), str(error)
