"""The host of a run: how to start `deadband pipe` there, and what its failures mean in words."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from deadband_monitor.errors import MonitorError

MISSING = "deadband-not-found"
"""What our script says where it has looked in vain."""

# In single quotes through any login shell, csh and fish among them: so one line, and no single
# quote, `!` or doubled backslash in it. Looked at in turn: the PATH, pip's --user folder, the
# Python of a live hub, the PATH of a login shell (conda, pyenv), the system's Python.
FIND = (
    'PATH="$PATH:$HOME/.local/bin:/usr/local/bin"; '
    "command -v deadband >/dev/null 2>&1 && exec deadband pipe; "
    'try() { [ -n "$1" ] && "$1" -c "import deadband_monitor.remote.serve" >/dev/null 2>&1'
    " </dev/null"
    ' && exec "$1" -m deadband_monitor pipe; }; '
    'for f in "${DEADBAND_HOME:-${XDG_STATE_HOME:-$HOME/.local/state}/deadband}"/live/*.json'
    " /tmp/deadband-$(id -u)-*/*.json; do "
    '[ -r "$f" ] || continue; n=$(sed -n "s/.*\\"hub_pid\\":\\([0-9]*\\).*/\\1/p" "$f"); '
    '[ -r "/proc/$n/cmdline" ] && try "$(tr "\\000" "\\n" <"/proc/$n/cmdline" | head -n 1)"; '
    "done; "
    'd=$("${SHELL:-sh}" -lc "command -v deadband" 2>/dev/null </dev/null | tail -n 1); '
    '[ -x "$d" ] && exec "$d" pipe; '
    "try python3; try python; "
    f"echo {MISSING} >&2; exit 127"
)

_NOT_FOUND = re.compile(rf"{MISSING}|not found in \$PATH|No module named '?deadband")
WOULD_ASK = "needs a password"
"""How a refusal begins that only the user at a terminal can mend."""

_TOO_OLD = re.compile(r"there is no command 'pipe'")
_SSH_PREFIX = re.compile(
    r"^(ssh: (connect to host \S+ port \d+: |Could not resolve hostname [^:]*: )?"
    r"|kex_exchange_identification: (read: )?)"
)
_SSH_WORDS = (
    (re.compile(r"^Connection (to \S+ )?closed by .*"), "closed by the host"),
    (re.compile(r"^Connection reset by .*"), "reset by the host"),
    (re.compile(r"^Connection (to .* )?timed out.*"), "timed out"),
)
"""What it says of a connection that ends, without the address: the line on screen is short."""
_FIRST_WORD = re.compile(r"^[A-Z][a-z]*(?=[ ,]|$)")
"""Of a sentence, which goes on one of ours; the name of an exception is left as it is."""
_NOISE = re.compile(r"^(Warning: Permanently added|\*\* |Pseudo-terminal will not)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """One way to start the far side."""

    argv: list[str]
    script: bytes = b""
    """For the standard input, before anything else is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Far:
    """A host as the user named it."""

    name: str
    """What it is called on screen and in targets: `me@gpu-07`, `trainer`."""
    via: str = ""
    """The command that gives stdin and stdout there; empty: ssh."""
    ssh: str = "ssh"
    """The user's ssh, with options if need be."""
    remote_command: str = ""
    """The deadband there; empty: looked for."""

    @property
    def where(self) -> str:
        """For the state line."""
        return f"{self.name} via {Path(shlex.split(self.via)[0]).name if self.via else 'ssh'}"

    @property
    def _machine(self) -> str:
        """What ssh calls it: the name without the user."""
        return self.name.removeprefix("ssh://").rpartition("@")[2]

    def starts(self, *, asking: bool, again: int = 0) -> list[Start]:
        """Ways to start the far side; the next one where the first finds no deadband.

        Args:
            asking: whether ssh may ask for a password on the terminal.
            again: how often the connection has been tried anew.
        """
        if self.via:
            words = shlex.split(self.via)
            if self.remote_command:
                return [Start(argv=[*words, *shlex.split(self.remote_command), "pipe"])]
            return [
                Start(argv=[*words, "deadband", "pipe"]),
                # Plain words go through any number of shells unharmed; the script goes by stdin.
                Start(argv=[*words, "sh"], script=FIND.encode() + b"\n"),
            ]
        # Only our stream: no port that another session of the user's may hold, no other command.
        options = ["-T", "-x", "-a", "-o", "ClearAllForwardings=yes", "-o", "RemoteCommand=none",
                   "-o", "ControlMaster=no"]  # fmt: skip
        # A host that answers nothing is given up; who types a password is not in that time.
        options += ["-o", f"ConnectTimeout={60 if asking else 10}"]
        if not asking:
            options += ["-o", "BatchMode=yes"]
        if again % 2:
            options += ["-o", "ControlPath=none"]  # a shared connection may be what has died
        command = f"{self.remote_command} pipe" if self.remote_command else f"sh -c '{FIND}'"
        return [Start(argv=[*shlex.split(self.ssh), *options, "--", self.name, command])]

    def lacks_deadband(self, status: int | None, said: str) -> bool:
        """Whether the far side ended because there is no deadband."""
        return status in (126, 127) or (status != 0 and bool(_NOT_FOUND.search(said)))

    def explain(self, status: int | None, said: str, *, asking: bool) -> str:
        """Why there is no connection, in one line without the name of the host.

        Args:
            status: exit status of the command; None where it had to be ended.
            said: the end of what it wrote to its standard error.
            asking: whether it could ask the user.
        """
        if _TOO_OLD.search(said):
            return "the deadband there is older than remote runs: upgrade it there"
        if self.lacks_deadband(status, said):
            if self.remote_command:
                return f"there is no {self.remote_command} there (--remote-command)"
            return (
                "found no deadband there: pip install deadband there, or name it with"
                " --remote-command /path/to/deadband"
            )
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        lines = [line for line in lines if not _NOISE.match(line)]
        if not self.via and status == 255 and not asking:
            if any("Permission denied" in line for line in lines):
                return f"{WOULD_ASK}: deadband attach {self.name}"
            if any("Host key verification failed" in line for line in lines):
                return f"ssh does not know the key of that host: deadband attach {self.name}"
        if lines:
            last = _SSH_PREFIX.sub("", lines[-1]).removeprefix("deadband: ").rstrip(".")
            for words, ours in _SSH_WORDS if not self.via else ():
                last = words.sub(ours, last)
            last = last.removeprefix(f"{self.name}: ").removeprefix(f"{self._machine}: ")
            return _FIRST_WORD.sub(lambda word: word[0].lower(), last)
        if status is None:
            return "no answer"
        return f"the connection was closed (status {status})"


