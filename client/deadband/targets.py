"""What a loss compares a model's output with, and the losses of evaluation passes.

Loss functions tell of their calls; here it is found out whose output the first argument is. Only
calls that can be placed are used, and nothing is changed or waited for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import IntEnum
from time import perf_counter
from typing import Any, Protocol

import torch
from torch import Tensor

from deadband import compiling, layers, losscalls
from deadband.cells import make_cell
from deadband.losscalls import LossCall
from deadband.recorder import Recorder
from deadband.regions import OUTPUT, Layout
from deadband.roots import Root, UsualLoss
from deadband.wire import What

_EITHER_WAY = frozenset({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"})
"""Functions that give the same whichever of the two comes first."""
_BY_CLASS = frozenset({"cross_entropy", "nll", "multi_margin"})
"""Losses whose integer targets number the classes."""


class Match(IntEnum):
    """How sure it is that a loss was given the model's output."""

    NONE = 0
    ROWS = 1
    """The only model of the step, and as many rows."""
    SHAPE = 2
    """The only model, and as many elements: a copy in another precision, a softmax of it."""
    OUTPUT = 3
    """The very tensor, or another look at the same memory."""


class Books(Protocol):
    """Where time and faults are counted."""

    spent_s: float
    armed: bool

    def failed(self, error: Exception) -> None:
        """Count a fault of ours."""


