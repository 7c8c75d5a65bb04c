"""`deadband run`: watch a script that never heard of deadband."""

from __future__ import annotations

import math
import os
import sys
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from deadband import wire
from deadband_monitor import listening
from deadband_monitor.commands.base import Command, can_draw, complain
from deadband_monitor.commands.training import Training, log_path
from deadband_monitor.commands.watching import final_report, watch_live, watch_plainly
from deadband_monitor.errors import MonitorError
from deadband_monitor.report.parts import Report
from deadband_monitor.report.words import format_for, format_report, headline

FAILED_FLAGS = 3
"""Exit status with --fail-on where such a flag stands at the end."""
GRAVER = {"warning": {"warning", "critical"}, "critical": {"critical"}}
VALUED = ("--listen", "--report", "--every", "--budget", "--credit-s", "--fail-on", "--name")


def _prepare(parser: ArgumentParser) -> None:
    parser.usage = "deadband run [OPTIONS] (SCRIPT | -m MODULE) [ARGS...]"
    parser.add_argument(
        "--live",
        action="store_true",
        help="with the dashboard in front; what the script prints goes to a file",
    )
    parser.add_argument(
        "--report",
        metavar="FILE",
        type=Path,
        help="write the report here at the end: JSON, or by its suffix .md or .txt",
    )
    parser.add_argument(
        "--fail-on",
        choices=sorted(GRAVER),
        help=f"exit {FAILED_FLAGS} where at the end a flag of this severity (or above) stands",
    )
    parser.add_argument(
        "--every", type=_steps, metavar="N", help="measure every N steps exactly (default: budget)"
    )
    parser.add_argument(
        "--budget", type=_share, metavar="F", help="share of time that measuring may cost (0.01)"
    )
    parser.add_argument(
        "--credit-s",
        type=_seconds,
        metavar="F",
        help="seconds of measuring at every step before the budget rules (1)",
    )
    parser.add_argument(
        "--listen",
        type=_address,
        metavar="tcp://HOST:PORT",
        help="let viewers in over TCP; beyond this machine only those with a key (deadband keys)",
    )
    parser.add_argument("--name", help="name of the run (default: that of the script)")
    parser.add_argument(
        "command", nargs="+", metavar="SCRIPT", help="the script, or -m MODULE, and its arguments"
    )


def split(arguments: Sequence[str]) -> list[str]:
    """Our options, `--`, and the script's words untouched, whatever they look like."""
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word == "-m" or not word.startswith("-") or word in ("-h", "--help"):
            break
        if word == "--":
            return list(arguments)
        at += 2 if word in VALUED else 1
    if at < len(arguments) and arguments[at] in ("-h", "--help"):
        return ["--help"]
    return [*arguments[:at], "--", *arguments[at:]]


def _run(arguments: Namespace) -> int:
    command = ["-m", "deadband.launch", "--", *arguments.command]
    run = wire.new_run_id(arguments.name or _stem(arguments.command))
    settings = _settings(arguments)
    if not (arguments.live or arguments.report or arguments.fail_on):
        environment = {**os.environ, **settings, "DEADBAND_RUN": run}
        os.execve(sys.executable, [sys.executable, *command], environment)
    if arguments.report:
        _check_writable(arguments.report)
    if arguments.live and can_draw():
        training = Training(command, run=run, settings=settings, output=log_path(run))
        status = watch_live(training)
    else:
        training = Training(command, run=run, settings=settings)
        if arguments.live:
            complain("no terminal to draw on: the run is told in plain lines instead")
            status = watch_plainly(training, complain)
        else:
            with training.taking_our_signals():
                status = training.wait()
    report = final_report(training)
    if report is not None:
        where = _write(report, arguments.report) or f"deadband report {run}"
        complain(f"{headline(report)}; the report: {where}")
        return _judged(report, status, arguments.fail_on)
    # Why nothing was recorded, the script's process has said itself.
    if status == 0 and arguments.fail_on:
        raise MonitorError("nothing was recorded, so --fail-on has nothing to judge by")
    if status == 0 and arguments.report:
        complain(f"nothing was recorded, so {arguments.report} was not written")
    return status


def _judged(report: Report, status: int, fail_on: str | None) -> int:
    """The script's exit status, unless it is 0 and a flag stands that the user will not have."""
    if status != 0 or fail_on is None:
        return status
    standing = {flag.severity for flag in report.flags if flag.resolved_step is None}
    return FAILED_FLAGS if standing & GRAVER[fail_on] else status


def _write(report: Report, file: Path | None) -> Path | None:
    if file is not None:
        try:
            file.write_text(format_report(report, format_for(file.name)), encoding="utf-8")
        except OSError as error:
            raise MonitorError(f"cannot write the report to {file}: {error.strerror}") from error
    return file


def _settings(arguments: Namespace) -> dict[str, str]:
    given = {
        "DEADBAND_EVERY": arguments.every,
        "DEADBAND_BUDGET": arguments.budget,
        "DEADBAND_CREDIT_S": arguments.credit_s,
        "DEADBAND_NAME": arguments.name,
        "DEADBAND_LISTEN": arguments.listen,
    }
    return {name: str(value) for name, value in given.items() if value is not None}


def _stem(command: Sequence[str]) -> str:
    if command[0] == "-m":
        return command[1].rpartition(".")[2] if len(command) > 1 else "run"
    return Path(command[0]).stem


def _check_writable(file: Path) -> None:
    """Say so before an hour of training, not after."""
    if file.is_dir():
        raise MonitorError(f"cannot write the report to {file}: it is a folder; name a file in it")
    there = file.exists()
    try:
        with file.open("ab"):
            pass
        if not there:
            file.unlink()
    except OSError as error:
        raise MonitorError(f"cannot write the report to {file}: {error.strerror}") from error


def _steps(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"needs a whole number of steps from 1 on, not {text!r}")
    return int(text)


def _share(text: str) -> float:
    value = _number(text)
    if not 0 < value <= 1:
        raise ArgumentTypeError(f"needs a share between 0 and 1, as 0.01, not {text!r}")
    return value


def _seconds(text: str) -> float:
    value = _number(text)
    if not 0 <= value < math.inf:
        raise ArgumentTypeError(f"needs a number of seconds, not {text!r}")
    return value


def _address(text: str) -> str:
    try:
        listening.check(text)
    except MonitorError as error:
        raise ArgumentTypeError(str(error)) from error
    return text


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


COMMAND = Command(
    name="run",
    summary="watch a script with no change to it: deadband run train.py",
    prepare=_prepare,
    run=_run,
    split=split,
)
