"""ormas-monitor 0.2: `Monitor(model, optimizer)`, `step(loss)` after backward, `close()`.

Looks every 50 steps by default. Alarms are its events of severity warning, critical or `proof` (a
channel that provably cannot recover). Its gradient alarms ("collapsed", "exploded", "exactly zero")
and its loss spikes describe and name no cause; stuck channels are ReLUs that stay closed. Of
channels that are only silent it says itself that they are not proven dead; a second line of the
table leaves those out.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from scoreboard.peers.peer import Finding, Moment, Peer, Watcher

ALARMS = {"warning": "warning", "critical": "failing", "proof": "warning"}

CAUSES = {
    # "layer 3 (Linear): 40 of 64 channels stuck (40 certified dead)"
    "channels stuck": ("dying-relu",),
    # "layer 3 (Linear): 40 of 64 channels silent for several checks (not proven dead)"
    "channels silent": ("dying-relu",),
    # "the ReLU is closed for every input"
    "certificate": ("dying-relu",),
}


class _Watcher:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        self._found: list[Finding] = []
        self._folder = TemporaryDirectory()
        self._monitor = import_module("ormas_monitor").Monitor(
            model, optimizer, out=f"{self._folder.name}/run", sinks=[self._hear], verbose=False
        )

    def before_update(self, moment: Moment) -> None:
        self._monitor.step(moment.loss)

    def close(self) -> Sequence[Finding]:
        self._monitor.close()
        self._folder.cleanup()
        return self._found

    def _hear(self, kind: str, payload: dict[str, Any]) -> None:
        if kind != "event" or payload.get("severity") not in ALARMS:
            return
        self._found.append(
            Finding(
                what=word(payload),
                severity="failing" if payload["severity"] == "critical" else "warning",
                step=int(payload["step"]) + 1,
            )
        )


def word(payload: dict[str, Any]) -> str:
    """The event; a gradient's alarm with its diagnosis, channels with whether there is proof."""
    event = str(payload["event"])
    if event == "channels":
        proof = payload["n_certified"] + payload["n_flat"] + payload["n_decayed"]
        return "channels stuck" if proof else "channels silent"
    return f"{event} {payload['diagnosis']}" if event == "alarm" else event


def _watch(model: nn.Module, optimizer: Any) -> Watcher:
    return _Watcher(model, optimizer)


PEER = Peer(
    name="ormas-monitor",
    module="ormas_monitor",
    watch=_watch,
    causes=CAUSES,
    without={"  without merely silent channels": frozenset({"channels silent"})},
)
