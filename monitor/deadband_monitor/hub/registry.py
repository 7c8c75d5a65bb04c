"""The runs of this host: which are live, which have left a recording, and which one a name means.

A live run has a registry file that its hub keeps locked. The kernel drops the lock with the hub,
however it ended, so a stale file is told from a live one without guessing at process numbers.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from deadband import wire
from deadband.wire import Registration
from deadband_monitor.errors import BadRecording, UnknownRun
from deadband_monitor.record.format import SUFFIX
from deadband_monitor.record.reader import Recording
from deadband_monitor.state.run_state import ENDED

ARENA_FOLDER = Path("/dev/shm")
ARENA_AGE_S = 300.0
"""A younger one may belong to a run of another home, or of a container that shares our memory but
not our process numbers, whose hub has yet to map it."""
LOG_DAYS = 7
"""Logs of hubs that met trouble are kept this long."""
SHOWN_MATCHES = 5
CLAIM_TRIES = 5
CLAIM_PAUSE_S = 0.02

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Some network file systems cannot lock (Lustre, unless mounted so): there the process number of
the hub has to do."""

_ARENA_NAME = re.compile(r"deadband-(?P<pid>\d+)-(?P<run>.+)-\d+")
"""How clients name their shared memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """One run as the picker and `deadband runs` show it."""

    run: str
    name: str
    path: Path
    live: bool
    """A hub serves it now."""
    status: str
    """As in `Status`, or `lost`: the hub died with it, or `unreadable`."""
    verdict: str
    started: float
    last_time: float
    """Of the newest word in the recording; 0 where there is none."""
    step: int
    samples: int
    problem: str = ""
    """Why the recording cannot be read."""
    host: str = ""
    """Where it runs; empty for this machine."""

    @property
    def key(self) -> str:
        """Tells it from all others, whatever their hosts."""
        return f"{self.host}:{self.run}" if self.host else self.run


class Claim:
    """A hub's hold on its run: the locked registry file. One hub a run.

    Raises:
        BlockingIOError: at construction, another hub holds the run.
        OSError: the folder of live runs cannot be written.
    """

    def __init__(self, run: str) -> None:
        self._path = wire.registry_path(run)
        wire.ensure_private(self._path.parent)
        while True:
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _lock(self._file)
            except OSError:
                os.close(self._file)
                raise
            # Another process may have removed the file as stale between our opening and locking it.
            if _same_file(self._file, self._path):
                return
            os.close(self._file)

    def write(self, registration: Registration) -> None:
        """Say who holds the run."""
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, msgspec.json.encode(registration), 0)

    def release(self) -> None:
        """Let the run go: the registry file disappears."""
        with suppress(OSError):
            self._path.unlink()
        os.close(self._file)


def live_hub(run: str) -> Registration | None:
    """Who serves this run now; None where no hub does."""
    try:
        file = os.open(wire.registry_path(run), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return _held(file)
    finally:
        os.close(file)


def live_runs() -> list[Registration]:
    """Runs with a hub, newest first."""
    found = [live_hub(path.stem) for path in _glob(wire.live_folder(), "*.json")]
    present = [registration for registration in found if registration is not None]
    return sorted(present, key=lambda registration: -registration.started)


def runs() -> list[RunEntry]:
    """Every run of this host, live ones first, then the newest first."""
    live = {registration.run: registration for registration in live_runs()}
    entries = {
        path.stem: describe(path, live.get(path.stem))
        for path in _glob(wire.runs_folder(), f"*{SUFFIX}")
    }
    for run, registration in live.items():
        if run not in entries:
            entries[run] = _unrecorded(registration)
    return sorted(entries.values(), key=lambda entry: (not entry.live, -entry.started))


def describe(path: Path, registration: Registration | None = None) -> RunEntry:
    """What a recording says of itself, in one line; one that cannot be read says why."""
    run = path.stem
    try:
        with Recording(path) as recording:
            hello, status, span = recording.hello, recording.last_status, recording.span()
            said = status.status if status else "running"
            return RunEntry(
                run=run,  # of the file: a copy, or one that was set aside, is told from the first
                name=hello.name,
                path=path,
                live=registration is not None,
                status=said if registration or said in ENDED else "lost",
                verdict=recording.verdict,
                started=hello.started,
                last_time=span.last_time,
                step=span.last_step,
                samples=span.samples,
            )
    except BadRecording as error:
        if registration is not None:
            return _unrecorded(registration)
        try:
            changed = path.stat().st_mtime
        except OSError:
            changed = 0.0
        return RunEntry(
            run=run,
            name=run,
            path=path,
            live=False,
            status="unreadable",
            verdict="",
            started=changed,
            last_time=0.0,
            step=0,
            samples=0,
            problem=str(error),
        )


def resolve(target: str) -> RunEntry:
    """The run that a word from the command line means: file, id, start of an id, or name.

    Raises:
        UnknownRun: none or several match; the message says which runs there are.
        BadRecording: it is a file, and not a readable recording.
    """
    path = Path(target).expanduser()
    if target.endswith(SUFFIX) or os.sep in target or path.is_file():
        return _resolve_file(path)
    registration = live_hub(target)
    own = wire.recording_path(target)
    if registration is not None or own.is_file():
        entry = describe(own, registration)
        if entry.problem:
            raise BadRecording(entry.problem)
        return entry
    return _one_of(target, _matching(target, runs()))


def matches(target: str) -> bool:
    """Whether a word means any run here, be it several."""
    return bool(_matching(target, runs()))


def sweep() -> None:
    """Remove what dead hubs have left: registry files, sockets, arenas, old logs."""
    folder = wire.live_folder()
    for path in _glob(folder, "*.json"):
        _sweep_registry(path)
    alive = {registration.run for registration in live_runs()}
    for path in [*_glob(folder, "*.in"), *_glob(folder, "*.view")]:
        # A hub binds its sockets after it has claimed the run, so no claim means nobody's socket.
        if path.stem not in alive and not wire.registry_path(path.stem).exists():
            with suppress(OSError):
                path.unlink()
    if Path("/proc/self").exists():
        for shared in (ARENA_FOLDER, folder):
            _sweep_arenas(shared, alive)
    oldest = time.time() - LOG_DAYS * 86400
    for path in _glob(folder, "*.log"):
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()


def _sweep_arenas(folder: Path, alive: set[str]) -> None:
    """Remove shared memory of which both ends are gone. Other users' files we cannot remove."""
    newest = time.time() - ARENA_AGE_S
    for path in _glob(folder, "deadband-*"):
        named = _ARENA_NAME.fullmatch(path.name)
        if named and named["run"] not in alive and not Path(f"/proc/{named['pid']}").exists():
            with suppress(OSError):
                if path.stat().st_mtime < newest:
                    path.unlink()


