"""A host that is this machine with another home: real hubs, real pipes, a real sshd."""

from __future__ import annotations

import getpass
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from processes import PATIENCE_S

from deadband_monitor.remote.far import Far
from deadband_monitor.remote.link import Link
from deadband_monitor.remote.stream import Patience
from deadband_monitor.source.live import LiveSource
from deadband_monitor.source.remote import RemoteHost

COMMAND = f"{shlex.quote(sys.executable)} -m deadband_monitor"


def far_over(home: Path, before: str = "env", command: str = COMMAND) -> Far:
    """The host whose home that is, behind a plain command."""
    return Far(name="box", via=f"{before} env DEADBAND_HOME={home}", remote_command=command)


QUICK = Patience(ping_s=0.2, dead_s=1.0, greeting_s=10.0, first_retry_s=0.05, last_retry_s=0.2)
"""Dead links are noticed within a second and tried anew at once."""


def connected(far: Far, patience: Patience = Patience()) -> RemoteHost:  # noqa: B008 - frozen
    link = Link(far, patience)
    link.open()
    return RemoteHost(link)


def live_source(host: RemoteHost, run: str) -> LiveSource:
    source = host.open(host.resolve(run))
    assert isinstance(source, LiveSource)
    return source


def script(folder: Path, name: str, text: str) -> str:
    """An executable of that text; its path."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


class SshServer:
    """An sshd of our own: own keys, own port, and no forwarding of any kind.

    Args:
        folder: for its keys and settings.
        environment: of what it starts.
        address: where it listens.
        within: the command that runs it, in a network of its own.
    """

    def __init__(
        self,
        folder: Path,
        environment: dict[str, str],
        address: str = "127.0.0.1",
        within: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        for key in ("host", "client"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True
            )
        (folder / "authorized").write_text((folder / "client.pub").read_text())
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        variables = " ".join(f'"{name}={value}"' for name, value in environment.items())
        (folder / "sshd_config").write_text(
            f"Port {self.port}\nListenAddress {address}\nHostKey {folder}/host\n"
            f"AuthorizedKeysFile {folder}/authorized\nStrictModes no\nUsePAM no\n"
            "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
            "PermitRootLogin yes\nDisableForwarding yes\n"
            f"PidFile none\nSetEnv {variables}\n"
        )
        (folder / "known").write_text(
            f"[{address}]:{self.port} {(folder / 'host.pub').read_text()}"
        )
        self.config = folder / "ssh_config"
        self.config.write_text(
            f"Host box\n  HostName {address}\n  Port {self.port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {folder}/client\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking yes\n"
            # What a user may have there for logging in must not be in the way.
            "  RemoteCommand cat\n  RequestTTY force\n  LocalForward 127.0.0.1:1 127.0.0.1:2\n"
            "  ExitOnForwardFailure yes\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # which a service manager would have made
        sshd = shutil.which("sshd") or "/usr/sbin/sshd"
        self.process = subprocess.Popen(
            [*within, sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.PIPE
        )
        assert self.process.stderr is not None
        deadline = time.monotonic() + PATIENCE_S
        for line in self.process.stderr:
            if b"listening on" in line:
                break
            assert time.monotonic() < deadline, line
        else:
            raise AssertionError("sshd does not start")

    @property
    def ssh(self) -> str:
        return f"ssh -F {self.config}"

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(PATIENCE_S)
        assert self.process.stderr is not None
        self.process.stderr.close()