def ssh_far(name: str, *, ssh: str, remote_command: str) -> Far:
    """A host behind ssh.

    Raises:
        MonitorError: its name would be taken for an option.
    """
    if not name or name.startswith("-"):
        raise MonitorError(f"{name!r} is no name of a host")
    if name == "tcp" or name.startswith("tcp://"):
        raise MonitorError(
            "a tcp:// address shows one run while it is live: attach, report, ask and doctor take"
            " it; recordings are reached over ssh (HOST:RUN) or --via"
        )
    return Far(name=name, ssh=ssh or "ssh", remote_command=remote_command)


def via_far(command: str, *, remote_command: str, name: str = "") -> Far:
    """A host behind any command that gives stdin and stdout.

    Raises:
        MonitorError: it is no command.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise MonitorError(f"--via {command!r}: {error}") from error
    if not words:
        raise MonitorError("--via needs a command, for example 'docker exec -i trainer'")
    # The last word that is neither an option nor a variable is most often the place: trainer.
    places = [word for word in words if not word.startswith("-") and "=" not in word]
    named = Path(places[-1]).name if places else words[0]
    return Far(name=name or named, via=command, remote_command=remote_command)


def split_target(target: str) -> tuple[str, str]:
    """`[user@]host[:run]` as host and run; the run is empty where none is named.

    As with scp a colon before any slash ends the host; `[::1]:run` and `ssh://me@host:2222/run`
    are understood as well.
    """
    if target.startswith("ssh://"):
        host, _, run = target.removeprefix("ssh://").partition("/")
        return f"ssh://{host}", run
    bracketed = re.fullmatch(r"((?:[^@\[\]]+@)?)\[([^\]]+)\](?::(.*))?", target)
    if bracketed:
        return bracketed[1] + bracketed[2], bracketed[3] or ""
    host, _, run = target.partition(":")
    return host, run


def is_remote(target: str) -> bool:
    """Whether a target names a host for certain; a bare word may be a run here or a host."""
    if target.startswith("ssh://"):
        return True
    head = target.partition("/")[0]
    return ":" in head or "@" in head
