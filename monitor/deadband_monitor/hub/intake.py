"""Takes frames from clients: out of the arena in shared memory, or out of messages.

One `Inbox` a client. Frames are copied out as they are seen and the room is given back at once, so
that the training process never waits for a statistic.
"""

from __future__ import annotations

import logging
import mmap
import struct
from collections import deque
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np

from deadband.wire import (
    ARENA_FRAMES_OFFSET,
    ARENA_HEAD,
    ARENA_HEAD_OFFSET,
    ARENA_MAGIC,
    ARENA_TAIL_OFFSET,
    FRAME_HEADER_BYTES,
    VERSION,
    Frame,
    FrameHeader,
    Plan,
)
from deadband_monitor.statistics.values import RawFrame

BATCH_FRAMES = 64
BATCH_BYTES = 16 << 20
"""What is taken at once at most: bounds the hub's memory and how long viewers wait meanwhile."""
WAITING_FRAMES = 256
"""Frames sent inside messages that may wait; older ones go first ..."""
WAITING_BYTES = 64 << 20
"""... as they do beyond this."""

_LENGTH = struct.Struct("<I")
_decode_header = msgspec.msgpack.Decoder(FrameHeader).decode
_log = logging.getLogger(__name__)


class BadArena(Exception):  # noqa: N818 - named for the file's state
    """The file is not an arena that this version reads."""


