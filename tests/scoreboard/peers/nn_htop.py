"""nn-htop 0.1: a screen with each layer's mean activation and gradient norm.

It shows and does not judge: there is nothing in it that could be an alarm. It runs along for what
it costs, without its screen.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from scoreboard.peers.peer import Finding, Moment, Peer, Watcher


class _Watcher:
    def __init__(self, model: nn.Module) -> None:
        self._monitor = import_module("nn_htop").Monitor(model)

    def before_update(self, moment: Moment) -> None:
        self._monitor.record_step(moment.step, moment.loss)

    def close(self) -> Sequence[Finding]:
        self._monitor.remove_hooks()
        return []


def _watch(model: nn.Module, _: Any) -> Watcher:
    return _Watcher(model)


PEER = Peer(name="nn-htop", module="nn_htop", watch=_watch, judges=False)
