"""A training script as our child: started, signalled, waited for, and what it left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from deadband import wire
from deadband_monitor.errors import MonitorError
from deadband_monitor.hub.registry import RunEntry, describe, live_hub
from deadband_monitor.state.run_state import ENDED

POLL_S = 0.05
CLOSING_S = 60.0
"""A hub closes its recording within a second of the end; a machine that swaps gets a minute."""
LAST_LINES = 20


class Training:
    """A script that runs under `deadband.launch` as a child of ours.

    Args:
        command: what follows the interpreter's name.
        run: run id that the script's watch will take.
        settings: environment variables beside ours.
        output: file that gets what the script prints; None leaves it on our terminal.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        run: str,
        settings: Mapping[str, str],
        output: Path | None = None,
    ) -> None:
        self.run = run
        self.output = output
        environment = {**os.environ, **settings, "DEADBAND_RUN": run}
        if output is None:
            self._process = subprocess.Popen([sys.executable, *command], env=environment)
            self._own_group = False
            return
        # Out of the way of the dashboard: no keyboard, no terminal, no Ctrl-C of the terminal.
        environment.setdefault("PYTHONUNBUFFERED", "1")
        with output.open("wb") as file, _deaf_to_nothing():
            self._process = subprocess.Popen(
                [sys.executable, *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._own_group = True

    @property
    def exit_status(self) -> int | None:
        """As a shell has it, 128 + n for signal n; None while it runs."""
        code = self._process.poll()
        return 128 - code if code is not None and code < 0 else code

    def wait(self) -> int:
        """The exit status, waited for."""
        self._process.wait()
        status = self.exit_status
        assert status is not None
        return status

    def wait_for(self, seconds: float) -> int | None:
        """The exit status, waited for so long; None while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.exit_status

    @contextmanager
    def taking_our_signals(self) -> Iterator[None]:
        """Pass on to the script what we are told, and go on waiting for its end.

        A terminal sends Ctrl-C to all that run in its foreground, so a script there has it already.
        One that prints into a file outlives the terminal: a lost connection ends us, not it.
        """
        shared = not self._own_group and sys.stdin.isatty()

        def pass_on(number: int, _frame: FrameType | None) -> None:
            if not (number == signal.SIGINT and shared):
                with suppress(ProcessLookupError):
                    self._process.send_signal(number)

        numbers = [signal.SIGINT, signal.SIGTERM]
        if not self._own_group:
            numbers.append(signal.SIGHUP)
        before = {number: signal.signal(number, pass_on) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def appears(self) -> bool:
        """Wait until a hub serves the run; False if the script ended without one."""
        while live_hub(self.run) is None:
            if self.wait_for(POLL_S) is not None:
                return live_hub(self.run) is not None
        return True

    def closed(self) -> RunEntry | None:
        """Wait until the recording is complete; None where the script was never watched."""
        path = wire.recording_path(self.run)
        deadline = time.monotonic() + CLOSING_S
        while True:
            registration = live_hub(self.run)
            if registration is None and not path.is_file():
                return None
            entry = describe(path, registration)
            if entry.status in ENDED or registration is None:
                return entry
            if time.monotonic() > deadline:
                raise MonitorError(
                    f"the hub of {self.run} (pid {registration.hub_pid}) does not close its"
                    f" recording; read it as it is with: deadband report {self.run}"
                )
            time.sleep(POLL_S)

    def last_lines(self, count: int = LAST_LINES) -> list[str]:
        """The end of what the script printed into its file."""
        if self.output is None:
            return []
        with self.output.open("rb") as file:
            file.seek(max(file.seek(0, os.SEEK_END) - 65536, 0))
            return file.read().decode(errors="replace").splitlines()[-count:]


@contextmanager
def _deaf_to_nothing() -> Iterator[None]:
    """What starts here minds Ctrl-C, which a shell has its background jobs and theirs ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def log_path(run: str) -> Path:
    """Where what the script of `run` prints is kept: beside the recording.

    Raises:
        MonitorError: the folder of runs cannot be written.
    """
    folder = wire.runs_folder()
    try:
        wire.ensure_private(folder)
    except OSError as error:
        raise MonitorError(
            f"cannot write to the folder of runs {folder} ({error.strerror or error}):"
            " choose another with DEADBAND_HOME"
        ) from error
    return folder / f"{run}.log"
