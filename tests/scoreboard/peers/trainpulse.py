"""trainpulse 0.4: `Monitor().log` of loss, gradient norm and learning rate at each step.

Its alerts are warnings or critical; both are alarms. Its own `is_healthy` looks at critical ones
only, so a second line of the table does the same. Step times are not given to it: how busy the
machine is says nothing of the run. It names symptoms (spike, plateau, explosion, vanishing), but
for the one alert that is about the learning rate itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from torch import nn

from scoreboard.peers.peer import Finding, Moment, Peer, Watcher, gradient_norm

CAUSES = {
    # "LR changed 12.0x in one step (1e-2 -> 1.2e-1)"
    "learning_rate up": ("learning-rate-too-high",),
    "learning_rate down": ("learning-rate-too-low",),
}


class _Watcher:
    def __init__(self, model: nn.Module, optimizer: Any) -> None:
        self._model, self._optimizer = model, optimizer
        self._monitor = import_module("trainpulse").Monitor()
        self._rates: dict[int, float] = {}

    def before_update(self, moment: Moment) -> None:
        rate = float(self._optimizer.param_groups[0]["lr"])
        self._rates[moment.step] = rate
        self._monitor.log("loss", moment.step, moment.loss)
        self._monitor.log("grad_norm", moment.step, gradient_norm(self._model))
        self._monitor.log("learning_rate", moment.step, rate)

    def close(self) -> Sequence[Finding]:
        return [
            Finding(
                what=self._word(alert),
                severity="failing" if alert.severity.value == "critical" else "warning",
                step=alert.step,
            )
            for alert in self._monitor.report().alerts
            if alert.severity.value != "info"
        ]

    def _word(self, alert: Any) -> str:
        if alert.detector == "gradient":
            return "exploding" if alert.severity.value == "critical" else "vanishing"
        if alert.detector != "learning_rate":
            return str(alert.detector)
        before = self._rates.get(alert.step - 1, alert.metric_value)
        return f"learning_rate {'up' if alert.metric_value > before else 'down'}"


def _watch(model: nn.Module, optimizer: Any) -> Watcher:
    return _Watcher(model, optimizer)


WARNINGS = frozenset({"loss_spike", "plateau", "vanishing", *CAUSES})

PEER = Peer(
    name="trainpulse",
    module="trainpulse",
    watch=_watch,
    causes=CAUSES,
    without={"  critical alerts only": WARNINGS},
)
