"""A plain slow reader of the arena, by the words of `deadband.wire` alone."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from deadband import wire
from deadband.wire import FrameHeader, Plan, What

Floats = NDArray[np.float32]


def linear_of(module: nn.Module) -> nn.Linear:
    """The module, which is a linear layer: torch's types lose that in a container."""
    assert isinstance(module, nn.Linear)
    return module


def grad_of(tensor: Tensor) -> Tensor:
    """The gradient of a tensor after a backward pass."""
    assert tensor.grad is not None
    return tensor.grad


class Frames:
    """All frames that lie in the arena of one plan, oldest first."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        raw = Path(plan.arena).read_bytes()
        magic, version, self.length, self.frame_bytes = wire.ARENA_HEAD.unpack_from(raw)
        assert magic == wire.ARENA_MAGIC
        assert version == wire.VERSION
        self.head = int.from_bytes(raw[64:72], "little")
        self.headers: list[FrameHeader] = []
        self.payloads: list[Floats] = []
        for number in range(max(0, self.head - self.length), self.head):
            start = wire.ARENA_FRAMES_OFFSET + number % self.length * self.frame_bytes
            size = int.from_bytes(raw[start : start + 4], "little")
            header = msgspec.msgpack.decode(raw[start + 4 : start + 4 + size], type=FrameHeader)
            begin = start + wire.FRAME_HEADER_BYTES
            payload = np.frombuffer(raw, "<f4", plan.payload_bytes // 4, begin)
            self.headers.append(header)
            self.payloads.append(payload)

    @property
    def steps(self) -> list[int]:
        return [header.step for header in self.headers]

    @property
    def layers(self) -> list[str]:
        return [layer.name for layer in self.plan.layers]

    def of(self, what: What, owner: str, frame: int = -1) -> Floats | None:
        """The slice of a layer (or model) in a frame; None where it is not present."""
        names = [model.name for model in self.plan.models] if what in _MODELS else self.layers
        for position, slot in enumerate(self.plan.slots):
            if slot.what is what and names[slot.index] == owner:
                if not self.headers[frame].present[position]:
                    return None
                size = int(np.prod(slot.shape))
                return self.payloads[frame][slot.offset : slot.offset + size].reshape(slot.shape)
        return None

    def held(self, what: What, owner: str, frame: int = -1) -> Floats:
        """The slice of a layer (or model) in a frame that has it."""
        values = self.of(what, owner, frame)
        assert values is not None, f"no {what.name} of {owner}"
        return values

    def has(self, slot: wire.Slot, frame: int) -> bool:
        """Whether a frame holds this slot."""
        return bool(self.headers[frame].present[self.plan.slots.index(slot)])

    def slot(self, what: What, owner: str) -> wire.Slot:
        names = [model.name for model in self.plan.models] if what in _MODELS else self.layers
        return next(
            slot for slot in self.plan.slots if slot.what is what and names[slot.index] == owner
        )

    def losses(self) -> list[tuple[int, float]]:
        """(step, loss) of all frames."""
        points: list[tuple[int, float]] = []
        for header, payload in zip(self.headers, self.payloads, strict=True):
            points += [
                (header.loss_first_step + number, float(payload[number]))
                for number in range(header.loss_count)
            ]
        return points


_MODELS = (What.INPUT, What.OUTPUT, What.OUTPUT_GRAD, What.TARGET)
