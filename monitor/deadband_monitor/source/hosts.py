"""This machine and others: which run a target means, wherever it is, and the list of all of them.

A host is connected to when it is first asked for and stays so until `close`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from deadband_monitor.errors import LinkLost, MonitorError, UnknownRun
from deadband_monitor.hub import registry
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.record.base import RecordingReader
from deadband_monitor.remote.far import Far, is_remote, split_target, ssh_far, via_far
from deadband_monitor.remote.link import Link
from deadband_monitor.settings import Settings
from deadband_monitor.source.base import Source
from deadband_monitor.source.open import open_entry
from deadband_monitor.source.reel import OwnRecording
from deadband_monitor.source.remote import RemoteHost

NO_REPLY = "no reply"
"""`RunEntry.status` of the line that stands for a host that does not answer."""
CONNECTING = "connecting"
"""The same, while it has yet to answer for the first time."""
POLL_S = 4.0
"""Between two looks at the runs of a host."""


class Hosts:
    """All hosts that the user has named, in the settings or on the command line."""

    def __init__(self, settings: Settings = Settings(), remote_command: str = "") -> None:  # noqa: B008 - frozen
        self._settings = settings
        self._remote_command = remote_command
        self._hosts: dict[str, RemoteHost] = {}
        self._watches: list[HostWatch] = []

    def far(self, name: str) -> Far:
        """How to get to the host of that name.

        Raises:
            MonitorError: it cannot be the name of one.
        """
        said = self._remote_command or self._settings.remote_commands.get(name, "")
        via = self._settings.via.get(name)
        if via is not None:
            return via_far(via, remote_command=said, name=name)
        ssh = os.environ.get("DEADBAND_SSH") or self._settings.ssh
        return ssh_far(name, ssh=ssh, remote_command=said)

    def far_via(self, command: str) -> Far:
        """A host behind a command of the command line.

        Raises:
            MonitorError: it is no command.
        """
        return via_far(command, remote_command=self._remote_command)

    def knows(self, name: str) -> bool:
        """Whether the settings name that host."""
        return name in self._settings.hosts or name in self._settings.via

    def host(self, far: Far, *, asking: bool = True) -> RemoteHost:
        """That host, connected.

        Args:
            far: how to get there.
            asking: ssh may ask for a password on the terminal.

        Raises:
            LinkLost: it cannot be reached; the text says why.
        """
        if far.name not in self._hosts:
            link = Link(far)
            link.open(asking=asking)
            self._hosts[far.name] = RemoteHost(link)
        return self._hosts[far.name]

    def resolve(self, target: str) -> RunEntry:
        """The run that a target means: `host:run`, or what `registry.resolve` takes.

        Raises:
            UnknownRun, BadRecording: as `registry.resolve`.
            LinkLost: the host cannot be reached.
        """
        if not is_remote(target) or Path(target).exists():
            return registry.resolve(target)
        name, run = split_target(target)
        if not run:
            raise UnknownRun(f"{target} names a host and no run; those there: --host {name}")
        return self.host(self.far(name)).resolve(run)

    def open(self, entry: RunEntry) -> Source:
        """The source of a run.

        Raises:
            BadRecording, LinkLost: it cannot be read, or not now.
        """
        if entry.host:
            return self._of(entry).open(entry)
        return open_entry(entry)

    def recording(self, entry: RunEntry) -> RecordingReader:
        """The recording of a run, live or not.

        Raises:
            BadRecording: it cannot be read.
        """
        if entry.host:
            return self._of(entry).recording(entry)
        return OwnRecording(entry.path)

    def watch(self, fars: Iterable[Far] = ()) -> None:
        """Look at the runs of these hosts, and of those of the settings, in the background."""
        configured = [*self._settings.hosts, *self._settings.via]
        for far in [*fars, *(self.far(name) for name in configured)]:
            if far.name not in self._hosts:
                link = Link(far)
                self._hosts[far.name] = RemoteHost(link)
                link.start()
            self.watch_host(self._hosts[far.name])

    def watch_host(self, host: RemoteHost, known: Sequence[RunEntry] = ()) -> None:
        """Look at the runs of a host in the background; `known` are those it has now."""
        self._watches.append(HostWatch(host, known))

    def far_runs(self) -> list[RunEntry]:
        """What is known of the runs of the hosts that are watched, live ones first."""
        entries = [entry for watch in self._watches for entry in watch.entries()]
        return sorted(entries, key=lambda entry: not entry.live)

    def runs(self) -> list[RunEntry]:
        """The runs of this machine and of the hosts that are watched, live ones first."""
        entries = [*registry.runs(), *self.far_runs()]
        return sorted(entries, key=lambda entry: (not entry.live, -entry.started))

    def close(self) -> None:
        """Let go of all hosts."""
        for watch in self._watches:
            watch.stop()
        for host in self._hosts.values():
            host.link.begin_close()
        for host in self._hosts.values():
            host.close()

    def _of(self, entry: RunEntry) -> RemoteHost:
        host = self._hosts.get(entry.host)
        if host is None:
            raise LinkLost(f"{entry.host} is not connected")
        return host


class HostWatch:
    """The runs of one host, asked for again and again by a thread."""

    def __init__(self, host: RemoteHost, known: Sequence[RunEntry] = ()) -> None:
        self._host = host
        self._known = list(known)
        self._problem = ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def entries(self) -> list[RunEntry]:
        """The runs as last heard; where the host does not answer, a line that says why."""
        trouble = self._host.link.trouble or self._problem
        return (
            [*self._known, _no_reply(self._host.link.far.name, trouble)] if trouble else self._known
        )

    def stop(self) -> None:
        """Look no more; the host is the caller's to close."""
        self._stop.set()

    def _look(self) -> None:
        while not self._stop.is_set():
            if self._host.link.wait(POLL_S):
                try:
                    self._known, self._problem = self._host.runs(), ""
                except LinkLost:
                    pass  # the link itself says why
                except MonitorError as error:
                    self._problem = str(error)
                self._stop.wait(POLL_S)


def _no_reply(host: str, trouble: str) -> RunEntry:
    return RunEntry(
        run="",
        name=host,
        path=Path(),
        live=False,
        status=CONNECTING if trouble == CONNECTING else NO_REPLY,
        verdict="",
        started=0.0,
        last_time=0.0,
        step=0,
        samples=0,
        problem=trouble,
        host=host,
    )
