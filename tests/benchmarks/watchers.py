"""Who looks on while a benchmark's loop trains: nobody, deadband in several settings, its peers."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer
from workloads import Workload

import deadband
import deadband.start
import deadband.torchside  # imported here, so that what `watch` takes is its own
from deadband_monitor.hub.registry import live_hub


class Nobody:
    """The bare loop."""

    def __init__(self, load: Workload) -> None:
        self.model: nn.Module = load.model
        self.optimizer: Optimizer = load.optimizer

    def stepped(self, loss: Tensor) -> None:
        """A step is done."""

    def between_turns(self) -> None:
        """A turn is over; its books may still be kept elsewhere."""

    @property
    def spent_s(self) -> float:
        """What the watcher's own clock says it cost so far."""
        return 0.0

    @property
    def counts(self) -> tuple[int, int]:
        """Samples taken and dropped so far."""
        return 0, 0

    @property
    def helper_cpu_s(self) -> float:
        """Processor time of its other processes."""
        return 0.0

    def close(self) -> None:
        """Training is over."""


class Deadband(Nobody):
    """`deadband.watch`; what `every` and the environment say."""

    def __init__(self, load: Workload, *, every: int | None = None) -> None:
        super().__init__(load)
        self.watch = deadband.watch(load.model, load.optimizer, every=every)
        self._hub = 0

    def stepped(self, loss: Tensor) -> None:
        self.watch.step(loss=loss)

    def between_turns(self) -> None:
        arena = self.watch._recorder.arena
        until = os.times().elapsed + 0.5
        while arena is not None and arena.waiting and os.times().elapsed < until:
            pass  # the hub works on what this turn has left

    @property
    def spent_s(self) -> float:
        return self.watch._cadence.spent_s

    @property
    def counts(self) -> tuple[int, int]:
        return self.watch._recorder.samples, self.watch._recorder.dropped

    @property
    def helper_cpu_s(self) -> float:
        if not self._hub:
            registration = live_hub(self.watch.run)
            if registration is None:
                return 0.0
            self._hub = registration.hub_pid
        return cpu_of(self._hub)

    def close(self) -> None:
        self.watch.close()


class Unsampled(Deadband):
    """The watch is on, but no step is sampled."""

    def stepped(self, loss: Tensor) -> None:
        self.watch.step(loss=loss)
        self.watch._cadence.next_step = 1 << 60
        if not self.watch._armed:
            self.stepped = self._later  # type: ignore[method-assign]

    def _later(self, loss: Tensor) -> None:
        self.watch.step(loss=loss)


class CopyOnly(Deadband):
    """Every step is sampled and none dropped: no hub, frames are given back unread."""

    def __init__(self, load: Workload) -> None:
        os.environ["DEADBAND_HUB"] = "off"
        super().__init__(load, every=1)

    def stepped(self, loss: Tensor) -> None:
        self.watch.step(loss=loss)
        arena = self.watch._recorder.arena
        if arena is not None:
            arena._tail[0] = arena._written


class Alone(Deadband):
    """The default without a hub, which else takes its share of processors, caches and memory."""

    def __init__(self, load: Workload) -> None:
        os.environ["DEADBAND_HUB"] = "off"
        super().__init__(load)

    def stepped(self, loss: Tensor) -> None:
        self.watch.step(loss=loss)
        arena = self.watch._recorder.arena
        if arena is not None:
            arena._tail[0] = arena._written


class NaiveHooks(Nobody):
    """What one writes by hand: a figure of every output and of every gradient, at every step."""

    def __init__(self, load: Workload) -> None:
        super().__init__(load)
        self.figures: dict[str, float] = {}
        for name, module in load.model.named_modules():
            if not list(module.children()):
                module.register_forward_hook(self._hook(name))

    def _hook(self, name: str) -> Callable[..., None]:
        def note(module: nn.Module, args: Any, output: Any) -> None:
            if isinstance(output, Tensor) and output.is_floating_point():
                self.figures[name] = output.detach().std().item()

        return note

    def stepped(self, loss: Tensor) -> None:
        self.figures["loss"] = loss.item()
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                self.figures[name] = parameter.grad.norm().item()


