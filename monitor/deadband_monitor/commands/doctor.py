"""`deadband doctor`: which link is broken, and the mend."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from itertools import chain

from deadband_monitor.commands.base import Command, say
from deadband_monitor.commands.places import add_place_options, hosts_of, named_far
from deadband_monitor.doctor.finding import Finding, State, note
from deadband_monitor.doctor.machine import look_at_machine
from deadband_monitor.doctor.way import look_at_address, look_at_host, look_at_run
from deadband_monitor.hub import registry
from deadband_monitor.remote.far import is_remote, split_target
from deadband_monitor.source.hosts import Hosts

BROKEN_STATUS = 1


def _prepare(parser: ArgumentParser) -> None:
    parser.add_argument(
        "target",
        nargs="?",
        metavar="RUN | [USER@]HOST[:RUN] | tcp://HOST:PORT",
        help="the way to it, link by link (default: this machine)",
    )
    add_place_options(parser)


def _run(arguments: Namespace) -> int:
    status = 0
    with hosts_of(arguments) as hosts:
        for found in _looks(arguments, hosts):
            say(f"{found.state.value:<7} {found.link}: {found.said}")
            if found.mend:
                say(f"        -> {found.mend}")
            if found.state is State.BROKEN:
                status = BROKEN_STATUS
    return status


def _looks(arguments: Namespace, hosts: Hosts) -> Iterator[Finding]:
    target = arguments.target or ""
    far = named_far(arguments, hosts)
    if far is not None:
        return look_at_host(far, target, hosts)
    if not target:
        return look_at_machine()
    if target.startswith("tcp://"):
        return look_at_address(target)
    if registry.matches(target) and not is_remote(target):
        return look_at_run(registry.resolve(target), hosts)
    name, run = split_target(target)
    found = look_at_host(hosts.far(name), run, hosts)
    if is_remote(target) or hosts.knows(target):
        return found
    no_run = f"no run on this machine is called {target}, so it is looked for as a host"
    return chain([note("target", no_run)], found)


COMMAND = Command(
    name="doctor",
    summary="which link is broken, on this machine or on the way to a run, and the mend",
    prepare=_prepare,
    run=_run,
)
