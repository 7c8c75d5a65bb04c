"""The options that say where a run is, for every command that reads one."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager

from deadband_monitor.commands.base import complain
from deadband_monitor.errors import BadSettings, MonitorError
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.remote.far import Far
from deadband_monitor.settings import Settings, read_settings
from deadband_monitor.source.hosts import Hosts

TARGET_HELP = "name, id, start of an id, or a .dbr file; on another host: [user@]host:run"


def add_place_options(parser: ArgumentParser, *, host: bool = False) -> None:
    """`--via`, `--remote-command`, and where there is no target `--host`."""
    if host:
        parser.add_argument(
            "--host", metavar="[USER@]HOST", help="those of another host, over your own ssh"
        )
    parser.add_argument(
        "--via",
        metavar="COMMAND",
        help="through a command that gives stdin and stdout there: 'docker exec -i trainer'",
    )
    parser.add_argument(
        "--remote-command",
        metavar="COMMAND",
        default="",
        help="the deadband there, where it is not found by itself: /opt/venv/bin/deadband",
    )


@contextmanager
def hosts_of(arguments: Namespace) -> Iterator[Hosts]:
    """The hosts of the settings and of the command line; let go of at the end."""
    hosts = Hosts(settings_or_defaults(), arguments.remote_command)
    try:
        yield hosts
    finally:
        hosts.close()


def named_far(arguments: Namespace, hosts: Hosts) -> Far | None:
    """The host that `--host` or `--via` names.

    Raises:
        MonitorError: both do, or what is named is none.
    """
    host = getattr(arguments, "host", None)
    if arguments.via is not None:
        if host is not None:
            raise MonitorError("--host and --via each name a place; give one of them")
        return hosts.far_via(arguments.via)
    return None if host is None else hosts.far(host)


def resolve(arguments: Namespace, hosts: Hosts) -> RunEntry:
    """The run that the target means, on this machine or where it or `--via` says.

    Raises:
        UnknownRun, BadRecording, LinkLost: as `Hosts.resolve`.
    """
    far = named_far(arguments, hosts)
    if far is None:
        return hosts.resolve(arguments.target)
    return hosts.host(far).resolve(arguments.target)


def settings_or_defaults() -> Settings:
    """The user's settings; where their file is wrong, a line that says so and the defaults."""
    try:
        return read_settings()
    except BadSettings as error:
        complain(str(error))
        return Settings()
