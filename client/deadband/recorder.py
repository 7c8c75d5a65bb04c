"""Keeps the layers and cells of a run, makes the plan from them and writes frames. No torch.

The first sampled step fills cells that own their memory; at its end the plan is made from what was
seen, the arena is opened and that step is written as its first frame. The same happens again
whenever layers or shapes change.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from deadband import wire
from deadband.arena import MOST_PAYLOAD_BYTES, SHORTEST, Arena, shared_folder
from deadband.cells import Cell
from deadband.ledger import Ledger, figure, figures, given
from deadband.loan import LOAN
from deadband.places import Places, base_of
from deadband.regions import Layout, Limits
from deadband.sender import Link
from deadband.wire import Layer, Model, OptimizerGroup, Plan, Slot, What

if TYPE_CHECKING:
    from deadband.device import Fleet

_GLANCE_S = 0.002
"""How often is looked whether the hub has taken a frame, once training is over."""
MOST_PLANS = 32
"""A loop whose shapes change for ever is followed so often; then what does not fit is left out."""
MOST_SETTINGS = 8
"""Plans that are made because of a dropout or a weight decay: some loops turn theirs on and off."""


@dataclass(slots=True, eq=False)
class Entry:
    """One layer, or one model (`layer` None), and its cells."""

    name: str
    model: str
    describe: Callable[[], Layer] = field(init=False)
    """Says what the plan says of the layer; set once the entry exists."""
    layout: Layout = Layout.UNITS_LAST
    order: float = math.inf
    """Order of first execution; parameters that no forward has shown come last."""
    beside: Entry | None = None
    """The layer that this is a further weight of: it stands behind it."""
    shared: int = 0
    """Elements of its weight that count at another layer, where weights are tied."""
    turns: int = 0
    """Times that its weight was frozen or thawed."""
    cells: dict[What, Cell] = field(default_factory=dict)
    sources: dict[What, tuple[int, ...]] = field(default_factory=dict)
    """Whole shapes where a cell sees a view: weights."""


@dataclass(slots=True, eq=False)
class ModelEntry:
    """One model and its cells."""

    name: str
    describe: Callable[[], Model]
    cells: dict[What, Cell] = field(default_factory=dict)


class Recorder:
    """Turns filled cells into frames.

    Args:
        run: run id; part of the arena's file name.
        link: takes each new plan before its first frame, and frames where memory cannot be shared.
    """

    def __init__(self, run: str, link: Callable[[], Link]) -> None:
        self.entries: list[Entry] = []
        self.models: list[ModelEntry] = []
        self.optimizers: Callable[[], tuple[OptimizerGroup, ...]] = tuple
        self.plan: Plan | None = None
        self.arena: Arena | None = None
        self.samples = 0
        self.dropped = 0
        self.changed = True
        """Whether layers or cells came that the plan does not hold."""
        self.inline = False
        """Whether frames travel in messages though there is shared memory."""
        self.most_bytes = MOST_PAYLOAD_BYTES
        """What a frame may take."""
        self._run = run
        self.fleet: Fleet | None = None
        """Frames that are on their way from devices, where the plan holds any of theirs."""
        self._link = link
        self._plans = 0
        self._settings = 0
        self._flat: list[Cell] = []
        """The cells of the plan, in the order of its slots behind the first, the losses."""
        self._staging: NDArray[np.float32] | None = None
        """A frame as it is filled, where it is not filled in its place in the ring."""
        self._places: Places | None = None
        self._cuts = 0
        """`Cell.cuts` when the plan was last compared with the cells."""
        self._executed = 0
        self._shares_memory = True

    def add(self, entry: Entry) -> None:
        """A layer was found."""
        self.entries.append(entry)
        self.changed = True

    def set_anew(self) -> None:
        """A model or an optimiser is set otherwise than the plan says."""
        if self._settings < MOST_SETTINGS:
            self._settings += 1
            self.changed = True

    def drop(self, entry: Entry) -> None:
        """The layer turned out to be another one's inside."""
        self.entries.remove(entry)
        self.changed = True

    def executed(self, entry: Entry) -> None:
        """The layer was called; the order of first calls is the order of the plan."""
        if entry.order == math.inf:
            self._executed += 1
            entry.order = self._executed
            if LOAN.lent_bytes > MOST_PAYLOAD_BYTES and self.plan is None:
                # All of it would not fit a frame: what is known is cut to size at once, so that a
                # large model's first sample takes no more memory than any other's.
                LOAN.lent_bytes = _squeeze(list(self.cells()), self.most_bytes)

    def cells(self) -> Iterable[Cell]:
        """All cells."""
        for model in self.models:
            yield from model.cells.values()
        for entry in self.entries:
            yield from entry.cells.values()

    def begin(self) -> None:
        """A sampled step begins: nothing is copied yet."""
        if self.changed or self._places is None:
            for cell in self.cells():
                cell.filled = False
        if self._places is not None:
            self._places.enter()
        if self.fleet is not None:
            self.fleet.enter()
            self.fleet.clock.begin()

    @property
    def has_room(self) -> bool:
        """Whether a frame could be written now."""
        if self.plan is None:
            return True
        if self._has_room:
            return True
        if self.arena is None or not self.arena.failed:
            return False
        self._lose_arena()
        return self._has_room

    @property
    def _has_room(self) -> bool:
        if self.fleet is not None:
            self.fleet.land()
            if not self.fleet.has_room:
                return False
        return self._link().is_free if self.arena is None else self.arena.has_room

    def has_room_for(self, step: int, interval: int) -> bool:
        """Whether its frame is to be written: of every step's fewer and fewer while the hub starts.

        Args:
            step: its number.
            interval: steps between two frames.
        """
        stride = self.stride or 1
        return self.has_room and (interval >= stride or step // interval % stride == 0)

    @property
    def stride(self) -> int:
        """See `Arena`."""
        return 1 if self.arena is None else self.arena.stride

    def write(
        self, step: int, time: float, ledger: Ledger, *, skipped: bool, cost_s: float
    ) -> bool:
        """Write what the cells hold as the frame of `step`; False where it was dropped."""
        # What flies lands by the plan that it was copied by.
        self.land()
        flying = self.fleet is not None and self.fleet.is_busy
        if self.plan is None or (self._outgrown() and self._plans < MOST_PLANS and not flying):
            self._replan()
        assert self.plan is not None
        if not self._has_room:
            self.dropped += 1
            return False
        first, losses = ledger.take_losses(step)
        points = ledger.take_scalars()
        header = wire.FrameHeader(
            plan=self.plan.id,
            step=step,
            time=time,
            present=self._present(),
            loss_first_step=first,
            loss_count=len(losses),
            loss_given=given(losses),
            skipped=skipped,
            cost_s=cost_s,
            scalars={} if self.fleet is not None else _by_name(points),
        )
        self.samples += 1
        if self.fleet is None:
            self._store(header, losses)
            return True
        from deadband.device import on_host

        landing = on_host(losses + [value for _, _, value in points])
        points = [
            (name, at, value)
            for (name, at, _), value in zip(points, landing[len(losses) :], strict=True)
        ]
        self.fleet.launch(partial(self._landed, header, landing[: len(losses)], points))
        self.fleet.clock.step()
        return True

    def _present(self) -> bytes:
        """Of each slot, whether it holds anything in this frame."""
        return bytes([1, *[cell.filled and not cell.recut for cell in self._flat]])

    def write_rest(self, step: int, time: float, ledger: Ledger) -> None:
        """Write the losses and scalars since the last sample as a frame that measures nothing.

        They are all that tells of the last steps, so a hub that is behind, or is still starting, is
        waited for as long as its link is.
        """
        if self.plan is not None and (ledger.losses or ledger.has_scalars):
            deadline = monotonic() + self._link().patience_s
            while not self.has_room and monotonic() < deadline:
                sleep(_GLANCE_S)
            self.begin()
            if self.write(step, time, ledger, skipped=False, cost_s=0.0):
                self.samples -= 1

    def land(self, *, wait: bool = False) -> None:
        """Store the frames that were on their way from devices, if they have arrived."""
        if self.fleet is not None:
            self.fleet.land(wait=wait)

    def _landed(
        self, header: wire.FrameHeader, losses: list[Any], points: list[tuple[str, int, Any]]
    ) -> None:
        """What was on its way from devices is there."""
        self._store(msgspec.structs.replace(header, scalars=_by_name(points)), losses)

    def _store(self, header: wire.FrameHeader, losses: list[Any]) -> None:
        """Everything is there: the frame goes to the hub."""
        payload = self._staging
        if payload is None:
            assert self.arena is not None
            payload = self.arena.payload(self.arena.place)
        payload[: len(losses)] = figures(losses)
        packed = _packed(header)
        if self.arena is not None:
            self.arena.write(packed, self._staging)
        else:
            self._link().post(wire.Frame(header=packed, payload=payload.tobytes()))

    def resize(self, most_bytes: int) -> None:
        """Frames of another size from the next sample on."""
        self.most_bytes = most_bytes
        for cell in self.cells():
            cell.grow()
        self.changed = True

    def close(self, *, unlink: bool) -> None:
        """Let go of the arena; `unlink` where no hub will do it."""
        self._places = None
        for cell in self.cells():
            cell.let_go()
        if self.arena is not None:
            self.arena.close(unlink=unlink)
            self.arena = None

    def _lose_arena(self) -> None:
        """There was no room for all of it: frames travel in messages from now on."""
        assert self.arena is not None
        if self._places is not None:
            self._places = None
            for cell in self._flat:
                cell.settle(np.zeros(cell.region.shape, np.float32))
        self.arena.close(unlink=False)  # the hub drains it and unlinks it
        self.arena = None
        self._shares_memory = False
        self.changed = True

    def _outgrown(self) -> bool:
        """Whether cells came or were cut anew since the plan was made."""
        if not self.changed and self._cuts != Cell.cuts:
            self._cuts = Cell.cuts
            count = sum([len(model.cells) for model in self.models])
            count += sum([len(entry.cells) for entry in self.entries])
            self.changed = count != len(self._flat) or any(cell.recut for cell in self._flat)
        return self.changed

    def _replan(self) -> None:
        """Lay all cells out anew, open an arena for them, say so to the hub."""
        cells = list(self.cells())
        _squeeze(cells, self.most_bytes)
        self.entries.sort(key=lambda entry: (entry.beside or entry).order)
        self._flat = []
        slots = [Slot(what=What.LOSS, index=0, offset=0, shape=(wire.LOSS_CAPACITY,))]
        offset = wire.LOSS_CAPACITY
        owners: list[tuple[int, ModelEntry | Entry]] = [*enumerate(self.models)]
        owners += [*enumerate(self.entries)]
        for index, owner in owners:
            sources = owner.sources if isinstance(owner, Entry) else {}
            for what, cell in owner.cells.items():
                slots.append(
                    Slot(
                        what=what,
                        index=index,
                        offset=offset,
                        shape=cell.region.shape,
                        axes=cell.region.axes if what not in WEIGHTS else "",
                        source=sources.get(what, cell.source),
                        dtype=cell.dtype,
                    )
                )
                self._flat.append(cell)
                offset += cell.region.size
        self.changed = False
        self._plans += 1
        held, self._places = self.arena, None
        self.arena = self._new_arena(offset * 4)
        self._settle(slots[1:], offset)
        if held is not None:
            held.close(unlink=False)  # the hub drains it and unlinks it
        self.plan = Plan(
            id=self._plans,
            layers=tuple(entry.describe() for entry in self.entries),
            models=tuple(model.describe() for model in self.models),
            optimizers=self.optimizers(),
            slots=tuple(slots),
            payload_bytes=offset * 4,
            arena=str(self.arena.path) if self.arena else "",
        )
        self._link().post(self.plan)

    def _new_arena(self, payload_bytes: int) -> Arena | None:
        """None without shared memory: frames travel in messages then."""
        if self.inline or not self._shares_memory:
            return None
        name = f"deadband-{os.getpid()}-{self._run}-{self._plans}"
        try:
            return Arena(shared_folder() / name, payload_bytes)
        except OSError:
            return None

    def _settle(self, slots: list[Slot], size: int) -> None:
        """Move what the cells hold into the frame that is written next, and the cells with it."""
        arena = self.arena if self.arena and Places.suit(self.arena, self._flat) else None
        self._staging = np.zeros(size, np.float32) if arena is None else None
        payload = self._staging if arena is None else arena.payload(arena.place)
        assert payload is not None
        base = base_of(payload, self._flat)
        for slot, cell in zip(slots, self._flat, strict=True):
            target = payload[slot.offset : slot.offset + cell.region.size]
            target = target.reshape(cell.region.shape)
            target[...] = cell.held()
            if cell.on_device:
                cell.settle(target)
            else:
                cell.made, cell.address = cell.place_at(payload, base, slot.offset)
                cell.frame = None
            cell.recut = False
        LOAN.lent_bytes = 0
        self.fleet = None
        if any(cell.on_device for cell in self._flat):
            from deadband.device import Fleet

            self.fleet = Fleet(self._flat)
        if arena is not None:
            self._places = Places(arena, self._flat, [slot.offset for slot in slots])


_CELL_BYTES = 2500
"""About what a cell takes, with its target, its slot in the plan and its share of a layer."""
WEIGHTS = frozenset({What.WEIGHT, What.WEIGHT_BEFORE, What.WEIGHT_GRAD, What.GRAD_LEFT})


def _squeeze(cells: list[Cell], most_bytes: int) -> int:
    """Halve rows, then features, until a frame fits the shortest ring, or `most_bytes`.

    Returns:
        Bytes of all cells.
    """
    limits = None
    # What the cells themselves take counts, too: all of it together is bounded.
    most = MOST_PAYLOAD_BYTES - 4 * wire.LOSS_CAPACITY - len(cells) * _CELL_BYTES // SHORTEST
    most = min(max(most, MOST_PAYLOAD_BYTES // 8), most_bytes)
    while (size := 4 * sum(cell.region.size for cell in cells)) > most:
        limits = _halved(limits or max((cell.limits for cell in cells), key=lambda each: each.rows))
        if limits is None:
            break
        for cell in cells:
            if cell.what not in WEIGHTS:
                cell.shrink(
                    replace(
                        cell.limits,
                        rows=min(cell.limits.rows, limits.rows),
                        features=min(cell.limits.features, limits.features),
                        channels=min(cell.limits.channels, limits.channels),
                    )
                )
            elif limits.features < cell.limits.features:
                cell.shrink(replace(cell.limits, rows=limits.features, features=limits.features))
    return size


def _halved(limits: Limits) -> Limits | None:
    if limits.rows > 4:
        return replace(limits, rows=limits.rows // 2)
    if limits.features > 1:
        return replace(limits, features=limits.features // 2, channels=max(1, limits.channels // 2))
    return None


def _by_name(points: list[tuple[str, int, Any]]) -> dict[str, list[tuple[int, float]]]:
    scalars: dict[str, list[tuple[int, float]]] = {}
    for name, step, value in points:
        scalars.setdefault(name, []).append((step, figure(value)))
    return scalars


def _packed(header: wire.FrameHeader) -> bytes:
    """The header as bytes; scalars are thinned out until it fits its place."""
    packed = msgspec.msgpack.encode(header)
    while len(packed) > wire.FRAME_HEADER_BYTES - 4 and header.scalars:
        thinned = {
            name: points[::-1][::2][::-1]  # keeps the newest
            for name, points in header.scalars.items()
        }
        if max(map(len, thinned.values())) == 1:
            thinned = {}
        header = msgspec.structs.replace(header, scalars=thinned)
        packed = msgspec.msgpack.encode(header)
    return packed
