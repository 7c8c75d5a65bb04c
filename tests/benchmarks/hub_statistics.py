"""What a sample costs the hub: `python tests/benchmarks/hub_statistics.py`.

Prints milliseconds of processor time a sample, 16 frames at a time, for 4-layer MLPs and for
networks of 300 layers, whose slices the client cuts to a few rows. Steps follow one another, old
gradients are left lying, batch normalisations show their input: everything is there to measure.
"""

from __future__ import annotations

from time import process_time

import numpy as np

from deadband.wire import FrameHeader, Layer, Model, Plan, Slot, What
from deadband_monitor.statistics import RawFrame, Statistician

AT_ONCE = 16
MOST_LEFT = 8
"""Weights whose old gradients the client copies."""
ROUNDS = 8


class Sketch:
    """Layers and slots of a network, added one by one."""

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.slots: list[Slot] = []
        self.size = 0

    def slot(self, what: What, index: int, shape: tuple[int, ...], axes: str = "") -> None:
        slot = Slot(what=what, index=index, offset=self.size, shape=shape, axes=axes, source=shape)
        self.slots.append(slot)
        self.size += int(np.prod(shape))

    def layer(self, kind: str, shape: tuple[int, ...], axes: str, weight: int = 0) -> None:
        index = len(self.layers)
        self.layers.append(
            Layer(
                name=f"{index}.{kind}",
                model="model",
                kind=kind,
                activation=kind.lower() if not weight else "",
                fan_in=weight,
                parameters=weight * weight,
            )
        )
        self.slot(What.ACTIVATION, index, shape, axes)
        self.slot(What.ACTIVATION_GRAD, index, shape, axes)
        if weight:
            self.weight(index, (min(weight, 64), min(weight, 64)), min(weight, 256))
        if kind.startswith("BatchNorm"):
            self.weight(index, (shape[1], 1), shape[1])
            self.slot(What.LAYER_INPUT, index, shape, axes)
            self.slot(What.RUNNING_MEAN, index, (shape[1],), "u")
            self.slot(What.RUNNING_VAR, index, (shape[1],), "u")

    def weight(self, index: int, shape: tuple[int, int], bias: int) -> None:
        for what in (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD):
            self.slot(what, index, shape)
        if sum(slot.what is What.GRAD_LEFT for slot in self.slots) < MOST_LEFT:
            self.slot(What.GRAD_LEFT, index, shape)
        self.slot(What.BIAS, index, (bias,), "u")

    def attention(self, width: int, positions: int) -> None:
        """A layer of attention by queries and keys."""
        index = len(self.layers)
        self.layers.append(Layer(name=f"{index}.attention", model="model", kind="sdpa"))
        self.slot(What.QUERY, index, (8, 4, width), "npu")
        self.slot(What.KEY, index, (8, positions, width), "npu")

    def frames(self, rng: np.random.Generator) -> tuple[Plan, list[RawFrame]]:
        for what, width in ((What.INPUT, 64), (What.OUTPUT, 10), (What.OUTPUT_GRAD, 10)):
            self.slot(what, 0, (64, width), "nu")
        self.slot(What.LOSS, 0, (16,))
        model = Model(name="model", kind="Net", parameters=0, trainable=0, loss="cross_entropy")
        plan = Plan(
            id=1,
            layers=tuple(self.layers),
            models=(model,),
            optimizers=(),
            slots=tuple(self.slots),
            payload_bytes=4 * self.size,
        )
        frames = []
        for step in range(AT_ONCE):
            payload = rng.normal(size=self.size).astype(np.float32)
            self._fill_norms(payload)
            self._fill_gradient(payload, rng)
            header = FrameHeader(
                plan=1,
                step=step,
                time=0.0,
                present=b"\1" * len(self.slots),
                loss_first_step=step,
                loss_count=1,
            )
            frames.append(RawFrame(header, payload))
        return plan, frames

    def _fill_norms(self, payload: np.ndarray) -> None:
        """Outputs that are lines of the inputs."""
        slots = {(slot.what, slot.index): slot for slot in self.slots}
        for (what, index), slot in slots.items():
            if what is What.LAYER_INPUT:
                size, out = int(np.prod(slot.shape)), slots[What.ACTIVATION, index].offset
                payload[out : out + size] = payload[slot.offset : slot.offset + size]

    def _fill_gradient(self, payload: np.ndarray, rng: np.random.Generator) -> None:
        """A true cross entropy gradient, so that labels are inferred as in a run."""
        by_kind = {slot.what: slot for slot in self.slots}
        out, grad = by_kind[What.OUTPUT], by_kind[What.OUTPUT_GRAD]
        logits = payload[out.offset : out.offset + 640].reshape(64, 10)
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        p[np.arange(64), rng.integers(0, 10, 64)] -= 1
        payload[grad.offset : grad.offset + 640] = p.reshape(-1) / 64


def mlp(width: int) -> Sketch:
    """Four linear layers with ReLU between."""
    sketch = Sketch()
    for place in range(4):
        sketch.layer("Linear", (32, width if place < 3 else 10), "nu", width)
        if place < 3:
            sketch.layer("ReLU", (32, width), "nu")
    return sketch


def deep(rows: int) -> Sketch:
    """300 layers as a convolutional network has them: convolution, norm and activation in turn."""
    sketch = Sketch()
    for _ in range(100):
        sketch.layer("Conv2d", (rows, 64, 16), "nup", 64)
        sketch.layer("BatchNorm2d", (rows, 64, 16), "nup")
        sketch.layer("ReLU", (rows, 64, 16), "nup")
    return sketch


def transformer(blocks: int) -> Sketch:
    """Blocks of attention and two linear layers over sequences."""
    sketch = Sketch()
    for _ in range(blocks):
        sketch.layer("LayerNorm", (32, 4, 128), "npu")
        sketch.layer("Linear", (32, 4, 384), "npu", 128)
        sketch.attention(32, 128)
        sketch.layer("Linear", (32, 4, 128), "npu", 128)
        sketch.layer("GELU", (32, 4, 512), "npu")
    return sketch


def milliseconds(sketch: Sketch, rounds: int) -> float:
    """Best of `rounds` passes over 16 frames, a sample."""
    plan, frames = sketch.frames(np.random.default_rng(0))
    statistician = Statistician()
    statistician.adopt(plan)
    best = np.inf
    for _ in range(rounds):
        start = process_time()
        statistician.measure(frames)
        best = min(best, process_time() - start)
    return 1e3 * best / AT_ONCE


def main() -> None:
    """Print the table."""
    for name, sketch in (
        ("4-layer MLP, width 64", mlp(64)),
        ("4-layer MLP, width 128", mlp(128)),
        ("4-layer MLP, width 512", mlp(512)),
        ("transformer, 6 blocks", transformer(6)),
        ("300 layers, 4 rows", deep(4)),
        ("300 layers, 8 rows", deep(8)),
    ):
        taken = milliseconds(sketch, ROUNDS)
        print(f"{name:24} {4 * sketch.size / 1e6:6.1f} MB  {taken:7.2f} ms a sample")


if __name__ == "__main__":
    main()
