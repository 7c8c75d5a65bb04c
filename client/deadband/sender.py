"""The thread that talks to the hub: starts it, moves messages, and nothing else.

The training thread appends to a queue and goes on. Frames do not pass here, they lie in the arena.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import msgspec

from deadband import wire

if TYPE_CHECKING:
    import zmq

    from deadband.nodes import Nodes

BEAT_S = 1.0
HUB_START_S = 5.0
"""How long `close` waits for a hub that is still starting: a short run must not be lost."""
CLOSE_S = 0.15
"""How long it waits for the last message to leave otherwise."""
FLUSH_S = 0.02
"""How long it waits then for the hub's last word: what was sent is on its way by the end of it."""
LAST_WORD_S = 10.0
"""How long after `close` the hub's last word is listened for: it may have much to judge yet."""
NICENESS = 10
MOST_WAITING = 8
"""Frames in messages that may wait; where there is shared memory they do not pass here."""


class Link(Protocol):
    """What a watch needs of whoever carries its messages."""

    def post(self, message: wire.ToHub) -> None:
        """Send it some time soon; never waits."""

    @property
    def is_free(self) -> bool:
        """Whether a frame in a message would leave soon."""

    @property
    def patience_s(self) -> float:
        """How long it is worth to wait for the hub at the end."""

    def close(self, bye: wire.Bye) -> bool:
        """Send the last message; True where a hub has taken over and will clean up."""

    def hear_out(self) -> None:
        """Wait until the hub has said its last word, after `close`."""

    def abandon(self) -> None:
        """This process is a fork: let go without a word."""


class NoLink:
    """No hub is wanted: messages go nowhere."""

    def post(self, message: wire.ToHub) -> None:
        """Drop it."""

    @property
    def is_free(self) -> bool:
        """Nobody waits."""
        return False

    @property
    def patience_s(self) -> float:
        """There is no hub."""
        return 0.0

    def close(self, bye: wire.Bye) -> bool:
        """Nobody cleans up."""
        return False

    def hear_out(self) -> None:
        """Nobody says anything."""

    def abandon(self) -> None:
        """Nothing to let go of."""