def _resolve_file(path: Path) -> RunEntry:
    if path.is_dir():
        raise BadRecording(f"{path} is a folder: name one of the {SUFFIX} files in it")
    same = path.parent.resolve() == wire.runs_folder().resolve()
    entry = describe(path, live_hub(path.stem) if same else None)
    if entry.problem:
        raise BadRecording(entry.problem)
    return entry


def _matching(target: str, entries: list[RunEntry]) -> list[RunEntry]:
    """Runs of that name before runs whose id only begins so; live ones before finished ones."""
    named = [entry for entry in entries if entry.name == target]
    if len(named) > 1:
        return [entry for entry in named if entry.live] or named
    return named or [entry for entry in entries if entry.run.startswith(target)]


def _one_of(target: str, matches: list[RunEntry]) -> RunEntry:
    if len(matches) == 1:
        entry = matches[0]
        if entry.problem:
            raise BadRecording(entry.problem)
        return entry
    if matches:
        raise UnknownRun(f"several runs match {target!r}: {_listed(matches)}; give more of the id")
    there = runs()
    if not there:
        raise UnknownRun(
            f"no run matches {target!r}: there are no runs in {wire.home()};"
            " start one with: deadband run train.py"
        )
    raise UnknownRun(f"no run matches {target!r}; there are: {_listed(there)}")


def _listed(entries: list[RunEntry]) -> str:
    shown = ", ".join(entry.run for entry in entries[:SHOWN_MATCHES])
    more = len(entries) - SHOWN_MATCHES
    return f"{shown} and {more} more (deadband runs)" if more > 0 else shown


def _unrecorded(registration: Registration) -> RunEntry:
    """A live run whose recording is not there (yet)."""
    return RunEntry(
        run=registration.run,
        name=registration.run.rpartition("-")[0] or registration.run,
        path=wire.recording_path(registration.run),
        live=True,
        status="running",
        verdict="healthy",
        started=registration.started,
        last_time=0.0,
        step=0,
        samples=0,
    )


def _glob(folder: Path, pattern: str) -> list[Path]:
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _lock(file: int) -> None:
    """Lock for ourselves. One that only looks holds the lock for microseconds: we ask again."""
    for again in range(CLAIM_TRIES, -1, -1):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not again:
                raise
            time.sleep(CLAIM_PAUSE_S)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return
        else:
            return


def _held(file: int) -> Registration | None:
    """What the hub that holds this registry file says of itself; None where none holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(file)
    except OSError as error:
        registration = _read(file) if error.errno in NO_LOCKS else None
        return registration if registration and _lives(registration.hub_pid) else None
    fcntl.flock(file, fcntl.LOCK_UN)
    return None


def _read(file: int) -> Registration | None:
    try:
        return msgspec.json.decode(os.pread(file, 65536, 0), type=Registration)
    except (OSError, msgspec.MsgspecError):
        return None  # a hub that is just starting has locked the file and not written it


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _same_file(file: int, path: Path) -> bool:
    with suppress(OSError):
        return os.path.samestat(os.fstat(file), path.stat())
    return False


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _sweep_registry(path: Path) -> None:
    """Remove a registry file that no hub holds, its lock in our hand so that none takes it up."""
    with suppress(OSError), _opened(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _same_file(file, path):
            path.unlink()
