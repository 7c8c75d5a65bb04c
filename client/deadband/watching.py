"""`Watch`: ties capture, cadence, recorder and sender together. All of a step's bookkeeping is here.

What runs at every step is an append and a comparison; everything else happens on sampled steps, and
none of it may raise into training but what the user asked for (`stop_on`, own callbacks).
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from deadband import ranks, wire
from deadband.cadence import Cadence
from deadband.cells import make_cell
from deadband.errors import Collapsed
from deadband.ledger import Ledger
from deadband.recorder import Entry, ModelEntry, Recorder
from deadband.regions import LAYER, Layout
from deadband.sender import Link, NoLink, Sender
from deadband.settings import SEVERITIES, Settings, from_environment
from deadband.wire import Layer, Model, What

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from deadband.capture import ModelCapture
    from deadband.losses import BackwardListener
    from deadband.optimisers import Optimisers

_UNSET_DURATIONS = 9
"""Unsampled steps after each sample whose time is taken: enough for the median."""


class Counting(Enum):
    """What makes a step."""

    UNKNOWN = "unknown"
    """Not seen yet whether the loop calls `step`."""
    BY_HAND = "by hand"
    """Each call of `step`."""
    BY_OPTIMISER = "by optimiser"
    """Each step of an optimiser."""


class Watch:
    """One watched run. Made by `deadband.watch`."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Iterable[Optimizer],
        *,
        name: str,
        run: str,
        settings: Settings,
        counting: Counting = Counting.UNKNOWN,
    ) -> None:
        self.run = run
        self.name = name
        self._settings = settings
        self._live = settings.enabled
        self._pid = os.getpid()
        self._step = 0
        self._last = perf_counter()
        self._began = self._last
        self._armed = False
        self._arm_cost_s = 0.0
        self._short = 0
        self._pending = False
        self._stepped: set[int] = set()
        self._skippable = False
        self._loss_heard: Tensor | None = None
        self._counting = counting
        self._inbox: deque[wire.ToClient] = deque()
        self._opinion = wire.Opinion(verdict="healthy", flags=[], causes=[])
        self._callbacks: list[Callable[[wire.Flag], object]] = []
        self._fresh: list[wire.Flag] = []
        self._raised: set[int] = set()
        self._faults = 0
        self._fault = ""
        self._extra: dict[str, Entry] = {}
        self._ledger = Ledger()
        self._link: Link = NoLink()
        self._capture: ModelCapture | None = None
        self._optimisers: Optimisers | None = None
        self._listener: BackwardListener | None = None
        self._cadence = Cadence(
            every=settings.every, budget=settings.budget, credit_s=settings.credit_s
        )
        self._recorder = Recorder(run, self._announce)
        if not self._live:
            return
        if settings.hub:
            self._link = Sender(run, self._beat, self._inbox.append)
        self._link.post(self._hello())
        if models:
            self._open_capture(models, list(optimizers))
        else:
            self._counting = Counting.BY_HAND
            self._recorder.models.append(ModelEntry(name="model", describe=_bare_model))
        _OPEN.add(self)
        self._arm()

    # --- What the user calls ---------------------------------------------------------------------

    def step(self, loss: Any = None, **scalars: Any) -> None:
        """One step of training is done.

        Args:
            loss: the step's loss, tensor or number. A tensor is kept as it is and read at the next
                sample: nothing waits for a device.
            scalars: whatever else should be drawn over steps.

        Raises:
            Collapsed: a flag of the severity that `stop_on` names stands.
        """
        if not self._live:
            return
        if self._counting is not Counting.BY_HAND:
            self._count_by_hand(loss)
        if loss is None:
            loss, self._loss_heard = self._loss_heard, None
        elif self._armed:
            self._learn_loss(loss)
        try:
            loss = loss.detach()  # type: ignore[union-attr]
        except AttributeError:
            pass
        self._ledger.losses.append(loss)
        if scalars:
            self._ledger.note(self._step + 1, scalars)
        self._end_step()

    def observe(self, name: str, value: Any, activation: str = "") -> None:
        """Show a tensor or an array that the hooks cannot see, as a layer of its own.

        Args:
            name: name of the layer.
            value: (samples, ..., units); copied on sampled steps only.
            activation: name of the nonlinearity that made it: `sigmoid`.
        """
        if not self._armed:
            return
        start = perf_counter()
        try:
            self._observe(name, value, activation)
        except Exception as error:
            self._failed(error)
        self._arm_cost_s += perf_counter() - start

    @property
    def flags(self) -> tuple[wire.Flag, ...]:
        """Every flag so far; those that stand have no `resolved_step`."""
        self._hear()
        return tuple(self._opinion.flags)

    @property
    def causes(self) -> tuple[wire.Cause, ...]:
        """What the rules hold to be the cause, best first."""
        self._hear()
        return tuple(self._opinion.causes)

    @property
    def verdict(self) -> str:
        """`healthy`, `warning` or `failing`."""
        self._hear()
        return self._opinion.verdict

    def on_flag(self, callback: Callable[[wire.Flag], object]) -> Callable[[wire.Flag], object]:
        """Call `callback(flag)` for every new flag, in the training thread at the next step."""
        self._callbacks.append(callback)
        return callback

    def close(self, *, status: str = "finished", error: str = "") -> None:
        """End the watch; the model is left exactly as it was."""
        if not self._live:
            return
        if self._pending:
            self._end_by_optimiser()
        self._live = False
        self._detach()
        handed_over = self._link.close(
            wire.Bye(
                status=status,
                step=self._step,
                samples=self._recorder.samples,
                dropped=self._recorder.dropped,
                overhead=self._overhead(),
                error=error,
            )
        )
        self._recorder.close(unlink=not handed_over and self._settings.hub)
        _OPEN.discard(self)

    def __enter__(self) -> Watch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        else:
            self.close(status="failed", error=one_line(error))

    # --- The end of a step -----------------------------------------------------------------------

    def _end_step(self, *, may_raise: bool = True) -> None:
        self._step += 1
        now = perf_counter()
        if self._armed:
            self._sample(now)
        elif self._short < _UNSET_DURATIONS:
            self._short += 1
            self._cadence.passed(now - self._last)
            self._last = perf_counter()
        else:
            self._last = now
        if self._inbox:
            self._hear()
        if self._step + 1 >= self._cadence.next_step:
            self._arm()
        if self._fresh and may_raise:
            self._react()

    def _arm(self) -> None:
        """The step that begins now is sampled, if there is room for its frame."""
        start = perf_counter()
        try:
            if not self._recorder.has_room:
                self._recorder.dropped += 1
                self._cadence.skipped(self._step + 1)
                return
            self._recorder.begin()
            self._armed = True
            if self._capture is not None:
                self._capture.arm()
        except Exception as error:
            self._failed(error)
        self._arm_cost_s = perf_counter() - start

    def _sample(self, now: float) -> None:
        """Write the frame of the step that ends now."""
        self._armed = False
        capture, cost_s = self._capture, self._arm_cost_s
        in_step_s = cost_s
        try:
            skipped = False
            if capture is not None:
                capture.disarm()
                if not self._stepped:
                    skipped = self._no_optimiser_stepped(capture)
                cost_s += capture.spent_s
                in_step_s = cost_s
            self._stepped.clear()
            if self._optimisers is not None:
                self._ledger.note(self._step, self._optimisers.learning_rates())
            self._recorder.write(
                self._step,
                time.time(),
                self._ledger,
                skipped=skipped,
                cost_s=cost_s + perf_counter() - now,
            )
        except Exception as error:
            self._failed(error)
        end = perf_counter()
        self._cadence.sampled(
            self._step,
            end - self._last - (in_step_s - self._arm_cost_s),
            cost_s + end - now,
            keeps_up=self._recorder.keeps_up,
        )
        self._last = end
        self._short = 0

    def _no_optimiser_stepped(self, capture: ModelCapture) -> bool:
        """Weights of a step without an optimiser's; whether a GradScaler left it out."""
        known = self._optimisers is not None and self._skippable
        capture.before_update(None, gradients=not known)
        capture.after_update(None, gradients=False)
        return known

    # --- Optimisers ------------------------------------------------------------------------------

    def _before_optimiser(self, optimizer: Optimizer, closure: bool) -> None:
        if not self._live or not self._armed or self._capture is None:
            if self._pending:
                self._end_by_optimiser()
            return
        if self._pending and id(optimizer) in self._stepped:
            self._counting = Counting.BY_OPTIMISER
            self._end_by_optimiser()
        if self._armed:
            self._capture.before_update(optimizer, gradients=not closure)

    def _after_optimiser(self, optimizer: Optimizer, closure: bool) -> None:
        if not self._live:
            return
        if self._armed and self._capture is not None:
            self._stepped.add(id(optimizer))
            self._skippable = True
            self._capture.after_update(optimizer, gradients=closure)
        if self._counting is Counting.BY_OPTIMISER:
            self._end_by_optimiser()
        elif self._counting is Counting.UNKNOWN:
            self._pending = True

    def _forward_begins(self) -> None:
        """A training forward after an optimiser's step: the loop does not call `step`."""
        if self._pending and self._optimisers is not None and len(self._optimisers.known) == 1:
            self._counting = Counting.BY_OPTIMISER
            # We are inside the user's forward, behind a guard that swallows: errors come later.
            self._end_by_optimiser(may_raise=False)

    def _end_by_optimiser(self, *, may_raise: bool = True) -> None:
        self._pending = False
        loss, self._loss_heard = self._loss_heard, None
        self._ledger.losses.append(loss)
        self._end_step(may_raise=may_raise)

    def _count_by_hand(self, loss: Any) -> None:
        """The loop calls `step`: a call is a step, whatever optimisers do."""
        self._counting = Counting.BY_HAND
        self._pending = False
        if loss is not None and self._listener is not None:
            self._listener.close()

    def _heard_loss(self, loss: Tensor) -> None:
        """A scalar is back-propagated; several in one step add up, as their gradients do."""
        try:
            if self._armed:
                self._learn_loss(loss)
            value = loss.detach()
            self._loss_heard = value if self._loss_heard is None else self._loss_heard + value
        except Exception as error:
            self._failed(error)

    def _learn_loss(self, loss: Any) -> None:
        if self._capture is not None and any(not root.loss for root in self._capture.roots):
            from deadband.losses import loss_kind

            if kind := loss_kind(loss):
                self._capture.heard_loss(kind)

    # --- What the rules say ----------------------------------------------------------------------

    def _hear(self) -> None:
        """Take in what the hub has said since."""
        while self._inbox:
            message = self._inbox.popleft()
            if isinstance(message, wire.Opinion):
                known = {flag.id for flag in self._opinion.flags}
                self._opinion = message
                fresh = [flag for flag in message.flags if flag.id not in known]
                self._fresh += fresh
                if fresh:
                    self._cadence.renew(None, perf_counter(), self._step)
            elif isinstance(message, wire.CaptureWish):
                self._cadence.renew(message.credit_s, perf_counter(), self._step)

    def _react(self) -> None:
        """Tell the user's callbacks, and stop where that was asked for."""
        fresh, self._fresh = self._fresh, []
        for flag in fresh:
            for callback in self._callbacks:
                callback(flag)
        limit = self._settings.stop_on
        if limit is None:
            return
        least = SEVERITIES.index(limit)
        standing = [
            flag
            for flag in self._opinion.flags
            if flag.resolved_step is None
            and SEVERITIES.index(flag.severity) >= least
            and flag.id not in self._raised
        ]
        if standing:
            standing.sort(key=lambda flag: (-SEVERITIES.index(flag.severity), flag.onset_step))
            self._raised.update(flag.id for flag in standing)
            raise Collapsed(standing)

    # --- Inside ----------------------------------------------------------------------------------

    def _open_capture(self, models: Mapping[str, nn.Module], optimizers: list[Optimizer]) -> None:
        from deadband.capture import ModelCapture
        from deadband.losses import BackwardListener
        from deadband.optimisers import Optimisers

        self._capture = ModelCapture(
            models,
            self._recorder,
            holds=lambda parameter: self._optimisers is None or self._optimisers.holds(parameter),
            forward_begins=self._forward_begins,
        )
        self._optimisers = Optimisers(
            optimizers,
            ours=self._capture.parameter_ids,
            before=self._before_optimiser,
            after=self._after_optimiser,
        )
        self._recorder.optimizers = self._optimisers.groups
        self._skippable = self._optimisers.given
        self._listener = BackwardListener(self._heard_loss)
        self._listener.open()

    def _observe(self, name: str, value: Any, activation: str) -> None:
        is_tensor = hasattr(value, "detach")
        if not is_tensor:
            value = np.asarray(value)
        entry = self._extra.get(name)
        if entry is None:
            entry = self._extra[name] = Entry(
                name=name,
                model=self._recorder.models[0].name,
                describe=lambda: _observed_layer(entry, activation),
            )
            self._recorder.add(entry)
            self._recorder.executed(entry)
        cell = entry.cells.get(What.ACTIVATION)
        if cell is None:
            cell = make_cell(What.ACTIVATION, value, Layout.UNITS_LAST, LAYER, array=not is_tensor)
            if cell is None:
                return
            entry.cells[What.ACTIVATION] = cell
        if cell.filled:
            return
        if not is_tensor:
            cell.take_array(value)
            return
        cell.take(value)
        if self._capture is not None:
            self._capture.follow_gradient(entry, value)

    def _detach(self) -> None:
        """Leave the models, the optimisers and autograd as they were."""
        self._armed = False
        try:
            if self._capture is not None:
                self._capture.disarm()
            if self._optimisers is not None:
                self._optimisers.close()
            if self._listener is not None:
                self._listener.close()
        except Exception as error:
            self._failed(error)

    def _abandon(self) -> None:
        """This process is a fork of the watched one: it is not ours to watch."""
        self._live = False
        self._link.abandon()
        self._link = NoLink()
        self._detach()

    def _announce(self, plan: wire.Plan) -> None:
        self._link.post(plan)

    def _failed(self, error: Exception) -> None:
        self._faults += 1
        self._fault = one_line(error)

    def _overhead(self) -> float:
        return self._cadence.spent_s / max(perf_counter() - self._began, 1e-9)

    def _beat(self) -> wire.Beat:
        capture = self._capture
        return wire.Beat(
            time=time.time(),
            step=self._step,
            samples=self._recorder.samples,
            dropped=self._recorder.dropped,
            interval=self._cadence.interval,
            overhead=self._overhead(),
            faults=self._faults + (capture.faults if capture is not None else 0),
            fault=self._fault or (capture.fault if capture is not None else ""),
        )

    def _hello(self) -> wire.Hello:
        torch = sys.modules.get("torch")
        place = ranks.place()
        return wire.Hello(
            version=wire.VERSION,
            run=self.run,
            name=self.name,
            pid=self._pid,
            started=time.time(),
            argv=list(sys.argv),
            cwd=_folder(),
            host=socket.gethostname(),
            python=sys.version.split()[0],
            torch=str(getattr(torch, "__version__", "")),
            rank=place.rank,
            world_size=place.world_size,
            every=self._settings.every,
            budget=self._settings.budget,
        )


