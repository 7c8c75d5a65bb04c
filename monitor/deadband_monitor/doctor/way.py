"""The way to a target, link by link: a run here, a host behind ssh or a command, a TCP address."""

from __future__ import annotations

import shlex
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import closing

from deadband_monitor import keys, tcp
from deadband_monitor.doctor.finding import Finding, broken, chain, note, ok
from deadband_monitor.doctor.machine import hub_of
from deadband_monitor.errors import LinkLost
from deadband_monitor.hub.registry import RunEntry
from deadband_monitor.remote.far import Far
from deadband_monitor.source.base import Source
from deadband_monitor.source.hosts import Hosts
from deadband_monitor.source.open import await_first_word, open_source
from deadband_monitor.source.remote import RemoteHost
from deadband_monitor.state.run_state import ENDED

CONNECT_S = 5.0
OLD_S = 30.0
"""A client says a word every second; one that was silent for so long hangs, or was stopped."""


def look_at_run(entry: RunEntry, hosts: Hosts) -> Iterator[Finding]:
    """A run of this machine."""
    recording = ("recording", lambda: _recording(entry))
    if entry.status in ENDED:
        return chain((recording,))
    return chain(
        (("hub", lambda: hub_of(entry.run)), recording, ("training", lambda: _answer(hosts, entry)))
    )


def look_at_host(far: Far, target: str, hosts: Hosts) -> Iterator[Finding]:
    """Another host, and a run there where one is named."""
    reached: list[RemoteHost] = []
    checks = [
        ("command", lambda: _command(far)),
        ("connection", lambda: _connect(far, hosts, reached)),
        ("runs there", lambda: _runs(reached[0])),
    ]
    if target:
        checks.append(("run", lambda: _answer(hosts, reached[0].resolve(target))))
    return chain(checks)


def look_at_address(address: str) -> Iterator[Finding]:
    """A hub that listens."""
    return chain(
        (
            ("name", lambda: _name(address)),
            ("port", lambda: _port(address)),
            ("key", lambda: _key(address)),
            ("hub", lambda: _hub(address)),
        )
    )


def _recording(entry: RunEntry) -> Finding:
    if entry.problem:
        return broken("recording", entry.problem)
    return ok("recording", f"{entry.path}, {entry.samples} samples to step {entry.step}")


def _answer(hosts: Hosts, entry: RunEntry) -> Finding:
    """What the hub of a live run says, and how long ago training last spoke."""
    with closing(hosts.open(entry)) as source:
        try:
            return _training(source, await_first_word(source))
        except LinkLost as error:
            return broken("hub", str(error), "it hangs or was stopped; training goes on without it")


def _training(source: Source, took: float) -> Finding:
    status = source.state.status
    where = f"{source.name} answers after {1e3 * took:.0f} ms, at step {source.state.step:,}"
    if status is None:
        return note("training", f"{where}; no word of training yet")
    state = source.state
    latest, info = state.latest, state.info
    heard = [latest.time if latest else info.hello.started if info else status.time]
    if status.status == "running":
        heard.append(status.time)
    silent = time.time() - max(heard)
    if status.status in ("running", "silent") and silent > OLD_S:
        return broken(
            "training",
            f"{where}; training has been silent for {silent:.0f} s",
            "it hangs, was stopped, or runs a long step; the hub waits",
        )
    if status.status == "silent":
        return note("training", f"{where}; training has been silent for {silent:.0f} s")
    if status.error:
        return broken("training", f"{where}; {status.status}: {status.error}")
    return ok("training", f"{where}, {status.status}")


def _command(far: Far) -> Finding:
    words = shlex.split(far.via or far.ssh)
    if shutil.which(words[0]) is None:
        return broken(
            "command", f"{words[0]} is not on this machine", "install it, or name its whole path"
        )
    return ok("command", " ".join(words))


def _connect(far: Far, hosts: Hosts, reached: list[RemoteHost]) -> Finding:
    began = time.monotonic()
    try:
        reached.append(hosts.host(far, asking=True))
    except LinkLost as error:
        by_hand = f"{far.via} true" if far.via else f"{far.ssh} {far.name} true"
        told = any(word in str(error) for word in ("--remote-command", "upgrade"))
        return broken("connection", str(error), "" if told else f"the same by hand: {by_hand}")
    took = time.monotonic() - began
    return ok("connection", f"{far.name} and the deadband there answer after {took:.1f} s")


def _runs(host: RemoteHost) -> Finding:
    began = time.monotonic()
    runs = host.runs()
    took = time.monotonic() - began
    live = [entry.run for entry in runs if entry.live]
    whose = f" of {host.link.user}" if host.link.user else ""
    named = ", ".join(live) or "none"
    return ok("runs there", f"{len(runs)}{whose}, live: {named}; listed in {1e3 * took:.0f} ms")


def _name(address: str) -> Finding:
    host, port = tcp.parsed(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return broken("name", f"{host}: {error.strerror}", "check its spelling, or /etc/hosts")
    return ok("name", f"{host} is {', '.join(sorted({str(each[4][0]) for each in found}))}")


def _port(address: str) -> Finding:
    host, port = tcp.parsed(address)
    began = time.monotonic()
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
    except OSError as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or str(error)
        return broken(
            "port",
            f"{port} on {host}: {why}",
            "the run has ended, or was started without --listen, or a firewall is in between",
        )
    return ok("port", f"{port} is open, {1e3 * (time.monotonic() - began):.0f} ms away")


def _key(address: str) -> Finding:
    if keys.trusted(address):
        return ok("key", "known")
    if tcp.is_loopback(address):
        return ok("key", "none is needed on this machine")
    if keys.shared():
        return ok("key", "that of this home")
    return broken(
        "key",
        "not known here",
        f"run `deadband keys` there, then here: deadband attach {address} --key KEY",
    )


def _hub(address: str) -> Finding:
    began = time.monotonic()
    try:
        with closing(open_source(address)) as source:
            return _training(source, time.monotonic() - began)
    except LinkLost as error:
        return broken("hub", str(error))
