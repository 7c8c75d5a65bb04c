"""A container as a runtime makes one: namespaces of its own, a root of its own, other users.

Its root is a tmpfs with this machine's system and our Python mounted in; its /tmp, /dev/shm, /proc,
home folder, network and process numbers are its own. What is in it is reached with `nsenter`, as
`docker exec` does. Where it cannot be made, `NoContainer` says why.
"""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from processes import PATIENCE_S

HOME = "/home/trainer"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc")
TRAINER = 1000
"""User in the container, where we may give it other users than our own."""
SHARED_MEMORY = "64m"
"""As docker has it."""

FURNISH = r"""
set -e
umask 022
root=$1; user=$2; memory=$3; shift 3
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$root"
for path in "$@"; do
    if [ -d "$path" ]; then
        mkdir -p "$root$path"
        mount --rbind "$path" "$root$path"
    fi
done
mkdir -p "$root"/proc "$root"/dev/shm "$root"/tmp "$root"/root "$root"/old "$root$HOME"
chmod 1777 "$root/tmp"
chown "$user" "$root$HOME"
for device in null zero random urandom; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o "mode=1777,size=$memory" tmpfs "$root/dev/shm"
mount -t proc proc "$root/proc"
ip link set lo up
cd "$root"
pivot_root . old
umount -l /old
"""


class NoContainer(Exception):  # noqa: N818 - a state of the machine
    """This machine makes no containers; the text says why."""


class Container:
    """One that runs until it is closed.

    Args:
        folder: an empty one, where its root is put together.

    Raises:
        NoContainer: a tool is missing, or the kernel does not permit it.
    """

    def __init__(self, folder: Path) -> None:
        for tool in ("unshare", "nsenter", "ip", "pivot_root"):
            if shutil.which(tool, path=_SEARCHED) is None:
                raise NoContainer(f"no {tool} here (apt install util-linux iproute2)")
        self._init = subprocess.Popen(
            ["unshare", "--user", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork",
             "--kill-child", "sh", "-c", "echo here; read forever"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._init.stdout is not None
        if not self._init.stdout.readline():
            _, said = self._init.communicate(timeout=PATIENCE_S)
            raise NoContainer(f"the kernel permits none: {said.strip()}")
        try:
            self.user = self._map_users()
            self.pid = int(Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children")
                           .read_text().split()[0])  # fmt: skip
            self._furnish(folder)
        except OSError as error:
            self.close()
            raise NoContainer(f"the kernel maps no users: {error}") from error
        except BaseException:
            self.close()
            raise

    def enter(self, *, user: int | None = None) -> list[str]:
        """The command that runs another in the container, as `docker exec -i` does.

        Args:
            user: as whom; that of the training by default.
        """
        home = HOME if user is None else "/root"
        packages = os.pathsep.join(_imported_from())
        environ = (f"HOME={home}", "PATH=/usr/bin:/bin", f"PYTHONPATH={packages}")
        return [*self._nsenter(str(self.user if user is None else user)), "env", "-i", *environ]

    @property
    def via(self) -> str:
        """The same as a user writes it behind `--via`."""
        return shlex.join(self.enter())

    def start(self, *command: str, user: int | None = None) -> subprocess.Popen[str]:
        """Run a command in it; its streams are pipes."""
        return subprocess.Popen(
            [*self.enter(user=user), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: str, user: int | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end."""
        process = self.start(*command, user=user)
        out, err = process.communicate(timeout=60)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def close(self) -> None:
        """End it: with its first process all of its processes go."""
        self._init.kill()
        self._init.communicate(timeout=PATIENCE_S)

    def _map_users(self) -> int:
        """Give it users; the one that trains."""
        into = Path(f"/proc/{self._init.pid}")
        us = os.geteuid()
        if us == 0:
            (into / "uid_map").write_text("0 0 65536")
            (into / "gid_map").write_text("0 0 65536")
            return TRAINER
        (into / "setgroups").write_text("deny")
        (into / "uid_map").write_text(f"0 {us} 1")
        (into / "gid_map").write_text(f"0 {os.getegid()} 1")
        return 0

    def _furnish(self, folder: Path) -> None:
        needed = [sys.base_prefix, sys.prefix, *_imported_from()]
        there = [Path(path).absolute() for path in needed if Path(path).is_dir()]
        ours = sorted({str(path) for path in [*there, *(path.resolve() for path in there)]})
        script = ["sh", "-c", FURNISH, "furnish", str(folder), str(self.user), SHARED_MEMORY]
        done = subprocess.run(
            [*self._nsenter("0"), *script, *SYSTEM, *_tops(ours)],
            env={"PATH": _SEARCHED, "HOME": HOME},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise NoContainer(f"its root cannot be made: {done.stderr.strip()}")

    def _nsenter(self, user: str) -> list[str]:
        spaces = ("--user", "--mount", "--pid", "--net", "--ipc", "--uts")
        # Without root there is one user to be, and the kernel lets nobody ask for it.
        who = ["--setuid", user, "--setgid", user] if self.user else ["--preserve-credentials"]
        return ["nsenter", "--target", str(self.pid), *spaces, *who]


_SEARCHED = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin"


def _imported_from() -> list[str]:
    """Folders that hold what we import; an editable install puts ours not into `sys.path`."""
    ours = [importlib.util.find_spec(name) for name in ("deadband", "deadband_monitor")]
    folders = [str(Path(spec.origin).parents[1]) for spec in ours if spec and spec.origin]
    return [*folders, *(part for part in sys.path if part)]


def _tops(paths: Sequence[str]) -> list[str]:
    """Of sorted folders those that lie in none of the others, nor in the system's."""
    tops: list[str] = []
    for path in paths:
        within = (*SYSTEM, *tops)
        if not any(path == top or path.startswith(f"{top}/") for top in within):
            tops.append(path)
    return tops