def watch(
    model: nn.Module | Mapping[str, nn.Module] | None = None,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    *,
    name: str | None = None,
    every: int | None = None,
    budget: float | None = 0.01,
    credit_s: float = 1.0,
    stop_on: str | None = None,
) -> Watch:
    """Watch a training run.

    Args:
        model: the model; or names and models that train together; or None for a loop without
            torch, which shows its arrays with `observe`.
        optimizer: the optimiser or optimisers. With them known, `step` need not be called.
        name: name of the run; the script's by default.
        every: measure every so many steps exactly; 1 is every step.
        budget: share of training time that measuring may cost, where `every` is not given.
        credit_s: seconds of measuring time to spend on every step at the start.
        stop_on: `"critical"`: raise `Collapsed` at the next step once such a flag stands.

    Returns:
        The watch; call its `step(loss=loss)` once a training step.

    Raises:
        ValueError: a setting has no sense; the text names it.
        TypeError: `model` is neither a module nor a mapping of modules.
    """
    settings = from_environment(every=every, budget=budget, credit_s=credit_s, stop_on=stop_on)
    models = _named(model)
    optimizers = _listed(optimizer)
    title = name or _script_name()
    run = os.environ.pop("DEADBAND_RUN", "") or wire.new_run_id(title)
    for take_over in ON_WATCH:
        take_over()
    return Watch(models, optimizers, name=title, run=run, settings=settings)