class LossListener:
    """Turns calls of loss functions into targets and evaluation losses.

    Args:
        roots: the watched models; the list may grow.
        recorder: is told when the plan must say more.
        books: of the capture.
        step: the step that is over by now.
        reveal: called where a loss shows the output of a model whose call nobody has seen.
    """

    def __init__(
        self,
        roots: Sequence[Root],
        recorder: Recorder,
        books: Books,
        step: Callable[[], int],
        reveal: Callable[[Root, Tensor], None],
    ) -> None:
        self.evaluation = EvaluationLosses()
        self._roots = roots
        self._recorder = recorder
        self._books = books
        self._step = step
        self._reveal = reveal
        self._wanted = False
        losscalls.listen(self)

    def arm(self) -> None:
        """The step that begins now is sampled."""
        if not self._wanted:
            self._wanted = True
            losscalls.want(self, sampled=True)

    def rest(self) -> None:
        """The next step is not sampled."""
        self._wanted = False
        losscalls.want(self, sampled=False)

    def close(self) -> None:
        """Listen no more."""
        losscalls.ignore(self)

    def heard(self, call: LossCall) -> None:
        """A loss was computed in a sampled step, or without gradients."""
        start = perf_counter()
        try:
            if not torch.is_grad_enabled():
                self._evaluated(call)
            elif self._books.armed:
                self._trained(call)
        except Exception as error:
            self._books.failed(error)
        self._books.spent_s += perf_counter() - start

    # --- Training --------------------------------------------------------------------------------

    def forward_done(self, root: Root) -> None:
        """The root's output is known: losses computed inside its forward can be placed."""
        pending, root.pending = root.pending, []
        for call in pending:
            self._place(root, call, self._match(root, call))

    def _trained(self, call: LossCall) -> None:
        if len(self._roots) == 1 and self._is_usual(self._roots[0], call):
            return
        if len(self._roots) == 1 and not self._roots[0].seen and compiling.in_play():
            root = self._roots[0]
            if root.plain.training and compiling.is_made_by_compiled(call.input):
                self._reveal(root, call.input)
        if call.target.requires_grad and not call.input.requires_grad and call.name in _EITHER_WAY:
            call = call._replace(input=call.target, target=call.input)
        if len(self._roots) == 1 and self._roots[0].rootless:
            root = self._roots[0]
            if call.target.requires_grad:
                self._learns(root)  # called by its parts: whose output it is cannot be told
            elif root.shown is None and root.given.gave(call.input, call.result):
                self._reveal(root, call.input)
        matches = [(self._match(root, call), root) for root in self._roots]
        if matches:
            match, root = max(matches, key=lambda each: each[0])
            self._place(root, call, match)
            if len(self._roots) == 1 and not root.loss_matched and _spreads(call):
                self._tell_shapes(root, call)
        for root in self._roots:
            if root.inside and len(root.pending) < _MOST_PENDING:
                root.pending.append(call)

    @staticmethod
    def _is_usual(root: Root, call: LossCall) -> bool:
        """Whether it is the call of the last sample again: then its target has been copied."""
        usual, shown, target = root.usual_loss, root.shown, call.target
        if (
            usual is None
            or shown is None
            or root.matched
            or root.inside
            or call.name != usual.name
            or shown.tensor() is not call.input
            or shown.shape != usual.shape
            or target.shape != usual.cell.source
            or target.dtype is not usual.dtype
            or target.requires_grad
            or root.entry.cells.get(What.TARGET) is not usual.cell
        ):
            return False
        root.matched = Match.OUTPUT
        usual.cell.take(target)
        return True

    def _match(self, root: Root, call: LossCall) -> Match:
        shown = root.shown
        if shown is None:
            return Match.NONE
        given, output = call.input, shown.tensor()
        if output is not None and (
            given is output
            or (given.numel() == output.numel() and _memory(given) == _memory(output))
        ):
            return Match.OUTPUT
        if sum(each.seen for each in self._roots) != 1:
            return Match.NONE
        if given.numel() == math.prod(shown.shape) and (
            given.shape[-1:] == shown.shape[-1:] or _by_channel(given, shown.shape)
        ):
            return Match.SHAPE
        return Match.ROWS if given.shape[:1] == shown.shape[:1] else Match.NONE

    def _place(self, root: Root, call: LossCall, match: Match) -> None:
        """The surest call of the step wins; of equals, the first."""
        if match <= root.matched:
            return
        root.matched = match
        if match > root.loss_matched:
            root.loss_matched = match
            root.loss_call = call.name
            root.loss_of_output = match is Match.OUTPUT
            root.loss_shapes = tuple(call.input.shape), tuple(call.target.shape)
            self._recorder.changed = True
            if call.target.requires_grad:
                self._learns(root)
        self._copy_target(root, call, match)

    def _tell_shapes(self, root: Root, call: LossCall) -> None:
        """Whatever gave it (a method, one of several heads), no row is compared with its target."""
        shapes = tuple(call.input.shape), tuple(call.target.shape)
        if (root.loss_call, root.loss_shapes) != (call.name, shapes):
            root.loss_call, root.loss_shapes = call.name, shapes
            self._recorder.changed = True

    def _learns(self, root: Root) -> None:
        """What its output is compared with moves as it does."""
        self._recorder.changed |= not root.target_learns
        root.target_learns = True

    def _copy_target(self, root: Root, call: LossCall, match: Match) -> None:
        output, shown = root.entry.cells.get(What.OUTPUT), root.shown
        if output is None or shown is None or call.target.ndim == 0 or call.target.requires_grad:
            return
        target, layout = call.target.detach(), output.layout
        in_order = (
            call.input.numel() == math.prod(shown.shape)
            and call.input.is_contiguous()
            and shown.contiguous
        )
        if call.kind in _BY_CLASS and not target.is_floating_point():
            if layout is not Layout.CHANNELS and (
                (call.input.shape == shown.shape and target.ndim == 2)
                or _by_channel(call.input, shown.shape)
            ):
                # Classes lie along axis 1 of three: the output is channels over positions.
                root.output_layout = layout = Layout.CHANNELS
                for what in (What.OUTPUT, What.OUTPUT_GRAD, What.TARGET):
                    root.entry.cells.pop(what, None)
                self._recorder.changed = True
                return  # from the next sample on
            by_channels = layout is Layout.CHANNELS
            rows = (shown.shape[0], *shown.shape[2:]) if by_channels else shown.shape[:-1]
            layout = Layout.LABEL_MAP if by_channels else Layout.LABELS
            if target.shape != rows:
                if not in_order and target.shape != rows[:1]:
                    return
                if in_order and target.numel() == math.prod(rows) and not by_channels:
                    target = target.reshape(rows)
                elif target.ndim != 1 or target.shape[0] != shown.shape[0]:
                    return
        elif target.shape == call.input.shape and in_order:
            target = target.reshape(shown.shape)
        elif target.shape != shown.shape:
            if target.shape[0] != shown.shape[0] or call.input.shape != shown.shape:
                return
            layout = Layout.SAMPLES if target.ndim == 1 else layers.follow(target, None)
        cells = root.entry.cells
        cell = cells.get(What.TARGET)
        if cell is None or (cell.layout is not layout and match >= root.loss_matched):
            cell = make_cell(What.TARGET, target, layout, OUTPUT)
            if cell is None:
                return
            cells[What.TARGET] = cell
            self._recorder.changed = True
        elif cell.layout is not layout:
            return
        cell.take(target)
        if cell.recut and match is root.loss_matched:
            root.loss_shapes = tuple(call.input.shape), tuple(call.target.shape)
        root.usual_loss = None
        if match is Match.OUTPUT and target.shape == call.target.shape:
            root.usual_loss = UsualLoss(call.name, shown.shape, target.dtype, cell)

    # --- Evaluation ------------------------------------------------------------------------------

    def _evaluated(self, call: LossCall) -> None:
        """Without gradients, by the loss of training, and with every trained model in eval mode."""
        trained = [root for root in self._roots if root.trained]
        if not any(root.loss_call == call.name for root in trained):
            return
        if any(root.plain.training or root.takes_eval for root in trained):
            return
        rows = int(call.input.shape[0]) if call.input.ndim else 1
        value = call.result.detach()
        if call.reduction == "sum":
            value = value / max(1, rows)
        elif value.numel() != 1:
            value = value.float().mean()
        self.evaluation.add(self._step(), value, rows)