class WandbWatch(Nobody):
    """`wandb.watch(log="all", log_freq=1)`, offline."""

    def __init__(self, load: Workload) -> None:
        super().__init__(load)
        import wandb  # type: ignore[import-not-found]

        folder = tempfile.mkdtemp()
        self._run = wandb.init(mode="offline", dir=folder, project="overhead")
        self._run.watch(load.model, log="all", log_freq=1)

    def stepped(self, loss: Tensor) -> None:
        self._run.log({"loss": loss.item()})

    def close(self) -> None:
        self._run.finish()


class TensorBoard(Nobody):
    """Histograms of all weights and gradients at every step."""

    def __init__(self, load: Workload) -> None:
        super().__init__(load)
        from torch.utils.tensorboard import SummaryWriter

        self._writer: Any = SummaryWriter(tempfile.mkdtemp())
        self._step = 0

    def stepped(self, loss: Tensor) -> None:
        self._step += 1
        self._writer.add_scalar("loss", loss.item(), self._step)
        for name, parameter in self.model.named_parameters():
            self._writer.add_histogram(name, parameter, self._step)
            self._writer.add_histogram(f"{name}.grad", parameter.grad, self._step)

    def close(self) -> None:
        self._writer.close()


class NNHtop(Nobody):
    """nn-htop's monitor without its screen."""

    def __init__(self, load: Workload) -> None:
        super().__init__(load)
        from nn_htop import Monitor  # type: ignore[import-not-found]

        self._monitor = Monitor(load.model)


class ModuleMonitor(Nobody):
    """torch-module-monitor with four metrics of outputs, weights and gradients."""

    def __init__(self, load: Workload) -> None:
        super().__init__(load)
        from torch_module_monitor import ModuleMonitor as Peer  # type: ignore[import-not-found]

        self._monitor = Peer(monitor_step_fn=lambda step: True)
        self._monitor.set_module(load.model)
        for name, metric in {
            "mean": lambda t: t.mean(),
            "std": lambda t: t.std(),
            "norm": lambda t: t.norm(),
            "largest": lambda t: t.abs().max(),
        }.items():
            self._monitor.add_activation_metric(name, metric)
            self._monitor.add_parameter_metric(name, metric)
            self._monitor.add_gradient_metric(name, metric)
        self._step = 0

    def stepped(self, loss: Tensor) -> None:
        self._monitor.monitor_parameters()
        self._monitor.monitor_gradients()
        self._monitor.end_step()
        self._step += 1
        self._monitor.begin_step(self._step)


CONDITIONS: dict[str, Callable[[Workload], Nobody]] = {
    "bare": Nobody,
    "bare again": Nobody,
    "unsampled only": Unsampled,
    "default, credit spent": Deadband,
    "default, hub left out": Alone,
    "default": Deadband,
    "every step": lambda load: Deadband(load, every=1),
    "every step, hub left out": CopyOnly,
    "naive hooks": NaiveHooks,
}
PEERS: dict[str, tuple[str, Callable[[Workload], Nobody]]] = {
    "wandb.watch": ("wandb", WandbWatch),
    "TensorBoard histograms": ("tensorboard", TensorBoard),
    "nn-htop": ("nn_htop", NNHtop),
    "torch-module-monitor": ("torch_module_monitor", ModuleMonitor),
}
"""Name -> package that must be there, watcher."""


def installed(peer: str) -> bool:
    """Whether the peer can be run here."""
    return importlib.util.find_spec(PEERS[peer][0]) is not None


def watcher(condition: str, load: Workload) -> Nobody:
    """Start looking on."""
    make = CONDITIONS.get(condition) or PEERS[condition][1]
    return make(load)


def cpu_of(process: int) -> float:
    """Processor time of another process so far."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