class Sender:
    """The link to a hub on this host.

    Args:
        run: run id.
        beat: makes the sign of life.
        deliver: takes what the hub says; called in the sender's thread.
        nodes: of several ranks, what tells them where the hub is.
    """

    def __init__(
        self,
        run: str,
        beat: Callable[[], wire.Beat],
        deliver: Callable[[wire.ToClient], None],
        nodes: Nodes | None = None,
    ) -> None:
        self._nodes = nodes
        self._run = run
        self._beat = beat
        self._deliver = deliver
        self._outbox: deque[wire.ToHub] = deque()
        self._welcomed = False
        self._refused = False
        self._deadline: float | None = None
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._sent = threading.Event()
        self._ended = threading.Event()
        self._closing = threading.Lock()
        self._closed = False
        self._judged = False
        """Whether the hub has said its last word."""
        # `Thread.start` would wait until the thread runs: a whole turn on a busy machine.
        _thread.start_new_thread(self._serve, ())

    def post(self, message: wire.ToHub) -> None:
        """Send it some time soon; never waits."""
        self._outbox.append(message)
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"!")

    @property
    def is_free(self) -> bool:
        """Whether a frame in a message would leave soon."""
        return not self._refused and len(self._outbox) < MOST_WAITING

    @property
    def patience_s(self) -> float:
        """See `Link`."""
        if self._refused:
            return 0.0
        return CLOSE_S if self._welcomed else HUB_START_S

    def close(self, bye: wire.Bye) -> bool:
        """Send the last message; True where a hub has taken over and will clean up."""
        patience = self.patience_s or CLOSE_S
        self._deadline = time.monotonic() + patience
        self.post(bye)
        self._sent.wait(patience + CLOSE_S)
        with self._closing:
            self._closed = True
            if self._ended.is_set():
                self._close_pipe()
        return self._welcomed

    def hear_out(self) -> None:
        """See `Link`."""
        self._ended.wait(LAST_WORD_S + CLOSE_S)

    def abandon(self) -> None:
        """This process is a fork: the thread and the socket are the parent's."""
        self._outbox = deque()

    def _close_pipe(self) -> None:
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _serve(self) -> None:
        first = select.poll()
        first.register(self._wake_read, select.POLLIN)
        first.poll()  # `watch` is done first: two threads hinder each other
        try:
            self._talk()
        finally:
            with self._closing:
                self._ended.set()
                self._sent.set()
                if self._closed:
                    self._close_pipe()

    def _talk(self) -> None:
        try:
            hub = self._find_hub()
        except OSError as error:
            self._give_up(f"{error}")
            return
        import zmq  # here, not in the training thread: it takes longer than all of `watch`

        with closing(hub), zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 0
            socket.sndhwm = MOST_WAITING  # frames in messages must not pile up out of our sight
            socket.reconnect_ivl = 20
            socket.connect(wire.intake_address(self._run))
            poller = zmq.Poller()
            poller.register(socket, zmq.POLLIN)
            poller.register(self._wake_read, zmq.POLLIN)
            next_beat = time.monotonic() + BEAT_S
            while not self._refused:
                now = time.monotonic()
                waiting = min(next_beat, self._deadline or next_beat) - now
                # While the hub starts, look after it often: its failure must be told early.
                poller.poll(max(0, int(1000 * (waiting if self._welcomed else min(waiting, 0.05)))))
                self._receive(socket)
                if not hub.alive():
                    self._give_up(hub.reason())
                    return
                self._send(socket)
                if self._deadline is not None:
                    if self._welcomed and not self._outbox:
                        break
                    if time.monotonic() >= self._deadline:
                        break
                if time.monotonic() >= next_beat:
                    next_beat += BEAT_S
                    if self._nodes is not None and self._welcomed:
                        self._nodes.tell()
                    if self._welcomed and self._deadline is None:
                        self._outbox.append(self._beat())
            if self._welcomed:
                self._listen_on(socket)
            socket.linger = int(1000 * CLOSE_S)

    def _listen_on(self, socket: zmq.Socket[bytes]) -> None:
        """The end of the run was told: hear what the hub makes of it."""
        flushed = time.monotonic() + FLUSH_S
        until = flushed + LAST_WORD_S
        while not self._judged and (now := time.monotonic()) < until:
            if now >= flushed:
                self._sent.set()
            socket.poll(1 + int(1000 * ((until if self._sent.is_set() else flushed) - now)))
            self._receive(socket)

    def _find_hub(self) -> Hub:
        """Start the hub, or what stands for it here.

        Raises:
            OSError: it cannot be started.
        """
        nodes = self._nodes
        if nodes is None:
            return start_hub(self._run)
        forward = False
        if nodes.is_apart:
            place = nodes.find(lambda: self._deadline is None or time.monotonic() < self._deadline)
            if place is not None:
                self._run, forward = nodes.follow(place)
        return start_hub(self._run, listen=nodes.listen, forward=forward)

    def _send(self, socket: zmq.Socket[bytes]) -> None:
        from zmq import NOBLOCK, Again

        with contextlib.suppress(BlockingIOError):
            os.read(self._wake_read, 4096)
        while self._outbox:
            try:
                socket.send(msgspec.msgpack.encode(self._outbox[0]), NOBLOCK)
            except Again:
                return
            self._outbox.popleft()

    def _receive(self, socket: zmq.Socket[bytes]) -> None:
        from zmq import NOBLOCK, Again

        while True:
            try:
                packed = socket.recv(NOBLOCK)
            except Again:
                return
            try:
                message = _DECODER.decode(packed)
            except msgspec.MsgspecError:
                continue  # a newer hub's word that we do not know
            if isinstance(message, wire.Welcome):
                self._welcomed = not message.refused
                if self._nodes is not None and self._welcomed:
                    self._nodes.tell()
                if message.refused:
                    self._give_up(message.refused)
            else:
                self._deliver(message)
                if isinstance(message, wire.Opinion) and message.final:
                    self._judged = True

    def _give_up(self, reason: str) -> None:
        self._refused = True
        sys.stderr.write(
            f"deadband: the hub could not be started ({reason}); "
            "training runs on, but nothing is recorded\n"
        )


_DECODER: msgspec.msgpack.Decoder[wire.ToClient] = msgspec.msgpack.Decoder(wire.ToClient)


class Hub:
    """The process that was started as the hub; it detaches itself and leaves its starter."""

    def __init__(self, process: subprocess.Popen[bytes], complaint: IO[bytes]) -> None:
        self._process = process
        self._complaint = complaint

    def alive(self) -> bool:
        """False once it ended in error."""
        status = self._process.poll()
        return status is None or status == 0

    def close(self) -> None:
        """Nothing more is asked of it, nor waited for: it may go on starting without us."""
        self._complaint.close()
        if self._process.poll() is None:
            self._process.returncode = 0  # else Python warns of a child that it leaves behind

    def reason(self) -> str:
        """What it said last before it failed."""
        self._complaint.seek(0)
        lines = self._complaint.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"


hub_python = ""
"""The interpreter that runs hubs; empty: this process's own."""


def start_hub(run: str, *, listen: str = "", forward: bool = False) -> Hub:
    """Start the hub of a run as a process of its own session, niced.

    Args:
        run: run id.
        listen: address where the ranks of other nodes come in; empty: nowhere.
        forward: it only passes on what it gets to the hub of another node.

    Raises:
        OSError: it cannot be started.
    """
    environ = dict(os.environ)
    environ["DEADBAND_HOME"] = str(wire.home())
    if "PYTHONPATH" in environ:
        environ["PYTHONPATH"] = os.pathsep.join(
            str(Path(part).absolute()) for part in environ["PYTHONPATH"].split(os.pathsep) if part
        )
    environ.pop("DEADBAND_GATE", None)
    if listen:
        environ["DEADBAND_GATE"] = listen
    words = ["-m", "deadband_monitor.hub", "--run", run, *(["--forward"] if forward else [])]
    complaint = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the hub's starter
    process = subprocess.Popen(
        [hub_python or sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=complaint,
        start_new_session=True,
        cwd="/",  # `-m` looks in the current folder first: a script's queue.py would shadow ours
        env=environ,
    )
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
    return Hub(process, complaint)
