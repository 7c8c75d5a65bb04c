"""`deadband ask`: have something done by a run: dense samples for a while, a note written down."""

from __future__ import annotations

import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from contextlib import closing

from deadband.wire import AskDense, AskNote, Done
from deadband_monitor.commands.base import Command, say
from deadband_monitor.commands.places import TARGET_HELP, add_place_options, hosts_of, resolve
from deadband_monitor.errors import MonitorError
from deadband_monitor.source.base import Source
from deadband_monitor.source.hosts import Hosts
from deadband_monitor.source.on_demand import Answering
from deadband_monitor.source.open import open_source

PATIENCE_S = 10.0
LOOK_S = 0.2


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument("target", metavar="RUN", help=TARGET_HELP)
    add_place_options(parser)
    parser.add_argument(
        "--dense",
        type=_steps,
        metavar="STEPS",
        help="sample each of the next so many steps, whatever the budget says; 0: no more of it",
    )
    parser.add_argument("--note", metavar="TEXT", help="write this down in the recording")
    parser.add_argument(
        "--step", type=_steps, default=0, help="what step the note is about (default: the newest)"
    )


def _run(arguments: Namespace) -> int:
    demands: list[AskDense | AskNote] = []
    if arguments.dense is not None:
        demands.append(AskDense(steps=arguments.dense))
    if arguments.note is not None:
        demands.append(AskNote(text=arguments.note, step=arguments.step))
    if not demands:
        raise MonitorError("ask for something: --dense STEPS or --note TEXT")
    with hosts_of(arguments) as hosts, closing(_open(arguments, hosts)) as source:
        for demand in demands:
            done = ask(source, demand)
            if done.refused:
                raise MonitorError(done.said)
            say(done.said)
    return 0


def _open(arguments: Namespace, hosts: Hosts) -> Source:
    if arguments.target.startswith("tcp://"):
        return open_source(arguments.target)
    return hosts.open(resolve(arguments, hosts))


def ask(source: Source, demand: AskDense | AskNote) -> Done:
    """Ask, and wait for the answer.

    Raises:
        MonitorError: there is none.
    """
    if not isinstance(source, Answering):
        raise MonitorError(f"{source.name} cannot be asked for anything")
    source.demand(demand)
    deadline = time.monotonic() + PATIENCE_S
    while not source.said:
        if time.monotonic() > deadline or source.link == "ended":
            raise MonitorError(f"the hub of {source.name} does not answer")
        source.refresh(LOOK_S)
    return source.said.popleft()


def _steps(text: str) -> int:
    try:
        steps = int(text.replace(",", "").replace("_", ""))
    except ValueError:
        steps = -1
    if steps < 0:
        raise ArgumentTypeError(f"{text!r} is no number of steps")
    return steps


COMMAND = Command(
    name="ask",
    summary="of a live run: --dense STEPS, each one sampled; --note TEXT, written down",
    prepare=_prepare,
    run=_run,
)
