"""The command that carries a stream: its three pipes without blocking, and a decent end."""

from __future__ import annotations

import os
import select
import subprocess
from contextlib import suppress

from deadband_monitor.remote.far import Start

READ_BYTES = 1 << 16
KEPT_WORDS = 4096
"""The end of standard error is kept for the explanation of a failure."""
END_S = 0.5


class Carrier:
    """A running command.

    Args:
        start: what to run.
        asking: whether it may ask on our terminal; otherwise it has none.

    Raises:
        OSError: there is no such command.
    """

    def __init__(self, start: Start, *, asking: bool) -> None:
        self._process = subprocess.Popen(
            start.argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            start_new_session=not asking,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        self._err = self._process.stderr.fileno()
        for descriptor in (self._in, self._out, self._err):
            os.set_blocking(descriptor, False)
        self._to_write = bytearray(start.script)
        self._listening = {self._out, self._err}
        self._status: int | None = None
        self.said = b""
        """The end of its standard error."""

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid

    def write(self, data: bytes) -> None:
        """Have it written at the next turn."""
        self._to_write += data

    def turn(self, wait_s: float, wake: int) -> bytes | None:
        """Wait for what comes, read and write; None at the end of its output.

        Args:
            wait_s: at most so long.
            wake: a descriptor that ends the wait as well.
        """
        writers = [self._in] if self._to_write else []
        readable, writable, _ = select.select([*self._listening, wake], writers, [], wait_s)
        if writable:
            self._flush()
        if self._err in readable:
            self._hear()
        if self._out not in readable:
            return b""
        data = self._read(self._out)
        return data or None

    def end(self, *, at_once: bool = False) -> int | None:
        """End it; its exit status where it had ended by itself.

        Args:
            at_once: without waiting for what it may have to say.
        """
        if self._process.stdin is None or self._process.stdin.closed:
            return self._status
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        # One that ends by itself has a last word; one that stopped or hangs has none.
        if at_once:
            self._process.terminate()
        self._status = status = self._await_end()
        if status is None:
            self._process.terminate()
            if self._await_end() is None:
                self._process.kill()
                self._process.wait()
        while self._err in self._listening and select.select([self._err], [], [], 0)[0]:
            self._hear()
        if self._process.stderr is not None:
            self._process.stderr.close()
        return status

    def _await_end(self) -> int | None:
        with suppress(subprocess.TimeoutExpired):
            return self._process.wait(END_S)
        return None

    def _flush(self) -> None:
        try:
            written = os.write(self._in, self._to_write)
        except BlockingIOError:
            return
        except OSError:
            written = len(self._to_write)  # it has gone: its output ends as well
        del self._to_write[:written]

    def _hear(self) -> None:
        data = self._read(self._err)
        if not data:
            self._listening.discard(self._err)
        self.said = (self.said + data)[-KEPT_WORDS:]

    def _read(self, descriptor: int) -> bytes:
        try:
            return os.read(descriptor, READ_BYTES)
        except BlockingIOError:  # pragma: no cover - select said otherwise
            return b""
        except OSError:
            return b""
