"""`deadband attach`: the dashboard on a run that is live, here or on another host."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from contextlib import closing

from deadband_monitor import keys
from deadband_monitor.commands.base import Command, can_draw, say
from deadband_monitor.commands.following import follow
from deadband_monitor.commands.places import add_place_options, hosts_of, named_far
from deadband_monitor.commands.unprepared import leave_process, watch_process
from deadband_monitor.errors import LinkLost, MonitorError, UnknownRun
from deadband_monitor.hub import registry
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.remote.far import Far, is_remote, split_target
from deadband_monitor.source.base import Source
from deadband_monitor.source.hosts import Hosts
from deadband_monitor.source.open import open_source
from deadband_monitor.source.remote import RemoteHost

EXAMPLES = """\
examples:
  deadband attach                       the run that is live here
  deadband attach gpu-07                the one on that host, over your own ssh
  deadband attach me@gpu-07:train       of several the one of that name
  deadband attach --via 'docker exec -i trainer'
  deadband attach tcp://gpu-07:7777     a hub that was started with --listen
  deadband attach --pid 41207           a process here that was started without deadband
  deadband attach --via 'srun --overlap --jobid 4711' train
"""


def _prepare(parser: ArgumentParser) -> None:
    parser.epilog = EXAMPLES
    parser.formatter_class = RawDescriptionHelpFormatter
    parser.add_argument(
        "target",
        nargs="?",
        metavar="RUN | [USER@]HOST[:RUN] | tcp://HOST:PORT",
        help="a run here by name, id or the start of an id, or one on a host that ssh reaches,"
        " where deadband must be installed, without a port or a setting, or a hub that listens"
        " (default: the one that is live)",
    )
    parser.add_argument(
        "--pid",
        type=int,
        metavar="PID",
        help="a Python process of this machine that was started without deadband",
    )
    parser.add_argument(
        "--key",
        metavar="KEY",
        help="of the hub at tcp://HOST:PORT, as `deadband keys` shows it there; kept from then on",
    )
    parser.add_argument(
        "--detach",
        action="store_true",
        help="with --pid: stop watching that process",
    )
    add_place_options(parser)


def _run(arguments: Namespace) -> int:
    if arguments.detach:
        if arguments.pid is None:
            raise MonitorError("--detach needs --pid PID: the process that is to be left alone")
        leave_process(arguments.pid)
        return 0
    if arguments.pid is not None:
        if arguments.target is not None or arguments.via is not None:
            raise MonitorError("give a run or --pid, not both")
        arguments.target = watch_process(arguments.pid)
    if arguments.key is not None:
        keys.trust(arguments.target or "", arguments.key)
    if (arguments.target or "").startswith("tcp://"):
        return _watch(open_source(arguments.target))
    with hosts_of(arguments) as hosts:
        target = arguments.target or ""
        far = named_far(arguments, hosts)
        if far is None:
            entry, far, target = _here_or_far(target, hosts)
            if entry is not None:
                return _show(hosts, entry)
        assert far is not None
        # ssh may ask for a password: now, while the terminal is still plain.
        host = hosts.host(far, asking=True)
        if target:
            return _show(hosts, host.resolve(target))
        return _show_live(hosts, host)


def _here_or_far(target: str, hosts: Hosts) -> tuple[RunEntry | None, Far | None, str]:
    """The run here that a target means; else the host and the run there."""
    if target and (is_remote(target) or hosts.knows(target)):
        name, run = split_target(target)
        return None, hosts.far(name), run
    try:
        return registry.resolve(target or _only_live()), None, ""
    except UnknownRun as unknown:
        if not target or registry.matches(target):
            raise
        # No run: perhaps a host, which only ssh can tell.
        far = hosts.far(target)
        try:
            hosts.host(far, asking=True)
        except LinkLost as lost:
            raise UnknownRun(f"{unknown}; as a host: {lost}") from lost
        return None, far, ""


def _show(hosts: Hosts, entry: RunEntry) -> int:
    return _watch(hosts.open(entry))


def _watch(opened: Source) -> int:
    with closing(opened) as source:
        if can_draw():
            from deadband_monitor.tui.start import run_dashboard

            return run_dashboard(source)
        follow(source, say)
        return 0


def _show_live(hosts: Hosts, host: RemoteHost) -> int:
    """The live run of a host, or the list of its runs where several are live."""
    name = host.link.far.name
    runs = host.runs()
    live = [entry for entry in runs if entry.live]
    if len(live) == 1:
        return _show(hosts, live[0])
    via = f"--via '{host.link.far.via}'" if host.link.far.via else ""
    if not live:
        option = via or f"--host {name}"
        whose = f" of {host.link.user}" if host.link.user else ""
        raise UnknownRun(f"no run{whose} is live on {name} (finished ones: deadband runs {option})")
    if not can_draw():
        named = ", ".join(entry.run for entry in live)
        one = f"{via} {live[0].run}" if via else f"{name}:{live[0].run}"
        raise UnknownRun(
            f"several runs are live on {name}: {named}; name one: deadband attach {one}"
        )
    from deadband_monitor.tui.start import run_picker

    hosts.watch_host(host, runs)
    return run_picker(hosts.far_runs, hosts.open)


def _only_live() -> str:
    live = [entry.run for entry in registry.runs() if entry.live]
    if not live:
        raise UnknownRun(
            "no run is live on this machine; start one with: deadband run train.py"
            " (finished ones: deadband runs)"
        )
    if len(live) > 1:
        raise UnknownRun(f"several runs are live: {', '.join(live)}; name one of them")
    return live[0]


COMMAND = Command(
    name="attach",
    summary="the dashboard on a live run, however late, here or on another host",
    prepare=_prepare,
    run=_run,
)