_MOST_PENDING = 8
"""Losses computed inside one forward that are looked at."""


class EvaluationLosses:
    """Mean losses of evaluation passes: all batches after one step are one point."""

    def __init__(self) -> None:
        self._at = 0
        self._sum: Any = None
        self._rows = 0
        self._done: list[tuple[int, Any]] = []

    def add(self, step: int, value: Tensor, rows: int) -> None:
        """One more batch. A figure on a device stays there."""
        if step != self._at:
            self._finish()
            self._at = step
        weighed = value.item() * rows if value.is_cpu else value.float().reshape(()) * rows
        if _device(weighed) != _device(self._sum) and self._sum is not None:
            weighed = float(weighed)  # models on several devices: rare enough to wait for
            self._sum = float(self._sum)
        self._sum = weighed if self._sum is None else self._sum + weighed
        self._rows += rows

    def take(self) -> list[tuple[int, Any]]:
        """All points since the last call: step, mean."""
        self._finish()
        done, self._done = self._done, []
        return done

    def _finish(self) -> None:
        if self._sum is not None:
            self._done.append((self._at, self._sum / max(1, self._rows)))
            self._sum, self._rows = None, 0


def _spreads(call: LossCall) -> bool:
    """Whether what is trained and its target, spread against each other, outgrow both."""
    given, target = call.input.shape, call.target.shape
    if given == target or not call.input.requires_grad or call.target.requires_grad:
        return False
    if call.name not in _EITHER_WAY:
        return False
    spread: tuple[int, ...] = torch.broadcast_shapes(given, target)
    return bool(math.prod(spread) > max(given.numel(), target.numel()))


def _device(value: Any) -> Any:
    return getattr(value, "device", None)


def _by_channel(given: Tensor, shown: Sequence[int]) -> bool:
    """Whether rows of one position each were made of an output of channels over positions.

    They may have been turned, as is right, or only viewed so: as many elements are in both.
    """
    return (
        len(shown) >= 3
        and given.ndim == 2
        and given.shape[1] == shown[1] != shown[-1]
        and given.numel() == math.prod(shown)
    )


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