ON_WATCH: list[Callable[[], None]] = []
"""Called when the user calls `watch`: a zero-code run stands aside."""

_OPEN: weakref.WeakSet[Watch] = weakref.WeakSet()


def _named(model: Any) -> dict[str, nn.Module]:
    if model is None:
        return {}
    models = dict(model) if isinstance(model, Mapping) else {"model": model}
    torch = sys.modules.get("torch")
    for name, each in models.items():
        if torch is None or not isinstance(each, torch.nn.Module):
            raise TypeError(
                f"model must be an nn.Module or a mapping of names to them, "
                f"but {name} is a {type(each).__name__}"
            )
    return models


def _listed(optimizer: Any) -> list[Any]:
    if optimizer is None:
        return []
    if hasattr(optimizer, "param_groups"):
        return [optimizer]
    return list(optimizer.values() if isinstance(optimizer, Mapping) else optimizer)


def _script_name() -> str:
    script = sys.argv[0] if sys.argv else ""
    return Path(script).stem if script not in ("", "-c", "-m") else "python"


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed under us
        return ""


def _bare_model() -> Model:
    return Model(name="model", kind="", parameters=0, trainable=0)


def _observed_layer(entry: Entry, activation: str) -> Layer:
    cell = entry.cells.get(What.ACTIVATION)
    units = cell.source[-1] if cell is not None and cell.source else 0
    return Layer(
        name=entry.name, model=entry.model, kind="observed", activation=activation, units=units
    )


def one_line(error: BaseException) -> str:
    """Type and text of an error, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:500] if text else type(error).__name__


def close_all() -> None:
    """Close what is still open at the end of the process, and say how it ended."""
    error = getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)
    for each in list(_OPEN):
        if each._pid != os.getpid():
            continue
        if error is None:
            each.close()
        else:
            each.close(status="failed", error=one_line(error))


def _forked() -> None:
    for each in list(_OPEN):
        each._abandon()
    _OPEN.clear()


atexit.register(close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
