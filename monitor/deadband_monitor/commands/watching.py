"""A training script and somebody who watches it: with the dashboard, or in plain lines."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

from deadband_monitor.commands.base import complain
from deadband_monitor.commands.following import follow
from deadband_monitor.commands.training import Training
from deadband_monitor.errors import MonitorError
from deadband_monitor.report.making import make_report
from deadband_monitor.report.parts import Report
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.replay import ReplaySource


def watch_live(training: Training) -> int:
    """The dashboard on a script; when the user leaves it, the script's output until its end.

    Returns:
        The script's exit status.
    """
    from deadband_monitor.tui.start import run_dashboard

    complain(f"starting {training.run}; what it prints goes to {training.output}")
    with training.taking_our_signals():
        if training.appears():
            with closing(LiveSource(training.run)) as source, _come_what_may():
                run_dashboard(source, child_output=training.output)
        status = training.exit_status
        if status is not None:
            _show_failure(training, status)
            return status
        again = f"look again with: deadband attach {training.run}"
        complain(f"training goes on (Ctrl-C stops it); {again}")
        return _wait_with_output(training)


def watch_plainly(training: Training, tell: Callable[[str], None]) -> int:
    """The run in plain lines, each given to `tell`; the script's exit status."""
    with training.taking_our_signals():
        if training.appears():
            with closing(LiveSource(training.run)) as source, _come_what_may():
                follow(source, tell)
        status = training.wait()
    _show_failure(training, status)
    return status


def final_report(training: Training) -> Report | None:
    """The report of a script that has ended; None where it was never watched."""
    entry = training.closed()
    if entry is None or entry.problem:
        return None
    # The recording is complete, and still there when the hub has gone.
    with closing(ReplaySource(entry.path)) as source:
        return make_report(source.state)


@contextmanager
def _come_what_may() -> Iterator[None]:
    """A run that cannot be watched any more is told, and goes on."""
    try:
        yield
    except MonitorError as error:
        complain(str(error))


def _show_failure(training: Training, status: int) -> None:
    """The end of what a failed script has printed, where nobody has seen it."""
    if status != 0:
        for line in training.last_lines():
            sys.stderr.write(line + "\n")


def _wait_with_output(training: Training) -> int:
    """Show what the script prints from here on; its exit status."""
    assert training.output is not None, "a script on our own terminal needs no showing"
    with training.output.open("rb") as file:
        file.seek(0, os.SEEK_END)
        while True:
            status = training.wait_for(0.2)
            sys.stdout.write(file.read().decode(errors="replace"))
            sys.stdout.flush()
            if status is not None:
                return status
