"""The ring of frames in shared memory, as the client writes it (layout: `deadband.wire`).

The training thread stores a frame and raises the head; the hub reads it and raises the tail. Where
no frame is free the sample is dropped: nobody ever waits. Only the first frames are made ready on
the training thread, all others beside it.
"""

from __future__ import annotations

import _thread
import contextlib
import errno
import mmap
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deadband import wire

SPARING = 16
"""Frames of a ring that are too few to be shared out."""
RING_BYTES = 24 * 2**20
"""About what a ring takes. A longer one costs the training thread: it is never in cache."""
LONGEST = 256
SHORTEST = 4
MOST_BYTES = 48 * 2**20
"""What a ring of few large frames may take."""
READY_BYTES = 2**19
"""So much is reserved at a time, or one frame: 0.5 ms."""
MOST_PAYLOAD_BYTES = MOST_BYTES // SHORTEST - wire.FRAME_HEADER_BYTES
"""Largest payload of one frame: the shortest ring must fit."""

FAR_PAYLOAD_BYTES = 64 * 2**10
"""The same of a summary: a thousand ranks that send two a second are 130 MB/s to one hub."""


def ring_length(payload_bytes: int) -> int:
    """Frames in the ring for a payload of this size."""
    return max(SHORTEST, min(LONGEST, RING_BYTES // frame_bytes(payload_bytes)))


def frame_bytes(payload_bytes: int) -> int:
    """Bytes of one frame; whole cache lines."""
    return (wire.FRAME_HEADER_BYTES + payload_bytes + 63) // 64 * 64


def shared_folder() -> Path:
    """Where arenas lie: memory where the system has it, else the folder of live runs."""
    memory = Path("/dev/shm")
    if memory.is_dir() and os.access(memory, os.W_OK):
        return memory
    return wire.ensure_private(wire.live_folder())


class Arena:
    """One ring; written by the training thread only.

    Args:
        path: file to make; must not exist.
        payload_bytes: `Plan.payload_bytes`.

    Raises:
        OSError: the file cannot be made or there is no room for it.
    """

    def __init__(self, path: Path, payload_bytes: int) -> None:
        self.path = path
        self.dropped = 0
        """Frames that found no room."""
        self.failed = False
        """Whether there was no room for all of it: no more frames can be written then."""
        self._frame_bytes = frame_bytes(payload_bytes)
        self._length = ring_length(payload_bytes)
        size = wire.ARENA_FRAMES_OFFSET + self._length * self._frame_bytes
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            room = os.fstatvfs(self._file)
            if room.f_blocks and room.f_bavail * room.f_frsize < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            os.ftruncate(self._file, size)
            self._map = mmap.mmap(self._file, size)
            self._bytes = np.frombuffer(self._map, np.uint8)
            self._ready = 0
            self._making_ready = _thread.allocate_lock()
            self._make_ready()
        except OSError:
            path.unlink(missing_ok=True)
            os.close(self._file)
            raise
        wire.ARENA_HEAD.pack_into(
            self._map, 0, wire.ARENA_MAGIC, wire.VERSION, self._length, self._frame_bytes
        )
        # One aligned 8-byte store each: struct writes byte by byte, and the hub could see half.
        self._head: NDArray[np.uint64] = np.frombuffer(
            self._map, np.uint64, count=1, offset=wire.ARENA_HEAD_OFFSET
        )
        self._tail: NDArray[np.uint64] = np.frombuffer(
            self._map, np.uint64, count=1, offset=wire.ARENA_TAIL_OFFSET
        )
        first = np.frombuffer(self._map, np.float32, offset=wire.ARENA_FRAMES_OFFSET)
        self._payloads = first.reshape(self._length, -1)[:, wire.FRAME_HEADER_BYTES // 4 :]
        self._written = 0
        with contextlib.suppress(RuntimeError):  # else `has_room` makes ready what is needed
            _thread.start_new_thread(self._make_all_ready, ())

    def _make_all_ready(self) -> None:
        """Reserve and map what the first frames do not need; in a thread of its own."""
        while True:
            with self._making_ready:
                if self.failed or self._ready >= self._length:
                    os.close(self._file)
                    return
                self._try_to_make_ready()

    def _try_to_make_ready(self) -> None:
        try:
            self._make_ready()
        except OSError:
            self.failed = True  # somebody else has filled the memory meanwhile

    def _make_ready(self) -> None:
        """Reserve and map the next frames.

        Reserved, because a memory file system that runs full later would kill the training process
        at the store (SIGBUS), not fail it; mapped, because each page would else cost a fault.
        """
        first = self._ready
        last = min(self._length, first + max(1, READY_BYTES // self._frame_bytes))
        start = wire.ARENA_FRAMES_OFFSET + first * self._frame_bytes if first else 0
        end = wire.ARENA_FRAMES_OFFSET + last * self._frame_bytes
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file, start, end - start)
        self._bytes[start : end : mmap.PAGESIZE].max()
        self._ready = last

    @property
    def waiting(self) -> int:
        """Frames that the hub has not taken yet."""
        return self._written - self._tail.item()

    @property
    def stride(self) -> int:
        """One in how many frames is to be written; 0 where the hub does not keep up with them.

        While it starts, the first half of the ring takes them as they come; of the rest each
        sixteenth twice as seldom as the one before it: 88 frames span 2,600 steps.
        """
        beyond = self._written - self._length // 2
        if self._tail.item() or self._length < SPARING:
            return int(2 * self.waiting <= self._length)
        return 1 if beyond < 0 else 2 << (16 * beyond // self._length)

    @property
    def has_room(self) -> bool:
        """Whether a frame can be written now."""
        if self._written >= self._ready and self._ready < self._length:
            with self._making_ready:  # faster than the thread: a frame, then, and no more
                if self._written >= self._ready and not self.failed:
                    self._try_to_make_ready()
        return not self.failed and self._written - self._tail.item() < self._length

    @property
    def length(self) -> int:
        """Frames in the ring."""
        return self._length

    @property
    def place(self) -> int:
        """The frame that is written next."""
        return self._written % self._length

    def payload(self, place: int) -> NDArray[np.float32]:
        """The payload of a frame; to be written only where there is room for it."""
        payload: NDArray[np.float32] = self._payloads[place]
        return payload

    def write(self, header: bytes, payload: NDArray[np.float32] | None) -> bool:
        """Store one frame and raise the head; False, and counted, where no frame is free.

        Args:
            header: packed.
            payload: None where it has been written into its place already.
        """
        if not self.has_room:
            self.dropped += 1
            return False
        if payload is not None:
            self.payload(self.place)[: payload.size] = payload
        start = wire.ARENA_FRAMES_OFFSET + self.place * self._frame_bytes
        sized = len(header).to_bytes(4, "little") + header
        self._map[start : start + len(sized)] = sized
        self._written += 1
        self._head[0] = self._written
        return True

    def close(self, *, unlink: bool) -> None:
        """Let go of the memory; `unlink` where no hub will do it."""
        self.failed = True  # the thread need not go on
        del self._head, self._tail, self._payloads
        with self._making_ready:
            self._bytes = np.zeros(0, np.uint8)
        try:
            self._map.close()
        except BufferError:  # a view is still about; the memory goes with it
            pass
        if unlink:
            self.path.unlink(missing_ok=True)
