"""Where the hub of a run is, told by rank 0 through the store that torch.distributed has anyway.

Ranks that one launcher started on one machine agree on the hub unasked (see `ranks`). Others ask
the store, in the sender's thread: no collective, nothing that another rank would have to join.
Nothing listens on the network unless `DEADBAND_NODES` says so; the keys that let a machine in lie
in the store, for whoever is part of the job.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from deadband import ranks, wire

WAIT_S = 60.0
"""How long ranks of another node wait for rank 0 to say where its hub is: models load meanwhile."""
BESIDE_WAIT_S = 5.0
"""The same of ranks that may have a hub of their own."""
ASK_S = 0.2


class Nodes:
    """What this rank knows and says of where the hub is.

    Args:
        at: which rank this is.
        ordinal: the how manyth run of its process.
        run: what this rank would call the run by itself.
        environ: of the process.
    """

    def __init__(
        self, at: ranks.Place, ordinal: int, run: str, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._at = at
        self._key = f"deadband/hub/{ordinal}"
        self._run = run
        said = environ.get("DEADBAND_NODES", "").lower()
        self._joined = said not in ("", "0", "off", "no", "false")
        self._address = said if said not in ("1", "on", "yes", "true") else ""
        self._master = environ.get("MASTER_ADDR", "")
        self._told = at.rank > 0

    @property
    def is_apart(self) -> bool:
        """Whether rank 0 is, or may be, on another machine or of another launcher."""
        return self._at.rank > 0 and (self._at.node > 0 or not self._at.launched)

    @property
    def inline(self) -> bool:
        """Whether frames travel in messages: what they are sent to cannot map our memory."""
        return self._joined and self._at.node > 0

    @property
    def listen(self) -> str:
        """Where the hub that this rank starts lets other nodes in; empty: nowhere."""
        if not self._joined or self._at.rank > 0 or self._at.world_size <= self._at.local_size:
            return ""
        return self._address or own_address(self._master)

    def find(self, goes_on: Callable[[], bool]) -> wire.HubPlace | None:
        """Ask the store where rank 0's hub is; None where nobody says."""
        if self._at.node > 0 and not self._joined:
            if self._at.rank % self._at.local_size == 0:
                _say(
                    f"the ranks of this node are recorded here, as {self._run};"
                    " DEADBAND_NODES=1 on all nodes joins them to the hub of rank 0"
                )
            return None
        until = time.monotonic() + (WAIT_S if self._at.node > 0 else BESIDE_WAIT_S)
        while time.monotonic() < until and goes_on():
            try:
                store = _store()
                if store is not None and store.check([self._key]):
                    return msgspec.msgpack.decode(store.get(self._key), type=wire.HubPlace)
            except Exception:  # the process group was taken down, or another version wrote it
                return None
            time.sleep(ASK_S)
        if self._at.node > 0:
            _say(f"rank 0 does not say where its hub is; ranks here are recorded as {self._run}")
        return None

    def tell(self) -> None:
        """Rank 0: say where the hub is, once there is a store to say it in."""
        if self._told:
            return
        try:
            store = _store()
            if store is None:
                return
            self._told = True
            gate = wire.gate_path(self._run)
            place = wire.HubPlace(
                run=self._run,
                intake=wire.intake_address(self._run),
                host=socket.gethostname(),
                gate=msgspec.json.decode(gate.read_bytes(), type=wire.Gate)
                if self.listen and gate.exists()
                else None,
            )
            store.set(self._key, msgspec.msgpack.encode(place))
        except Exception:
            self._told = True  # whoever asks waits a little, and has a hub of its own

    def follow(self, place: wire.HubPlace) -> tuple[str, bool]:
        """Run id whose hub to start or join here, and whether it only forwards."""
        beside = wire.intake_address(place.run) == place.intake
        here = place.host == socket.gethostname() and beside
        if here and Path(place.intake.removeprefix("ipc://")).exists():
            return place.run, False
        if place.gate is None:
            _say(
                f"rank 0's hub is elsewhere and does not listen; ranks here are recorded as"
                f" {self._run}; DEADBAND_NODES=1 on all nodes joins them"
            )
            return self._run, False
        wire.ensure_private(wire.live_folder())
        path = wire.gate_path(self._run)
        part = path.with_suffix(f".{os.getpid()}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(place.gate))
        part.replace(path)
        return self._run, True


def own_address(master: str) -> str:
    """The address of this machine that the other nodes know it by."""
    for name in (master, socket.gethostname()):
        try:
            found = str(ipaddress.ip_address(socket.gethostbyname(name)))
            with socket.socket() as probe:
                probe.bind((found, 0))  # it is ours
        except (OSError, ValueError):
            continue
        return found
    return ""


def _store() -> Any:
    """The store of the default process group; None before there is one."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return distributed.distributed_c10d._get_default_store()


def _say(line: str) -> None:
    sys.stderr.write(f"deadband: {line}\n")