class Arena:
    """The reading end of a ring of frames in shared memory.

    Raises:
        BadArena: at construction.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("r+b") as file:
                self._memory = mmap.mmap(file.fileno(), 0)
        except (OSError, ValueError) as error:
            raise BadArena(f"cannot map {path}: {error}") from error
        if len(self._memory) < ARENA_FRAMES_OFFSET:
            raise BadArena(f"{path} is too small for an arena")
        magic, version, self.length, self.frame_bytes = ARENA_HEAD.unpack_from(self._memory, 0)
        if magic != ARENA_MAGIC or version != VERSION:
            raise BadArena(f"{path} is an arena of version {version}, this hub reads {VERSION}")
        if len(self._memory) < ARENA_FRAMES_OFFSET + self.length * self.frame_bytes:
            raise BadArena(f"{path} is shorter than its head says")
        # One aligned 8-byte load or store each: struct would go byte by byte, and see half a count.
        self._head = np.frombuffer(self._memory, np.uint64, 1, ARENA_HEAD_OFFSET)
        self._tail = np.frombuffer(self._memory, np.uint64, 1, ARENA_TAIL_OFFSET)
        self._taken = int(self._tail[0])
        self._copies = np.empty((0, 0), np.float32)
        self._gathered: list[RawFrame] = []

    @property
    def waiting(self) -> int:
        """Frames that the client has finished and nobody has taken."""
        return len(self._gathered) + self._in_ring

    @property
    def _in_ring(self) -> int:
        return max(int(self._head[0]) - self._taken, 0)

    @property
    def filled(self) -> float:
        """Share of the ring that has not been copied."""
        return self._in_ring / int(self.length)

    @property
    def is_crowded(self) -> bool:
        """Whether a batch is full; the ring fills from now on."""
        return 0 < len(self._copies) == len(self._gathered) or 4 * self._in_ring >= self.length

    def gather(self, plan: Plan) -> None:
        """Copy what there is of the next batch, and give its room in the ring back.

        So a batch may be larger than the ring, and waits for its last frame in the hub's memory.
        Stops ahead of a frame that a later plan made: that plan's message is still under way.
        """
        gathered = self._gathered
        floats = plan.payload_bytes // 4
        most = max(1, min(BATCH_FRAMES, -(-BATCH_BYTES // max(1, plan.payload_bytes))))
        if not gathered and self._copies.shape != (most, floats):
            # Kept from batch to batch: the pages of new memory take as long as the copy.
            self._copies = np.empty((most, floats), np.float32)
        waiting = self._in_ring
        while waiting and len(gathered) < len(self._copies):
            start = ARENA_FRAMES_OFFSET + self._taken % self.length * self.frame_bytes
            header = self._header(start)
            if header is not None and header.plan > plan.id:
                break
            if header is not None and header.plan == plan.id:
                payload = self._copies[len(gathered)]
                payload[:] = np.frombuffer(
                    self._memory, np.float32, floats, start + FRAME_HEADER_BYTES
                )
                gathered.append(RawFrame(header=header, payload=payload))
            self._taken += 1
            waiting -= 1
        self._tail[0] = self._taken

    def take(self, plan: Plan) -> list[RawFrame]:
        """A batch of frames made by `plan`; they stay as they are until more is gathered."""
        self.gather(plan)
        frames, self._gathered = self._gathered, []
        return frames

    def close(self) -> None:
        """Unmap and remove the file: the hub is the last to need it."""
        del self._head, self._tail  # a map cannot be closed while arrays look into it
        self._memory.close()
        with suppress(OSError):
            self.path.unlink()

    def _header(self, start: int) -> FrameHeader | None:
        (length,) = _LENGTH.unpack_from(self._memory, start)
        if length > FRAME_HEADER_BYTES - _LENGTH.size:
            _log.warning("a frame with a header of %d bytes was left out", length)
            return None
        first = start + _LENGTH.size
        try:
            return _decode_header(self._memory[first : first + length])
        except msgspec.MsgspecError as error:
            _log.warning("a frame with an unreadable header was left out: %s", error)
            return None


class Inbox:
    """What one client has sent and nobody has measured yet."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self._arena: Arena | None = None
        self._inline: deque[RawFrame] = deque()
        self.dropped = 0
        """Frames that were not waited for any longer."""

    @property
    def waiting(self) -> int:
        """Frames that `take` would give, now or in the next calls."""
        return len(self._inline) + (self._arena.waiting if self._arena else 0)

    @property
    def has_arena(self) -> bool:
        """Whether its frames lie in shared memory."""
        return self._arena is not None

    @property
    def filled(self) -> float:
        """Share of its arena that nobody has copied yet."""
        return self._arena.filled if self._arena is not None else 0.0

    @property
    def is_crowded(self) -> bool:
        """Whether so many wait that the client may soon find no room."""
        return len(self._inline) > WAITING_FRAMES // 4 or (
            self._arena is not None and self._arena.is_crowded
        )

    def gather(self) -> None:
        """Make room in the arena for what comes while a batch is not whole yet."""
        if self._arena is not None and self.plan is not None and self._arena.waiting:
            self._arena.gather(self.plan)

    def adopt(self, plan: Plan) -> str:
        """Read by this plan from now on. The caller has taken all frames of the plan before.

        Returns:
            Why frames cannot be read; empty when they can.
        """
        self.plan = plan
        path = Path(plan.arena) if plan.arena else None
        if self._arena is not None and path != self._arena.path:
            self._arena.close()
            self._arena = None
        if path is None or self._arena is not None:
            return ""
        try:
            arena = Arena(path)
        except BadArena as error:
            return str(error)
        if arena.frame_bytes < FRAME_HEADER_BYTES + plan.payload_bytes:
            return f"frames of {path} are smaller than its plan says"
        self._arena = arena
        return ""

    def put(self, frame: Frame) -> None:
        """Take a frame that came inside a message."""
        plan = self.plan
        try:
            header = _decode_header(frame.header)
        except msgspec.MsgspecError as error:
            _log.warning("a frame with an unreadable header was left out: %s", error)
            return
        if plan is None or header.plan != plan.id or len(frame.payload) != plan.payload_bytes:
            _log.warning("a frame of plan %d does not fit the plan and was left out", header.plan)
            return
        payload = np.frombuffer(frame.payload, np.float32)
        full = len(self._inline) * plan.payload_bytes > WAITING_BYTES
        if full or len(self._inline) == WAITING_FRAMES:
            self._inline.popleft()
            self.dropped += 1
        self._inline.append(RawFrame(header=header, payload=payload))

    def take(self) -> list[RawFrame]:
        """The next frames in order; empty when there are none."""
        if self._inline:
            frames = list(self._inline)
            self._inline.clear()
            return frames
        if self._arena is None or self.plan is None:
            return []
        return self._arena.take(self.plan)

    def close(self) -> None:
        """Unmap and remove the arena."""
        if self._arena is not None:
            self._arena.close()
            self._arena = None
