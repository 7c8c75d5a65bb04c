"""Plans and frames made by hand, and a torch training captured the plain way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from deadband.wire import FrameHeader, Layer, Model, OptimizerGroup, Plan, Slot, What
from deadband_monitor.metrics import LAYER_COLUMN, MODEL_COLUMN
from deadband_monitor.statistics import Measured, RawFrame

Key = tuple[What, int]


class Bench:
    """Slots that are added one by one, then frames that fill them."""

    def __init__(self, layers: Sequence[Layer], loss: str = "", models: int = 1) -> None:
        self.layers = tuple(layers)
        self.models = tuple(
            Model(name=f"m{k}" if k else "m", kind="x", parameters=0, trainable=0, loss=loss)
            for k in range(models)
        )
        self.slots: list[Slot] = []
        self.size = 0
        self.add(What.LOSS, 0, (64,))

    def add(
        self,
        what: What,
        index: int,
        shape: tuple[int, ...],
        axes: str = "",
        source: tuple[int, ...] = (),
        dtype: str = "float32",
    ) -> None:
        slot = Slot(
            what=what,
            index=index,
            offset=self.size,
            shape=shape,
            axes=axes,
            source=source or shape,
            dtype=dtype,
        )
        self.slots.append(slot)
        self.size += int(np.prod(shape))

    def plan(self, number: int = 1) -> Plan:
        return Plan(
            id=number,
            layers=self.layers,
            models=self.models,
            optimizers=(OptimizerGroup(optimizer="SGD", lr=0.25),),
            slots=tuple(self.slots),
            payload_bytes=4 * self.size,
        )

    def frame(
        self,
        step: int,
        values: Mapping[Key, np.ndarray],
        losses: Sequence[float] = (),
        *,
        skipped: bool = False,
        scalars: dict[str, list[tuple[int, float]]] | None = None,
    ) -> RawFrame:
        payload = np.full(self.size, np.nan, dtype=np.float32)  # what is not present is garbage
        present = bytearray(len(self.slots))
        for place, slot in enumerate(self.slots):
            value = values.get((slot.what, slot.index))
            if slot.what is What.LOSS:
                value = np.zeros(slot.shape, dtype=np.float32)
                value[: len(losses)] = losses
            if value is not None:
                assert value.shape == slot.shape
                payload[slot.offset : slot.offset + value.size] = value.reshape(-1)
                present[place] = 1
        header = FrameHeader(
            plan=1,
            step=step,
            time=float(step),
            present=bytes(present),
            loss_first_step=step - len(losses) + 1,
            loss_count=len(losses),
            skipped=skipped,
            scalars=scalars or {},
        )
        return RawFrame(header, payload)


def layer(
    name: str = "a",
    kind: str = "Linear",
    activation: str = "",
    *,
    fan_in: int = 0,
    units: int = 0,
    parameters: int = 0,
) -> Layer:
    return Layer(
        name=name,
        model="m",
        kind=kind,
        activation=activation,
        fan_in=fan_in,
        units=units,
        parameters=parameters,
    )


def linear(module: nn.Module) -> nn.Linear:
    """The module, which is a linear layer: torch's types lose that in a container."""
    assert isinstance(module, nn.Linear)
    return module


def grad_of(tensor: Tensor) -> Tensor:
    """The gradient of a tensor after a backward pass."""
    assert tensor.grad is not None
    return tensor.grad


def of_layer(measured: Measured, metric: str, index: int = 0) -> float:
    return float(measured.layers[index, LAYER_COLUMN[metric]])


def of_model(measured: Measured, metric: str, index: int = 0) -> float:
    return float(measured.models[index, MODEL_COLUMN[metric]])


ACTIVATIONS = {"ReLU": "relu", "Tanh": "tanh", "Sigmoid": "sigmoid"}


def described(net: nn.Sequential) -> list[Layer]:
    return [
        layer(
            str(place),
            type(module).__name__,
            ACTIVATIONS.get(type(module).__name__, ""),
            fan_in=getattr(module, "in_features", 0),
            units=getattr(module, "out_features", 0),
            parameters=sum(each.numel() for each in module.parameters()),
        )
        for place, module in enumerate(net)
    ]


def train_step(
    net: nn.Sequential, optimizer: torch.optim.Optimizer, criterion: nn.Module, x: Tensor, y: Tensor
) -> tuple[dict[Key, np.ndarray], float]:
    """One step of training and everything that a frame can hold of it, uncut."""
    values: dict[Key, Tensor] = {(What.INPUT, 0): x}
    h = x
    for place, module in enumerate(net):
        h = module(h)
        h.retain_grad()
        values[What.ACTIVATION, place] = h
    optimizer.zero_grad()
    loss = criterion(h, y)
    loss.backward()
    values[What.OUTPUT, 0], values[What.OUTPUT_GRAD, 0] = h, grad_of(h)
    for place, module in enumerate(net):
        values[What.ACTIVATION_GRAD, place] = grad_of(values[What.ACTIVATION, place])
        if isinstance(module, nn.Linear):
            values[What.WEIGHT_BEFORE, place] = module.weight.clone()
            values[What.WEIGHT_GRAD, place] = grad_of(module.weight).clone()
    optimizer.step()
    for place, module in enumerate(net):
        if isinstance(module, nn.Linear):
            values[What.WEIGHT, place] = module.weight.clone()
            values[What.BIAS, place] = module.bias.clone()
    return {key: value.detach().numpy() for key, value in values.items()}, loss.item()


def bench_for(net: nn.Sequential, values: Mapping[Key, np.ndarray], loss: str) -> Bench:
    bench = Bench(described(net), loss)
    for (what, index), value in values.items():
        rows = what in (
            What.INPUT, What.OUTPUT, What.OUTPUT_GRAD, What.ACTIVATION, What.ACTIVATION_GRAD
        )  # fmt: skip
        bench.add(what, index, value.shape, "nu" if rows else "u" if what is What.BIAS else "")
    return bench
