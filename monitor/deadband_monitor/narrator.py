"""A run as it happens, in plain lines: for pipes, CI, dumb terminals and screen readers.

Pure: says what is new in a `RunState` since the last look, one line each, and never takes a line
back. Looks may be far apart; whatever changed twice in between is told as it stands now.
"""

from __future__ import annotations

from pathlib import PurePath

import numpy as np

from deadband.wire import Cause, Flag, Hello, LayerTable
from deadband_monitor.metrics import MODEL_COLUMN
from deadband_monitor.report.words import place
from deadband_monitor.state.run_state import RunState

STATUS_EVERY_STEPS = 200
STATUS_EVERY_S = 30.0
"""Whichever comes first: so that neither a fast nor a slow run is silent or floods the page."""
STATUS_METRICS = (
    ("skill", "skill"),
    ("out_variance", "out variance"),
    ("grad_norm", "gradient"),
    ("update_ratio", "update"),
)


class Narrator:
    """Remembers what it has said of one run."""

    def __init__(self) -> None:
        self._introduced = False
        self._table = 0
        self._flags: dict[int, tuple[str, bool]] = {}
        self._cause = ""
        self._verdict = "healthy"
        self._status = self._error = ""
        self._notes = 0
        self._step = 0
        self._time = 0.0

    def lines(self, state: RunState) -> list[str]:
        """What is new."""
        said: list[str] = []
        if state.info and not self._introduced:
            self._introduced = True
            self._time = state.info.hello.started
            said.append(_greeting(state.info.hello))
        if state.table and state.table.id != self._table:
            self._table = state.table.id
            said.append(_line(state.step, _models(state.table)))
        for flag in sorted(state.flags.values(), key=lambda flag: (flag.raised_step, flag.id)):
            said += self._flag(flag)
        said += [_line(note.step, f"note      {note.text}") for note in state.notes[self._notes :]]
        self._notes = len(state.notes)
        said += self._opinion(state)
        said += self._progress(state)
        said += self._life(state)
        return said

    def _progress(self, state: RunState) -> list[str]:
        latest = state.latest
        if latest is None:
            return []
        # The first sample is told at once: it shows that all is connected.
        due = (
            self._step == 0
            or latest.step - self._step >= STATUS_EVERY_STEPS
            or latest.time - self._time >= STATUS_EVERY_S
        )
        if not due:
            return []
        self._step, self._time = latest.step, latest.time
        return [_line(latest.step, _reading(state))]

    def _flag(self, flag: Flag) -> list[str]:
        now = (flag.severity, flag.resolved_step is not None)
        before = self._flags.get(flag.id)
        if now == before:
            return []
        self._flags[flag.id] = now
        where = place(flag.model, flag.layer)
        if flag.resolved_step is not None:
            if before is None and flag.severity == "info":
                return []
            return [_line(flag.resolved_step, f"resolved  {flag.kind} in {where}")]
        said = f"{flag.severity.upper()}  {flag.kind} in {where}, since step {flag.onset_step}"
        return [_line(flag.raised_step, f"{said}: {flag.message}")]

    def _opinion(self, state: RunState) -> list[str]:
        said = []
        best = state.causes[0] if state.causes else None
        if best and best.cause != self._cause:
            said.append(_line(state.step, _because(best)))
        self._cause = best.cause if best else ""
        if state.verdict != self._verdict:
            said.append(_line(state.step, f"verdict   {self._verdict} -> {state.verdict}"))
            self._verdict = state.verdict
        return said

    def _life(self, state: RunState) -> list[str]:
        status = state.status
        if status is None or (status.status, status.error) == (self._status, self._error):
            return []
        first, self._status, self._error = not self._status, status.status, status.error
        if first and status.status == "running" and not status.error:
            return []
        why = f": {status.error}" if status.error else ""
        return [_line(state.step, f"{status.status}{why}")]


def _line(step: int, text: str) -> str:
    return f"step {step:>6}  {text}"


def _greeting(hello: Hello) -> str:
    script, *words = hello.argv or [hello.name]
    command = " ".join([PurePath(script).name, *words])
    return f"watching {hello.run}: {command}, process {hello.pid}"


def _models(table: LayerTable) -> str:
    models = ", ".join(
        f"{model.kind} of {sum(layer.model == model.name for layer in table.layers)} layers and"
        f" {model.parameters} parameters"
        for model in table.models
    )
    rates = ", ".join(f"{group.optimizer} at {group.lr:g}" for group in table.optimizers)
    return f"model     {models}" + (f"; {rates}" if rates else "")


def _reading(state: RunState) -> str:
    last = state.last_scalar
    words = [state.verdict.ljust(8)]
    words += [f"{name} {last[name]:.3g}" for name in ("loss", "lr") if name in last]
    latest = state.latest
    assert latest is not None, "called with a reading only"
    for metric, title in STATUS_METRICS:
        values = latest.models[:, MODEL_COLUMN[metric]]
        if len(values) and np.isfinite(values[0]):
            words.append(f"{title} {values[0]:.2g}")
    return "  ".join(words)


def _because(cause: Cause) -> str:
    sure = f"{cause.confidence * 100:.0f} % sure"
    why = f": {cause.evidence[0]}" if cause.evidence else ""
    return f"CAUSE     {cause.cause} ({sure}){why}. Try: {cause.advice}"
