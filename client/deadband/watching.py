"""`Watch`: ties capture, cadence, recorder and sender together; keeps the books of a step.

What runs at every step is an append and a comparison; everything else happens on sampled steps, and
none of it may raise into training but what the user asked for (`stop_on`, own callbacks).
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any

from deadband import endings, wire
from deadband.cadence import HISTORY, STEP_S
from deadband.closeups import Closeups
from deadband.endings import Block, one_line
from deadband.identity import greeting, nodes_of
from deadband.ledger import Ledger, kept
from deadband.observed import Observations
from deadband.recorder import Entry, Recorder
from deadband.sender import Link, NoLink, Sender
from deadband.settings import EAGER_SAMPLES, Settings
from deadband.startle import STRETCH, Startle
from deadband.steering import Steering
from deadband.unsaid import Unsaid
from deadband.verdicts import Verdicts

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

    from deadband.torchside import TorchSide


class Watch(Verdicts, Block):
    """One watched run. Made by `deadband.watch`."""

    def __init__(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Iterable[Optimizer],
        *,
        name: str,
        run: str,
        settings: Settings,
        by_optimiser: bool = False,
        loss: str = "",
        steps_before: int | None = None,
    ) -> None:
        super().__init__(settings.stop_on)
        self.run = run
        """Run id: what `deadband attach` and `deadband replay` take."""
        self.name = name
        self.pid = os.getpid()
        self._live = settings.enabled
        self._late = steps_before is not None
        self._step = self._steps_before = steps_before or 0
        self._due = 0
        """From this step on its end is more than a line in the books; 0: the next one's is."""
        self._armed = False
        self._arm_cost_s = 0.0
        self._timed = 0
        """Unsampled steps since the last sample whose duration was taken."""
        self._faults = 0
        self._fault = ""
        self._ledger = Ledger()
        self._note_loss = self._ledger.losses.append
        self._startle = Startle()
        self._highest = self._startle.highest
        """A loss above this, or none that is finite, may have jumped."""
        self._followed = self._step
        """The step up to which the course of the losses is known."""
        self._link: Link = NoLink()
        self._torch: TorchSide | None = None
        self._keeps_arena = not settings.hub
        self._recorder = Recorder(run, lambda: self._link)
        self._closeups = Closeups(self._recorder, lambda: self._link)
        self._steering = Steering(
            settings,
            self._opinions,
            self._recorder,
            self._closeups,
            failed=self._failed,
            steps_before=self._step,
        )
        self._cadence = self._steering.cadence
        self._observations = Observations(self._recorder, loss=loss, follow=self._follow)
        self._unsaid = Unsaid(lambda: self._torch.optimisers.known if self._torch else ())
        self._began = self._last = perf_counter()
        if self._live:
            self._open(models, optimizers, settings, by_optimiser, loss)

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
        if self._armed or loss is None:  # the first step is armed: counting is settled there
            loss = self._step_by_hand(loss)
        if type(loss) is not float:
            loss = kept(loss)
        if scalars:
            self._ledger.note(self._step + 1, scalars)
        self._step = step = self._step + 1
        self._note_loss(loss)
        if type(loss) is float and not loss <= self._highest:
            self._follow_losses(step)
        if step >= self._due:
            self._attend(step, True)

    def observe(
        self, name: str, value: Any, activation: str = "", role: str = "activation"
    ) -> None:
        """Show a tensor or an array that the hooks cannot see; all of it in a loop without torch.

        Call it before `step`, at every step: values are copied on sampled steps only.

        Args:
            name: name of the layer; of the model, or anything, where the role is the model's.
            value: (samples, ..., units). Weights and their gradients: (inputs, units) as in
                `x @ w`, or (inputs,) for one unit; a bias: (units,).
            activation: name of the nonlinearity that made it: `sigmoid`.
            role: `activation`: a layer's output, as a layer of its own or beside its weight.
                `input`, `output`, `target`, `output_grad`: what the model was given, what it gave,
                what the loss compared that with (class numbers or values), and the gradient of the
                loss with respect to it. `weight`, `weight_grad`, `bias`: a layer's own.
        """
        # Ahead of a sampled step a weight is kept: what that step changes is told from it.
        if not self._armed and (
            role != "weight" or not self._live or self._step + 2 < self._cadence.next_step
        ):
            return
        start = perf_counter()
        try:
            if self._armed:
                shown = self._observations
                shown.show(self._step + 1, name, value, activation=activation, role=role)
            else:
                self._observations.keep(self._step + 1, name, value)
        except Exception as error:
            self._failed(error)
        self._arm_cost_s += perf_counter() - start

    @property
    def steps(self) -> int:
        """Steps so far."""
        return self._step

    def close(self, *, status: str = "finished", error: str = "") -> None:
        """End the watch; the model is left exactly as it was."""
        if not self._live:
            return
        try:
            if self._torch is not None:
                self._torch.settle()
                self._note_evaluations(self._torch)
            self._recorder.land(wait=True)
            self._recorder.write_rest(self._step, time.time(), self._ledger)
            self._recorder.land(wait=True)
        except Exception as fault:
            self._failed(fault)
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
        self._recorder.close(unlink=not handed_over and not self._keeps_arena)
        endings.closed(self)

    def watches(self, models: Collection[Any]) -> bool:
        """Whether one of these modules is watched here."""
        if not self._live or self._torch is None:
            return False
        plain = {id(getattr(each, "_orig_mod", each)) for each in models}
        return any(id(root.plain) in plain for root in self._torch.capture.roots)

    # --- What a zero-code run calls --------------------------------------------------------------

    def join(self, name: str, model: nn.Module, optimizers: Iterable[Optimizer]) -> None:
        """One more model was found to train in this run."""
        if self._live and self._torch is not None:
            self._torch.capture.add(name, model)
            self._torch.capture.roots[-1].late = self._late
            self._torch.optimisers.add(optimizers)

    def forward_of(self, model: nn.Module, args: Any) -> None:
        """A model that was just found is being called; its hooks came too late for this call."""
        if self._armed and self._torch is not None:
            self._torch.capture.enter_late(model, args)

    # --- The course of a step --------------------------------------------------------------------

    def _end_step(self, loss: Any, may_raise: bool) -> None:
        """The same as in `step`, which every loop pays for and so does without this call."""
        self._step = step = self._step + 1
        self._note_loss(loss)
        if type(loss) is float and not loss <= self._highest:
            self._follow_losses(step)
        if step >= self._due:
            self._attend(step, may_raise)

    def _follow_losses(self, step: int) -> None:
        """Take in the losses since the last look; one that jumps has the next steps sampled."""
        if self._startle.by_newest(self._ledger.losses, step - self._followed):
            self._cadence.startled(step)
            self._due = 0
        self._followed, self._highest = step, self._startle.highest

    def _attend(self, step: int, may_raise: bool) -> None:
        """A step has ended that was sampled or timed, or ahead of one that is to be sampled."""
        now = perf_counter()
        self._follow_losses(step)
        if self._armed:
            self._sample(now)
        else:
            if self._timed < HISTORY:
                self._timed += 1
                self._cadence.passed(now - self._last)
            self._last = now
        if self._recorder.fleet is not None:
            self._look_at_fleet()
        opinions = self._opinions
        timed = self._timed >= HISTORY and self._recorder.fleet is None
        self._due = min(self._cadence.next_step - 1, step + STRETCH) if timed else 0
        if opinions.inbox:  # looked at after `_due` is set: what comes now sets it back
            self._hear()
        if step + 1 >= self._cadence.next_step:
            self._arm()
        if not self._armed and self._torch is not None and self._torch.listening:
            self._rest()
        if opinions.fresh or opinions.grave:
            if may_raise:
                opinions.react()
            else:
                self._due = 0

    def _look_at_fleet(self) -> None:
        """Take in what has come from the devices."""
        fleet = self._recorder.fleet
        assert fleet is not None
        try:
            if self._timed:
                fleet.clock.step()
            cost_s = fleet.clock.cost_s()
            if cost_s is not None:
                self._cadence.took_on_device(cost_s)
            fleet.land()
            self._closeups.post()
        except Exception as error:
            self._failed(error)

    def _arm(self) -> None:
        """The step that begins now is sampled, if there is room for its frame."""
        self._last = start = perf_counter()
        try:
            if self._recorder.has_room_for(self._step + 1, self._cadence.interval):
                self._recorder.begin()
                self._armed = True
                if self._torch is not None:
                    self._torch.arm()
            else:
                self._recorder.dropped += 1
                self._cadence.skipped(self._step + 1)
        except Exception as error:
            self._failed(error)
        self._arm_cost_s = perf_counter() - start

    def _rest(self) -> None:
        """The next step is not sampled: nothing of ours may be in its way."""
        assert self._torch is not None
        try:
            self._torch.rest()
        except Exception as error:
            self._failed(error)

    def _sample(self, now: float) -> None:
        """Write the frame of the step that ends now."""
        self._armed = False
        torch, arm_cost_s, hooks_cost_s = self._torch, self._arm_cost_s, 0.0
        try:
            left_out = False
            if torch is not None:
                left_out = torch.finish()
                hooks_cost_s = torch.capture.cost_s
                self._ledger.note(self._step, torch.optimisers.learning_rates())
                self._note_evaluations(torch)
            self._recorder.write(
                self._step,
                time.time(),
                self._ledger,
                skipped=left_out,
                cost_s=arm_cost_s + hooks_cost_s + perf_counter() - now,
            )
            self._closeups.sampled(self._step)
        except Exception as error:
            self._failed(error)
        end = perf_counter()
        cost_s = arm_cost_s + hooks_cost_s + end - now
        duration_s = end - self._last
        if torch is not None and torch.ran_eagerly:
            # What is lost by not running compiled code is a cost of the sample, too.
            cost_s = max(cost_s, duration_s - self._cadence.usual_step_s)
        self._cadence.sampled(self._step, duration_s, cost_s, stride=self._recorder.stride)
        self._last = end
        self._timed = 0

    def _note_evaluations(self, torch: TorchSide) -> None:
        for step, loss in torch.capture.losses.evaluation.take():
            self._ledger.note(step, {"eval_loss": loss})

    def _step_by_hand(self, loss: Any) -> Any:
        try:
            return self._torch.step_by_hand(loss) if self._torch is not None else loss
        except Exception as error:
            self._failed(error)
            return loss

    # --- Inside ----------------------------------------------------------------------------------

    def _open(
        self,
        models: Mapping[str, nn.Module],
        optimizers: Iterable[Optimizer],
        settings: Settings,
        by_optimiser: bool,
        loss: str,
    ) -> None:
        if models:
            from deadband.torchside import Counting, TorchSide

            self._torch = TorchSide(
                models,
                optimizers,
                recorder=self._recorder,
                counting=Counting.BY_OPTIMISER if by_optimiser else Counting.UNKNOWN,
                end_step=self._end_step,
                step=lambda: self._step,
                eager_samples=settings.compiled == EAGER_SAMPLES,
            )
            self._closeups.taps = self._torch.capture.taps_of
            for root in self._torch.capture.roots:
                root.loss, root.loss_given = loss, bool(loss)
                root.late = self._late
        else:
            self._recorder.models.append(self._observations.bare_model())
        if settings.hub:
            nodes = nodes_of(self.run)
            self._recorder.inline = nodes is not None and nodes.inline
            self._link = Sender(self.run, self._beat, self._deliver, nodes)
        endings.opened(self)
        self._arm()
        # Last of all: from here on the sender's thread competes for the interpreter.
        self._link.post(greeting(self.run, self.name, settings))

    def _follow(self, entry: Entry, tensor: Any) -> None:
        if self._torch is not None:
            self._torch.capture.follow_gradient(entry, tensor)

    def _deliver(self, message: wire.ToClient) -> None:
        """The hub has sent something; called in the sender's thread."""
        self._opinions.inbox.append(message)
        self._due = 0

    def _hear(self) -> None:
        if not self._live:
            self._link.hear_out()
            self._opinions.hear()
            return
        self._due = 0
        self._steering.hear(self._step, armed=self._armed)

    def _detach(self) -> None:
        self._armed = False
        try:
            if self._torch is not None:
                self._torch.close()
        except Exception as error:
            self._failed(error)

    def abandon(self) -> None:
        """This process is a fork of the watched one: it is not ours to watch."""
        self._live = False
        self._link.abandon()
        self._link = NoLink()
        self._detach()

    def _failed(self, error: Exception) -> None:
        self._faults += 1
        self._fault = one_line(error)

    def _overhead(self) -> float:
        spent_s = self._cadence.spent_s + STEP_S * (self._step - self._steps_before)
        return spent_s / max(perf_counter() - self._began, 1e-9)

    def _beat(self) -> wire.Beat:
        capture = self._torch.capture if self._torch is not None else None
        return wire.Beat(
            time=time.time(),
            step=self._step,
            samples=self._recorder.samples,
            dropped=self._recorder.dropped,
            interval=self._cadence.interval,
            overhead=self._overhead(),
            faults=self._faults + (capture.faults if capture is not None else 0),
            fault=self._fault or (capture.fault if capture is not None else ""),
            pace=self._cadence.pace,
            unsaid=self._unsaid.look(self._step),
        )
