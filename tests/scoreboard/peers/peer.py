"""What an adapter is, and the listener that feeds one between backward and the optimiser's step."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import torch
from torch import nn

from scoreboard.peers.hearing import Compared, Ear
from scoreboard.scenario import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a tool warned of."""

    what: str
    """The tool's own word, as in its table of causes."""
    severity: Literal["warning", "failing"] = "warning"
    step: int | None = None
    """Where the tool says it; counted from 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is known between backward and the optimiser's step."""

    step: int
    loss: float
    eval_loss: float | None = None
    """Mean over the evaluation passes since the last moment."""
    compared: Compared | None = None


class Watcher(Protocol):
    """A tool at work on one model."""

    def before_update(self, moment: Moment) -> None:
        """The loop stands between backward and the optimiser's step."""

    def close(self) -> Sequence[Finding]:
        """The run is over: hooks are taken off, and what was found is told, worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A tool, and how its words are understood."""

    name: str
    watch: Callable[[nn.Module, Any], Watcher]
    module: str = ""
    """What must be installed; empty where nothing must."""
    causes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Its findings that name a cause, in our words, the one that it names first in front."""
    judges: bool = True
    """False: it shows, and leaves the judging to the reader."""
    without: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Lines of its own in the table, by what is left out of its findings for them: for readers who
    would not take those for alarms."""

    @property
    def installed(self) -> bool:
        """It can be imported."""
        return not self.module or importlib.util.find_spec(self.module) is not None

    def verdict(self, findings: Sequence[Finding]) -> Verdict:
        """What the findings come to."""
        if not findings:
            return Verdict(verdict="healthy")
        named = [cause for found in findings for cause in self.causes.get(found.what, ())]
        worst = any(found.severity == "failing" for found in findings)
        return Verdict(
            verdict="failing" if worst else "warning",
            causes=tuple(dict.fromkeys(named)),
            first_alarm=min((f.step for f in findings if f.step is not None), default=None),
        )


class Listening:
    """A tool as the listener of a run: one watcher for each model that is trained."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.findings: list[Finding] = []
        self._watchers: list[Watcher] = []
        self._ear = Ear(())
        self._hooks: list[Any] = []
        self._fed: set[int] = set()
        self._told = 0
        self._step = 1

    def on_start(self, model: nn.Module | Mapping[str, nn.Module], optimizer: Any) -> None:
        models = [model] if isinstance(model, nn.Module) else list(model.values())
        optimizers = optimizer if isinstance(optimizer, list) else [optimizer]
        self._ear = Ear(models)
        for index, (trained, own) in enumerate(pairs(models, optimizers)):
            self._watchers.append(self.peer.watch(trained, own))
            if hasattr(own, "register_step_pre_hook"):
                self._hooks.append(own.register_step_pre_hook(self._on_update(index)))
        self._ear.open()

    def on_step(self, step: int, loss: torch.Tensor) -> None:
        # Loops that take no step, or go back only inside of it, are heard of now; but a step that
        # a gradient scaler left out is none.
        if not self._ear.scales:
            for index in range(len(self._watchers)):
                if index not in self._fed:
                    self._feed(index, float(loss))
        self._ear.end_step(self._told)
        self._fed.clear()
        self._told = 0
        self._step = step + 1

    def verdict(self) -> Verdict:
        self.close()
        return self.peer.verdict(self.findings)

    def close(self) -> None:
        """Leave the run as it was."""
        self._ear.close()
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()
        watchers, self._watchers = self._watchers, []
        with contextlib.redirect_stdout(io.StringIO()):
            for watcher in watchers:
                self.findings += watcher.close()
        self.findings.sort(key=lambda found: found.severity != "failing")

    def _on_update(self, index: int) -> Callable[..., None]:
        def called(*_: Any) -> None:
            loss = self._ear.loss()
            if loss is not None:
                self._feed(index, loss)

        return called

    def _feed(self, index: int, loss: float) -> None:
        heard = self._ear.evaluations
        moment = Moment(
            step=self._step,
            loss=loss,
            eval_loss=sum(heard) / len(heard) if heard and index not in self._fed else None,
            compared=self._ear.compared,
        )
        self._fed.add(index)
        self._told = len(heard)
        with contextlib.redirect_stdout(io.StringIO()):  # some tools print what they find
            self._watchers[index].before_update(moment)


def pairs(models: Sequence[nn.Module], optimizers: Sequence[Any]) -> list[tuple[nn.Module, Any]]:
    """Each model that is trained, with the optimiser that holds its parameters.

    Where the optimiser holds parameters of none of them, the first model has the first optimiser:
    its author takes the one for the other's.
    """
    found: list[tuple[nn.Module, Any]] = []
    for model in models:
        own = {id(p) for p in model.parameters()}
        for optimizer in optimizers:
            if any(id(p) in own for g in optimizer.param_groups for p in g["params"]):
                found.append((model, optimizer))
                break
    return found or [(models[0], optimizers[0])]


def gradient_norm(model: nn.Module) -> float:
    """The norm over all gradients, as authors of loops log it."""
    total = sum(float(p.grad.norm()) ** 2 for p in model.parameters() if p.grad is not None)
    return float(total) ** 0.5
