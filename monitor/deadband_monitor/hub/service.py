"""One hub process from claim to release: registry file, log, signals, exit status."""

from __future__ import annotations

import logging
import os
import resource
import signal
import time
from contextlib import suppress
from pathlib import Path

import msgspec
import zmq

from deadband import wire
from deadband.wire import Registration
from deadband_monitor.hub import registry
from deadband_monitor.hub.detach import Starter
from deadband_monitor.hub.forwarder import Forwarder
from deadband_monitor.hub.memory import keep_freed_memory
from deadband_monitor.hub.server import Hub

MOST_FILES = 16384
"""Files that a hub of thousands of ranks opens; many systems allow 1,024 until one asks."""

_log = logging.getLogger(__name__)


def serve(run: str, *, started_by: int, starter: Starter) -> int:
    """Claim the run, serve it to its end; 0 also where another hub serves it already."""
    log = wire.live_folder() / f"{run}.log"
    try:
        claim = registry.Claim(run)
    except BlockingIOError:
        starter.tell()
        return 0
    except OSError as error:
        starter.tell(
            f"cannot use {log.parent}: {error.strerror or error};"
            " DEADBAND_HOME chooses another folder"
        )
        return 1
    trouble = _log_to(log)
    _allow_files()
    keep_freed_memory()
    try:
        hub = Hub(run, started_by=started_by)
    except zmq.ZMQError as error:
        claim.release()
        starter.tell(f"cannot serve at {wire.intake_address(run)}: {error}")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: hub.stop_soon())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    claim.write(
        Registration(run=run, hub_pid=os.getpid(), training_pid=started_by, started=time.time())
    )
    starter.tell()
    _log.info("hub of %s is process %d", run, os.getpid())
    registry.sweep()
    try:
        hub.serve()
    except Exception:
        _log.exception("the hub ends for an error of its own")
        return 1
    finally:
        hub.close()
        claim.release()
        if not trouble.met:
            log.unlink(missing_ok=True)
    return 0


def forward(run: str, *, started_by: int, starter: Starter) -> int:
    """Stand for the hub of another node until no training process is left on this one."""
    try:
        claim = registry.Claim(run)
    except BlockingIOError:
        starter.tell()
        return 0
    except OSError as error:
        starter.tell(f"cannot use {wire.live_folder()}: {error.strerror or error}")
        return 1
    try:
        forwarder = Forwarder(run, started_by=started_by)
    except (zmq.ZMQError, OSError, msgspec.MsgspecError) as error:
        claim.release()
        starter.tell(f"cannot forward to the hub of rank 0: {error}")
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: forwarder.stop_soon())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    starter.tell()
    try:
        forwarder.serve()
    finally:
        forwarder.close()
        claim.release()
    return 0


def _allow_files() -> None:
    """Each client is a connection, and each of this machine a process to watch as well."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        allowed = MOST_FILES if most[1] == resource.RLIM_INFINITY else min(most[1], MOST_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most[0], allowed), most[1]))


class _Trouble(logging.Handler):
    """Remembers whether anything worth keeping the log for was logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.met = False

    def emit(self, record: logging.LogRecord) -> None:
        del record
        self.met = True


def _log_to(path: Path) -> _Trouble:
    trouble = _Trouble()
    try:
        file: logging.Handler = logging.FileHandler(path)
    except OSError:
        file = logging.NullHandler()
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, handlers=[file, trouble])
    return trouble
