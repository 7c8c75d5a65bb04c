"""gradsnitch 0.1: `watch(model, optimizer, check_every=50)`, `log` after backward, `report`.

Its findings are errors and warnings; both are alarms. Evaluation losses go in as `val_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from scoreboard.peers.peer import Finding, Moment, Peer, Watcher

# Beside each: what it writes as the likely cause, in its order.
CAUSES = {
    # "LR too high, fp16/bf16 overflow, or a bad batch"
    "GS001": ("learning-rate-too-high", "numerical-overflow", "bad-data"),
    # "Exploding gradients, overflow before the loss shows it"
    "GS002": ("depth-exploding", "numerical-overflow"),
    # "Unstable update (LR too high for this phase, or an outlier batch)"
    "GS003": ("learning-rate-too-high", "bad-data"),
    # "Model is memorizing past the generalization point"
    "GS004": ("overfitting",),
    # "LR too low, dead/poor init, frozen params, or a data/labeling issue"
    "GS005": (
        "learning-rate-too-low",
        "bad-initialisation-scale",
        "constant-initialisation",
        "detached-graph",
        "bad-data",
        "label-noise",
    ),
    # "LR too high / schedule wrong, or training going unstable"
    "GS006": ("learning-rate-too-high",),
    # "dead/saturated units, too-deep stack without residuals/norm, or LR far too low"
    "GS007": ("dying-relu", "saturating-activation", "depth-vanishing", "learning-rate-too-low"),
    # "Each step moves the weights too much: LR too high" or "too little: LR too low"
    "GS008 high": ("learning-rate-too-high",),
    "GS008 low": ("learning-rate-too-low",),
    # "bouncing across the minimum with growing swings, usually LR too high"
    "GS009": ("learning-rate-too-high",),
    # "Scheduler length mismatch: the remaining steps train at ~zero LR"
    "GS010": ("learning-rate-too-low",),
}


class _Watcher:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        self._monitor = import_module("gradsnitch").watch(model, optimizer, check_every=50)

    def before_update(self, moment: Moment) -> None:
        self._monitor.log(moment.step, moment.loss, val_loss=moment.eval_loss)

    def close(self) -> Sequence[Finding]:
        return [
            Finding(
                what=word(found.code, found.name),
                severity="failing" if found.severity == "error" else "warning",
            )
            for found in self._monitor.report()
        ]


def word(code: str, name: str) -> str:
    """Its code; that of the update ratio with its direction, which only the name tells."""
    if code != "GS008":
        return code
    return "GS008 high" if "too high" in name else "GS008 low"


def _watch(model: nn.Module, optimizer: Any) -> Watcher:
    return _Watcher(model, optimizer)


PEER = Peer(name="gradsnitch", module="gradsnitch", watch=_watch, causes=CAUSES)
