"""The torch half of a watch: models, optimisers, losses and scalers, and what a step is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from deadband.capture import ModelCapture
from deadband.ledger import kept
from deadband.losses import BackwardListener, both_learn, loss_kind, squared_sides
from deadband.optimisers import Optimisers
from deadband.recorder import Recorder
from deadband.roots import Root
from deadband.scaler import ScalerListener


class Counting(Enum):
    """What makes a step."""

    UNKNOWN = "unknown"
    """Not seen yet whether the loop calls `step`."""
    BY_HAND = "by hand"
    """Each call of `step`."""
    BY_OPTIMISER = "by optimiser"
    """Each step of an optimiser."""


IDLE_SAMPLES = 20
"""Sampled steps after which an optimiser that others step without counts as left out: those that
take turns come by at least every tenth."""
IDLE_STEPS, IDLE_FEWEST = 200, 3
"""Or so many steps, over some samples: where few are taken, twenty are the rest of a run."""


class TorchSide:
    """Listens to everything of torch that a watch needs, and copies on sampled steps.

    Args:
        models: name -> root module.
        optimizers: the user's; empty: whichever steps and holds a parameter of the models.
        recorder: owns cells and layers.
        counting: what makes a step.
        end_step: ends the step, with its loss; `may_raise` says whether the user's errors may pass.
        step: the number of the last step that was ended.
        eager_samples: whether sampled steps of compiled code run uncompiled.
    """

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Iterable[Optimizer],
        *,
        recorder: Recorder,
        counting: Counting,
        end_step: Callable[[Any, bool], None],
        step: Callable[[], int],
        eager_samples: bool = False,
    ) -> None:
        self.counting = counting
        self.armed = False
        self.listening = False
        """Whether anything waits in torch for a sampled step."""
        self.ran_eagerly = False
        """Whether the last sampled step ran uncompiled for our sake."""
        self._end_step = end_step
        self._step = step
        self._pending = False
        """An optimiser has stepped, and it is not known yet whether the loop calls `step`."""
        self._stepped: set[int] = set()
        self._left_out = False
        self._loss: Any = None
        self.capture = ModelCapture(
            models,
            recorder,
            holds=lambda parameter: self.optimisers.holds(parameter),
            knows_optimiser=lambda: bool(self.optimisers.known),
            forward_begins=self._forward_begins,
            step=lambda: step() + self._pending,
            eager_samples=eager_samples,
        )
        self.optimisers = Optimisers(
            optimizers,
            ours=self.capture.parameter_ids,
            before=self._before_optimiser,
            after=self._after_optimiser,
            changed=self.capture.optimisers_changed,
        )
        recorder.optimizers = self.optimisers.groups
        self._backward = BackwardListener(self._heard_loss)
        self._idle: dict[int, tuple[int, int]] = {}
        """Sampled steps in a row in which others stepped and this one did not, and the first of
        them, by its id."""
        self._given = False
        """Whether the loop gives its losses to `step`: then backward is heard on sampled steps."""
        self._scaler = ScalerListener(lambda: self.optimisers.steps, self._step_left_out)

    # --- What the watch calls --------------------------------------------------------------------

    def arm(self) -> None:
        """The step that begins now is sampled."""
        self.armed = True
        self._left_out = False
        if not self.listening:
            self.listening = True
            self.optimisers.listen()
            if self._given:
                self._backward.open()
        self.capture.arm()

    def finish(self) -> bool:
        """The sampled step is over; True where a GradScaler left its update out.

        What waits in torch stays there: the next step may be sampled, too, or else `rest` follows.
        """
        self.armed = False
        self.ran_eagerly = self.capture.eager.is_on
        self.capture.finish()
        if self.optimisers.decay_anew:
            self.capture.recorder.set_anew()
        left_out, self._left_out = self._left_out, False
        if not self._stepped:
            self.capture.without_update(left_out=left_out)
        else:
            self._look_after_idle_ones()
        self._stepped.clear()
        if left_out:
            self.capture.drop_gradients()
        elif self._scaler.scale is not None:
            self.capture.unscale(self._scaler.scale)
        return left_out

    def rest(self) -> None:
        """The next step is not sampled: nothing of ours is in its way."""
        self.listening = False
        self.capture.rest()
        if self._given:
            self._backward.close()
        if self.counting is Counting.BY_HAND:
            self.optimisers.pause()

    def _look_after_idle_ones(self) -> None:
        """Others step, one does not for many samples: its weights are shown all the same."""
        for optimizer in self.optimisers.known:
            if id(optimizer) in self._stepped:
                self._idle.pop(id(optimizer), None)
                continue
            samples, since = self._idle.get(id(optimizer), (0, self._step()))
            samples += 1
            self._idle[id(optimizer)] = samples, since
            lasting = samples >= IDLE_FEWEST and self._step() - since >= IDLE_STEPS
            if samples > IDLE_SAMPLES or lasting:
                self.capture.without_step(optimizer)

    def step_by_hand(self, loss: Any) -> Any:
        """The loop has called `step`; the loss, by what was back-propagated where none is given."""
        if self.counting is not Counting.BY_HAND:
            self.counting = Counting.BY_HAND
            self._pending = False
        if loss is None:
            loss, self._loss = self._loss, None
            return loss
        if not self._given:
            self._given, self._loss = True, None
        if self.armed:
            self._learn(loss)
        return loss

    def settle(self) -> None:
        """End the last step where the loop has no call of `step`."""
        if self._pending:
            self._end_by_optimiser(may_raise=False)

    def close(self) -> None:
        """Leave models, optimisers and autograd as they were."""
        self.armed = False
        self.capture.close()
        self.optimisers.close()
        self._scaler.close()
        self._backward.close()

    # --- What torch calls ------------------------------------------------------------------------

    def _before_optimiser(self, optimizer: Optimizer, closure: bool) -> None:
        if self._pending and (id(optimizer) in self._stepped or not self.armed):
            self.counting = Counting.BY_OPTIMISER
            self._end_by_optimiser()
        if self.armed:
            self.capture.before_update(optimizer, gradients=not closure)

    def _after_optimiser(self, optimizer: Optimizer, closure: bool) -> None:
        if self.armed:
            self._stepped.add(id(optimizer))
            self.capture.after_update(optimizer, gradients=closure)
        if self.counting is Counting.BY_OPTIMISER:
            self._end_by_optimiser()
        elif self.counting is Counting.UNKNOWN:
            self._pending = True
            self.capture.await_forward()

    def _step_left_out(self, optimizer: Optimizer) -> None:
        optimisers = self.optimisers
        if not optimisers.listening or not any(each is optimizer for each in optimisers.known):
            return
        self._left_out = True
        if self.counting is Counting.BY_OPTIMISER:
            self._end_by_optimiser()
        elif self.counting is Counting.UNKNOWN:
            self._pending = True
            self.capture.await_forward()

    def _forward_begins(self) -> None:
        """A training forward after an optimiser's step: the loop does not call `step`."""
        if self._pending and len(self.optimisers.known) == 1:
            self.counting = Counting.BY_OPTIMISER
            # We are inside the user's forward, behind a guard that swallows: errors come later.
            self._end_by_optimiser(may_raise=False)

    def _end_by_optimiser(self, *, may_raise: bool = True) -> None:
        self._pending = False
        loss, self._loss = self._loss, None
        self._end_step(loss, may_raise)

    def _heard_loss(self, loss: Tensor) -> None:
        """A scalar is back-propagated; several in one step add up, as their gradients do."""
        if self.armed:
            self.capture.backward_begins(loss)
        if self._given:
            return
        try:
            loss = self._scaler.original(loss)
            if self.armed:
                self._learn(loss)
            value = kept(loss)
            self._loss = value if self._loss is None else self._loss + value
        except Exception as error:
            self.capture.failed(error)

    def _learn(self, loss: Any) -> None:
        for root in self.capture.roots:
            if not root.loss:
                kind = loss_kind(loss)
                if kind:
                    self.capture.heard_loss(kind)
                    if len(self.capture.roots) == 1 and _of_views(kind, loss, root):
                        root.target_learns = True
                return
        if len(self.capture.roots) == 1:
            self._ask_again(loss, self.capture.roots[0])

    def _ask_again(self, loss: Any, root: Root) -> None:
        """A stop of the gradient may be lost in mid-run; one loss in between is no other loop."""
        if root.target_learns or root.loss not in OF_VIEWS:
            return
        root.views_met = root.views_met + 1 if _of_views(root.loss, loss, root) else 0
        if root.views_met >= LASTING:
            root.target_learns = self.capture.recorder.changed = True


OF_VIEWS = ("cosine", "mse")
"""Kinds of losses that two views can be drawn together by."""
LASTING = 3
"""Samples in a row that show both sides trained, where those before did not."""


def _of_views(kind: str, loss: Any, root: Root) -> bool:
    """Whether a loss compares two things that are trained.

    Either the parts that a model is called by, or its output and another. Loss functions that are
    seen themselves show what they are called with.
    """
    if root.rootless:
        return kind == "cosine" and both_learn(loss)
    if kind != "mse" or root.shown is None:
        return False
    sides, output = squared_sides(loss), root.shown.tensor()
    # One that nobody keeps was an argument of the loss.
    return bool(sides) and (output is None or any(output.grad_fn is each for each in sides))
