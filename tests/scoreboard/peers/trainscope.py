"""trainscope 1.8: `TrainScope(model, optimizer).attach()`, `step` after backward, `detach()`.

A spike that `step` returns is an alarm, and so is the warning that it logs of a loss that is not
finite. Its detector also calls a loss that falls fast a spike; a second line of the table leaves
those out. It tells how a spike went on through the layers, and names no cause.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

from torch import nn

from scoreboard.peers.peer import Finding, Moment, Peer, Watcher


class _Warnings(logging.Handler):
    """What it logs of a loss that is not finite."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[Finding] = []

    def emit(self, record: logging.LogRecord) -> None:
        if "Non-finite loss" in str(record.msg) and not self.found:
            self.found.append(Finding(what="non-finite loss"))


class _Watcher:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        self._found: list[Finding] = []
        self._folder = TemporaryDirectory()
        self._warnings = _Warnings()
        logging.getLogger("trainscope").addHandler(self._warnings)
        config = import_module("trainscope.core.config").TrainScopeConfig(run_dir=self._folder.name)
        made = import_module("trainscope").TrainScope(model, optimizer, config=config)
        self._scope = made.attach()

    def before_update(self, moment: Moment) -> None:
        spike = self._scope.step(moment.loss, batch_index=moment.step)
        if spike:
            way = "up" if spike["spike_score"] > 0 else "down"
            self._found.append(Finding(what=f"spike {way}", step=moment.step))

    def close(self) -> Sequence[Finding]:
        self._scope.detach()
        logging.getLogger("trainscope").removeHandler(self._warnings)
        self._folder.cleanup()
        return [*self._warnings.found, *self._found]


def _watch(model: nn.Module, optimizer: Any) -> Watcher:
    return _Watcher(model, optimizer)


PEER = Peer(
    name="trainscope",
    module="trainscope",
    watch=_watch,
    without={"  rising losses only": frozenset({"spike down"})},
)
