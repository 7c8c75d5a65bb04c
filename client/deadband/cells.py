"""One slot of a frame as the training thread fills it: a bounded copy of one tensor.

A cell works without torch, too: arrays are copied by numpy, tensors by `copy_`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deadband.blocks import contiguous, is_block, move
from deadband.loan import LOAN
from deadband.regions import Layout, Limits, Region, region_of
from deadband.wire import What

PATIENCE = 3
"""Samples in a row of another shape before the slot is cut anew; the odd last batch is left out."""
WIDER = 2
"""Times the rows of a slot that a tensor must have to be held, for the slot to be cut anew at once:
a few times at most, where batches differ in size."""


class CurrentFrame:
    """The frame of the ring that is filled now; all cells of a plan share one of these."""

    __slots__ = ("address", "base", "payload")
    address: int
    """Where its payload lies."""
    base: Any
    """The payload as a tensor; None without torch."""
    payload: NDArray[np.float32]


_TOGETHER = frozenset(
    {
        What.WEIGHT,
        What.WEIGHT_BEFORE,
        What.WEIGHT_GRAD,
        What.GRAD_LEFT,
        What.BIAS,
        What.RUNNING_MEAN,
        What.RUNNING_VAR,
        What.TESTED_MEAN,
        What.TESTED_NEXT,
    }
)
"""Copied by torch, many in one call, even where they are blocks of memory."""


class Cell:
    """Where one slice of one tensor goes.

    Until the plan is made the cell owns its memory; then it is led to its place in each frame.
    """

    cuts = 0
    """How often any was made or cut anew: as long as this stands still, so do all plans."""
    moves = 0
    """How often any was given other memory than its place in the frames."""
    array: NDArray[np.float32]
    """Where what has arrived from a device goes."""
    address: int
    """Address of `made`, where whole blocks may be moved there; else 0."""
    frame: CurrentFrame | None
    """What the cell is led through; None where `made` and `address` stand."""
    made: Any
    """Target of copies as a tensor or an array; led cells that are not loose need none."""
    offset: int
    """Where the slot begins in a payload, in elements; `place`: in bytes."""
    place: int
    picked: tuple[int, ...]
    """Shape of the slice as the tensor has it."""
    block: int
    """Bytes of the slice where it is one piece of memory of a contiguous tensor; else 0."""
    strides: Any
    """Strides of the tensors that `cut` is good for."""
    cut: Any
    """Shape, strides and offset of the slice."""
    __slots__ = (
        "address",
        "array",
        "block",
        "cut",
        "device",
        "dtype",
        "filled",
        "frame",
        "layout",
        "limits",
        "made",
        "misfits",
        "narrowed",
        "offset",
        "on_device",
        "picked",
        "place",
        "plain",
        "recut",
        "region",
        "source",
        "strides",
        "wanted",
        "what",
        "whole",
    )

    def __init__(
        self,
        what: What,
        source: tuple[int, ...],
        region: Region,
        *,
        layout: Layout,
        limits: Limits,
        dtype: str,
        device: Any = None,
    ) -> None:
        self.what = what
        self.source = source
        self.region = region
        self.layout = layout
        self.limits = self.wanted = limits
        self.dtype = dtype
        self.device = device
        """The torch device of the tensors; None for arrays."""
        self.on_device = False
        if device is not None:
            from deadband.device import is_device

            self.on_device = is_device(device)
        self.filled = False
        self.frame = None
        self.made = None
        self.offset = self.place = 0
        self.recut = True
        """Whether the plan does not hold this cell as it is."""
        Cell.cuts += 1
        self.misfits = 0
        self.narrowed = False
        """Whether it was cut anew by a smaller tensor; it then stays as it is."""
        self.plain: Any = None
        """The type of tensors that may be moved as blocks of memory; None where none may."""
        if device is not None and device.type == "cpu" and dtype == "float32":
            import torch

            self.plain = torch.float32
        self.settle(LOAN.array(region.shape))

    def settle(self, array: NDArray[np.float32]) -> None:
        """Copy into `array` from now on; by way of the device's own memory where tensors are."""
        self._look_anew()
        self.frame = None
        Cell.moves += 1
        if self.on_device:
            import torch

            self.array = array
            before = self.made
            if before is None or before.shape != self.picked:
                before = torch.zeros(self.picked, dtype=torch.float32, device=self.device)
            self.made, self.address = before, 0
        else:
            self.made, self.address = self.place_in(array)

    @property
    def is_loose(self) -> bool:
        """Whether a target is made in each frame, as for whatever is not moved as one block."""
        return not self.block or self.what in _TOGETHER

    @property
    def dest(self) -> Any:
        """Where copies go: a tensor or array of shape `picked`, on the device of the tensors."""
        frame = self.frame
        if frame is None or self.is_loose:
            return self.made
        return self.place_at(frame.payload, frame.base, self.offset)[0]

    def place_in(self, array: NDArray[np.float32]) -> tuple[Any, int]:
        """`dest` and `address` for copies into `array`."""
        dest: Any = array
        if self.device is not None:
            import torch

            dest = torch.from_numpy(array)
        if self.region.swapped:
            dest = dest.swapaxes(0, 1)
        dest = dest.reshape(self.picked)
        return dest, dest.data_ptr() if self.block else 0

    def place_at(self, payload: NDArray[np.float32], base: Any, offset: int) -> tuple[Any, int]:
        """`dest` and `address` for copies to `offset` in a payload; `base`: the same as tensor.

        One call of torch makes a target, and nothing but it is kept.
        """
        region = self.region
        if self.device is None:
            end = offset + region.size
            return self.place_in(payload[offset:end].reshape(region.shape))
        strides = contiguous(region.picked)
        if region.swapped:
            first, second, *rest = contiguous(region.shape)
            strides = (second, first, *rest)
        dest = base.as_strided(region.picked, strides, offset)
        return dest, dest.data_ptr() if self.block else 0

    def held(self) -> NDArray[np.float32]:
        """What was copied, in canonical order."""
        if self.on_device:
            return self.array
        dest = self.dest
        values: NDArray[np.float32] = dest if self.device is None else dest.numpy()
        if self.region.swapped:
            values = values.swapaxes(0, 1)
        return values.reshape(self.region.shape)

    def let_go(self) -> None:
        """Nothing is copied any more: the memory is not ours."""
        self.address, self.filled, self.frame = 0, True, None
        self.made, self.array = None, np.zeros(0, np.float32)

    def berth_at(self, memory: Any) -> None:
        """Copy into this memory of the device from now on, where the slice has its size."""
        if memory.numel() == self.region.size:
            self.made = memory.view(self.picked)

    def take(self, tensor: Any) -> None:
        """Copy the slice of a tensor."""
        if tensor.shape != self.source:
            if not self._fits(tuple(tensor.shape)):
                return
        elif self.misfits:
            self.misfits = 0
        frame = self.frame
        if (
            (block := self.block)
            and (address := self.address if frame is None else frame.address + self.place)
            and tensor.dtype is self.plain
            and tensor.is_contiguous()
            and (source := tensor.data_ptr())
        ):
            move(address, source, block)
        elif self.on_device:
            from deadband.device import RUNTIME

            if RUNTIME.is_capturing():
                return  # a CUDA graph would copy for good
            self.dest.copy_(self._part(tensor), non_blocking=True)
        else:
            self.dest.copy_(self._part(tensor))
        self.filled = True

    def add(self, tensor: Any) -> None:
        """Add the slice of a gradient to one that came before in the same step."""
        if tensor.shape == self.source:
            self.dest.add_(self._part(tensor))

    def take_array(self, array: NDArray[Any]) -> None:
        """Copy the slice of an array."""
        if array.shape == self.source:
            self.misfits = 0
        elif not self._fits(array.shape):
            return
        np.copyto(self.dest, array[self.region.index], casting="unsafe")
        self.filled = True

    def shrink(self, limits: Limits) -> None:
        """Hold less of the tensor, and keep the matching part of what was copied."""
        region = region_of(self.source, self.layout, limits)
        if region is None or region.shape == self.region.shape:
            return
        kept = LOAN.array(region.shape)
        kept[...] = self.held()[tuple(slice(size) for size in region.shape)]
        self.region, self.limits = region, limits
        Cell.cuts += 1
        before = self.dest
        self.settle(kept)
        if self.on_device:
            self.dest.copy_(before[tuple(slice(size) for size in self.picked)])

    def grow(self) -> None:
        """Hold as much of the tensor as at first, from the next copy on."""
        region = region_of(self.source, self.layout, self.wanted)
        if region is None or region.shape == self.region.shape:
            return
        self.region, self.limits = region, self.wanted
        self.filled, self.recut = False, True
        Cell.cuts += 1
        self.settle(LOAN.array(region.shape))

    def _part(self, tensor: Any) -> Any:
        """The slice of a tensor, as a view.

        One call of `as_strided` instead of one slicing an axis: half the price. What it needs is
        learnt from the first tensor of these strides.
        """
        part = tensor.detach() if tensor.requires_grad else tensor
        if self.whole:
            return part
        strides = part.stride()
        if strides == self.strides:
            size, steps, offset = self.cut
            return part.as_strided(size, steps, part.storage_offset() + offset)
        view = part[self.region.index]
        self.strides = strides
        self.cut = (view.shape, view.stride(), view.storage_offset() - part.storage_offset())
        return view

    def _look_anew(self) -> None:
        """Shape or region have changed."""
        self.picked = self.region.picked
        self.whole = self.picked == self.source
        self.strides = None
        self.cut = None
        self.block = 0
        # A view of imaginary parts whose sign is yet to be turned is contiguous only where it is of
        # one number: that is the one size at which a block of memory is not what it looks like.
        size = self.region.size if self.plain is not None and not self.on_device else 0
        if size > 1 and is_block(self.region, self.source):
            self.block = 4 * size

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether a tensor of another shape has a slice of the slot's shape; cut anew if not."""
        rows, *_ = self.region.shape
        held = replace(self.limits, rows=rows if "n" in self.region.axes else self.limits.rows)
        region, whole = (region_of(shape, self.layout, each) for each in (held, self.limits))
        if region is not None and region.shape == self.region.shape:
            # What came first was a batch of few rows, and is not what all are cut by.
            wider = "n" in self.region.axes and not self.narrowed
            if whole is None or not (wider and whole.shape[0] >= WIDER * rows):
                values = self.held()
                self.source, self.region, self.misfits = shape, region, 0
                self.settle(values)
                return True
        else:
            self.misfits += 1
            if self.misfits < PATIENCE or whole is None:
                return False
            self.narrowed = True
        self.source, self.region, self.misfits, self.recut = shape, whole, 0, True
        Cell.cuts += 1
        self.settle(LOAN.array(whole.shape))
        return True


def make_cell(
    what: What, tensor: Any, layout: Layout, limits: Limits, *, array: bool = False
) -> Cell | None:
    """A cell for tensors (or arrays) like this one; None where there is nothing to copy."""
    source = tuple(tensor.shape)
    region = region_of(source, layout, limits)
    if region is None:
        return None
    return Cell(
        what,
        source,
        region,
        layout=layout,
        limits=limits,
        dtype=str(tensor.dtype).removeprefix("torch."),
        device=None if array else tensor.device,
    )
