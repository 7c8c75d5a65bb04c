"""The hub's loop: frames in, events out, viewers served, until the run has ended.

One thread, one poll. Nothing in it waits for anybody: clients are never answered in a way that
could hold them up, a viewer gets one answer for one question, and the file is written at most
twice a second.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec
import zmq

from deadband import wire
from deadband.wire import (
    AskNews,
    Beat,
    CaptureWish,
    Event,
    Frame,
    FromViewer,
    Hello,
    News,
    Plan,
    Refusal,
    Registration,
    RunInfo,
    Status,
    ToClient,
    ToHub,
    ToViewer,
    Welcome,
)
from deadband_monitor.hub import registry
from deadband_monitor.hub.clients import Client, Life, on_this_host
from deadband_monitor.hub.detach import Starter
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.hub.judgement import Judgement
from deadband_monitor.record.writer import Recorder

BUSY_POLL_MS = 20
"""While frames come: 50 Hz, well inside what an arena of a few frames holds at 20 samples/s."""
IDLE_POLL_MS = 100
STAYS_BUSY_S = 2.0
"""How long after the last frame the hub goes on polling at the busy rate."""
STATUS_INTERVAL_S = 1.0
KEEPALIVE_S = 2.0
"""An ask without news is answered with none after this, so that a viewer knows the hub lives."""
FIRST_WORD_S = 60.0
"""How long a hub waits for its first client: importing torch can take tens of seconds."""
GRACE_S = 5.0
"""How long viewers are served after the end ..."""
QUIET_GRACE_S = 2.0
"""... and after which it is enough if none asked: longer than a viewer takes to ask again."""
STOP_GRACE_S = 1.0
"""How long a hub that was told to end waits for the run to end by itself."""
DENSE_CREDIT_S = 1.0
"""What a new flag asks of the client: the credit of a run's start again."""

_decode_client = msgspec.msgpack.Decoder(ToHub).decode
_decode_viewer = msgspec.msgpack.Decoder(FromViewer).decode
_encode = msgspec.msgpack.Encoder().encode
_log = logging.getLogger(__name__)


class Hub:
    """One run: its clients, what is known of it, its viewers."""

    def __init__(self, run: str, *, started_by: int = 0) -> None:
        self.run = run
        self.clients: dict[bytes, Client] = {}
        self.chronicle = Chronicle(Recorder(wire.recording_path(run)))
        self.judgement = Judgement()
        self.stop_after: float | None = None
        """Moment by which a signal wants the hub to end."""
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._intake = self._bind(wire.intake_address(run))
        self._viewers = self._bind(wire.viewer_address(run))
        self._asks: dict[bytes, tuple[AskNews, float]] = {}
        self._lives: dict[int, Life] = {}
        self._born = self._last_frame = self._last_ask = time.monotonic()
        self._next_status = 0.0
        self._told_beat: Beat | None = None
        self._ended_at: float | None = None
        self._refused = False
        self._samples = 0
        if started_by > 1:
            self._watch_process(started_by)
        self._started_by = started_by

    def serve(self) -> None:
        """Run until the run has ended and its viewers have heard of it."""
        while not self._done(time.monotonic()):
            self._poll()
            self._take_messages()
            moved = self._take_frames()
            now = time.monotonic()
            if moved:
                self._last_frame = now
            if self._ended_at is None:
                self._note_state(now)
            self._answer_viewers(now)
            self.chronicle.commit(now)

    def stop_soon(self) -> None:
        """End in a moment: where the whole job was told to end, training still says how it went."""
        if self.stop_after is None:
            self.stop_after = time.monotonic() + STOP_GRACE_S

    def close(self) -> None:
        """Close the recording, remove what lies in shared memory, let the sockets go."""
        for client in self.clients.values():
            client.inbox.close()
        self.chronicle.close(time.monotonic())
        for life in self._lives.values():
            life.close()
        self._intake.close(linger=200)
        self._viewers.close(linger=200)
        self._context.term()
        for address in (wire.intake_address(self.run), wire.viewer_address(self.run)):
            with suppress(OSError):
                Path(address.removeprefix("ipc://")).unlink()

    # --- input ---

    def _poll(self) -> None:
        now = time.monotonic()
        busy = now - self._last_frame < STAYS_BUSY_S and self._ended_at is None
        wait = 0 if self._frames_wait() else BUSY_POLL_MS if busy else IDLE_POLL_MS
        with suppress(InterruptedError):
            for source, _ in self._poller.poll(wait):
                if isinstance(source, int):
                    self._note_end_of_process(source)

    def _take_messages(self) -> None:
        while (parts := _receive(self._intake)) is not None:
            identity, body = parts
            try:
                message = _decode_client(body)
            except msgspec.MsgspecError as error:
                self._refuse_unreadable(identity, body, error)
            else:
                self._hear(identity, message)
        while (parts := _receive(self._viewers)) is not None:
            identity, body = parts
            self._last_ask = time.monotonic()
            try:
                ask = _decode_viewer(body)
            except msgspec.MsgspecError as error:
                self._tell_viewer(identity, Refusal(reason=f"unreadable question: {error}"))
            else:
                self._hear_viewer(identity, ask)

    def _hear(self, identity: bytes, message: ToHub) -> None:
        if isinstance(message, Hello):
            self._welcome(identity, message)
            return
        client = self.clients.get(identity)
        if client is None or client.bye is not None:
            return
        client.last_word = time.monotonic()
        if isinstance(message, Plan):
            self._adopt(client, message)
        elif isinstance(message, Frame):
            client.inbox.put(message)
        elif isinstance(message, Beat):
            client.beat = message
        else:
            self._drain(client)
            client.bye = message

    def _welcome(self, identity: bytes, hello: Hello) -> None:
        refused = ""
        primary = self._primary()
        if hello.version != wire.VERSION:
            refused = _wrong_version(hello.version)
        elif self._ended_at is not None:
            refused = f"run {self.run} has ended"
        elif hello.rank == 0 and primary is not None and primary.identity != identity:
            refused = f"run {self.run} is already watched by process {primary.hello.pid}"
        self._tell_client(identity, Welcome(run=self.run, hub_pid=os.getpid(), refused=refused))
        if refused:
            _log.error("refused process %d: %s", hello.pid, refused)
            self._refused = True
            return
        if identity in self.clients:
            return
        client = Client(identity=identity, hello=hello, last_word=time.monotonic())
        self.clients[identity] = client
        if on_this_host(hello):
            self._watch_process(hello.pid)
        if client.measured:
            self._add([RunInfo(seq=0, hello=hello)])
        _log.info("rank %d is process %d", hello.rank, hello.pid)

    def _adopt(self, client: Client, plan: Plan) -> None:
        self._drain(client)
        problem = client.inbox.adopt(plan)
        if problem:
            _log.error("%s", problem)
            self.judgement.error = problem
        if client.measured:
            self._add(self.judgement.adopt(plan))

    def _refuse_unreadable(self, identity: bytes, body: bytes, error: Exception) -> None:
        """Another version's Hello need not fit our types; its version is read all the same."""
        said = _loosely(body)
        if said.get("type") == "hello" and said.get("version") != wire.VERSION:
            refused = _wrong_version(said.get("version"))
            self._tell_client(identity, Welcome(run=self.run, hub_pid=os.getpid(), refused=refused))
            self._refused = True
            _log.error("refused a client: %s", refused)
        else:
            _log.warning("left out an unreadable message: %s", error)

    def _take_frames(self) -> bool:
        moved = False
        for client in self.clients.values():
            frames = client.inbox.take()
            if not frames:
                continue
            moved = True
            client.last_word = time.monotonic()
            if client.measured:
                self._samples += len(frames)
                self._add(self.judgement.judge(frames, client.hello.rank))
        if moved:
            self._tell_opinion()
        return moved

    def _drain(self, client: Client) -> None:
        """Take everything that the client has finished, before its plan or its life ends."""
        while frames := client.inbox.take():
            if client.measured:
                self._samples += len(frames)
                self._add(self.judgement.judge(frames, client.hello.rank))
        self._tell_opinion()

    def _frames_wait(self) -> bool:
        return any(client.inbox.waiting for client in self.clients.values())

    # --- life and death ---

    def _watch_process(self, pid: int) -> None:
        if pid in self._lives:
            return
        life = self._lives[pid] = Life(pid)
        if life.handle is not None:
            self._poller.register(life.handle, zmq.POLLIN)

    def _note_end_of_process(self, handle: int) -> None:
        for life in self._lives.values():
            if life.handle == handle:
                self._poller.unregister(handle)
                life.note_end()

    def _note_state(self, now: float) -> None:
        for client in self.clients.values():
            life = self._lives.get(client.hello.pid)
            if client.gone_since is None and life is not None and life.ended:
                client.gone_since = now
        primary = self._primary()
        if primary is None:
            return
        if primary.over(now) or self._told_to_stop(now):
            self._drain(primary)
            self._end(primary, now)
            return
        said = self.chronicle.state.status
        status = self._status(primary, "silent" if primary.silent(now) else "running")
        changed = said is None or (said.status, said.error) != (status.status, status.error)
        if changed or (primary.beat is not self._told_beat and now >= self._next_status):
            self._next_status = now + STATUS_INTERVAL_S
            self._told_beat = primary.beat
            self._add([status])

    def _end(self, client: Client, now: float) -> None:
        bye = client.bye
        if bye is not None:
            status = bye.status if bye.status in ("finished", "failed") else "failed"
            error = bye.error
        elif client.gone_since is not None:
            status, error = "killed", "the training process is gone and did not say goodbye"
        else:
            status, error = "lost", "the hub was told to end before the run"
        self._add([self._status(client, status, error)])
        self._ended_at = now
        self._last_ask = max(self._last_ask, now)
        _log.info("the run is %s after %d samples", status, self._samples)
        self.chronicle.commit(now, at_once=True)

    def _status(self, client: Client, status: str, error: str = "") -> Status:
        said = client.bye or client.beat
        state = self.chronicle.state
        return Status(
            seq=0,
            time=time.time(),
            status=status,
            step=max(said.step if said else 0, state.step),
            samples=max(said.samples if said else 0, self._samples),
            dropped=said.dropped if said else 0,
            overhead=said.overhead if said else 0.0,
            interval=client.beat.interval if client.beat else 1,
            error=error or self.chronicle.recorder.error or self.judgement.error,
        )

    def _told_to_stop(self, now: float) -> bool:
        return self.stop_after is not None and now >= self.stop_after

    def _primary(self) -> Client | None:
        return next((client for client in self.clients.values() if client.measured), None)

    def _done(self, now: float) -> bool:
        if self._ended_at is not None:
            if self.stop_after is not None or now - self._ended_at > GRACE_S:
                return True
            return now - max(self._last_ask, self._ended_at) > QUIET_GRACE_S
        if self.clients and self._primary() is not None:
            return False
        if self.stop_after is not None or self._refused or now - self._born > FIRST_WORD_S:
            return True
        starter = self._lives.get(self._started_by)
        return not self.clients and starter is not None and starter.ended

    # --- output ---

    def _add(self, events: Iterable[Event]) -> None:
        for event in events:
            self.chronicle.add(event)

    def _tell_opinion(self) -> None:
        told = self.judgement.opinion()
        if told is None:
            return
        opinion, worse = told
        for identity in self.clients:
            self._tell_client(identity, opinion)
            if worse:
                self._tell_client(identity, CaptureWish(credit_s=DENSE_CREDIT_S))

    def _hear_viewer(self, identity: bytes, ask: FromViewer) -> None:
        if isinstance(ask, AskNews):
            self._asks[identity] = (ask, time.monotonic())
        elif ask.version != wire.VERSION:
            reason = (
                f"the hub of {self.run} speaks version {wire.VERSION}, this viewer {ask.version}:"
                " use the deadband that the run was started with"
            )
            self._tell_viewer(identity, Refusal(reason=reason))
        else:
            self._asks.pop(identity, None)
            self._tell_viewer(identity, self.chronicle.history(ask))

    def _answer_viewers(self, now: float) -> None:
        for identity, (ask, asked_at) in list(self._asks.items()):
            answer = self.chronicle.news(ask)
            if answer is None and now - asked_at > KEEPALIVE_S:
                answer = News(events=[])
            if answer is not None:
                del self._asks[identity]
                self._tell_viewer(identity, answer)

    def _tell_client(self, identity: bytes, message: ToClient) -> None:
        _send(self._intake, identity, message)

    def _tell_viewer(self, identity: bytes, message: ToViewer) -> None:
        _send(self._viewers, identity, message)

    def _bind(self, address: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.ROUTER)
        socket.bind(address)
        self._poller.register(socket, zmq.POLLIN)
        return socket


def serve(run: str, *, started_by: int, starter: Starter | None = None) -> int:
    """Claim the run, serve it to its end; 0 also where another hub serves it already."""
    starter = starter or Starter(-1)
    log = wire.live_folder() / f"{run}.log"
    try:
        claim = registry.Claim(run)
    except BlockingIOError:
        starter.tell()
        return 0
    except OSError as error:
        return _fail(starter, f"cannot use {log.parent}: {error.strerror or error}")
    _log_to(log)
    try:
        hub = Hub(run, started_by=started_by)
    except zmq.ZMQError as error:
        claim.release()
        return _fail(starter, f"cannot serve at {wire.intake_address(run)}: {error}")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: hub.stop_soon())
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    claim.write(
        Registration(run=run, hub_pid=os.getpid(), training_pid=started_by, started=time.time())
    )
    starter.tell()
    _log.info("hub of %s is process %d", run, os.getpid())
    registry.sweep()
    try:
        hub.serve()
    except Exception:
        _log.exception("the hub ends for an error of its own")
        return 1
    finally:
        hub.close()
        claim.release()
        if not _Trouble.met:
            log.unlink(missing_ok=True)
    return 0


class _Trouble(logging.Handler):
    """Remembers whether anything worth keeping the log for was logged."""

    met = False

    def emit(self, record: logging.LogRecord) -> None:
        del record
        _Trouble.met = True


def _log_to(path: Path) -> None:
    try:
        file: logging.Handler = logging.FileHandler(path)
    except OSError:
        file = logging.NullHandler()
    form = "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.INFO, format=form, handlers=[file, _Trouble(logging.WARNING)])


def _fail(starter: Starter, problem: str) -> int:
    starter.tell(problem)
    return 1


def _receive(socket: zmq.Socket[bytes]) -> tuple[bytes, bytes] | None:
    try:
        parts = socket.recv_multipart(zmq.NOBLOCK)
    except zmq.Again:
        return None
    return parts[0], parts[-1]


def _send(socket: zmq.Socket[bytes], identity: bytes, message: ToClient | ToViewer) -> None:
    # A router drops what a peer has no room for; a peer that is gone is nobody's concern.
    with suppress(zmq.Again, zmq.ZMQError):
        socket.send_multipart([identity, _encode(message)], zmq.NOBLOCK)


def _loosely(body: bytes) -> dict[str, object]:
    try:
        said = msgspec.msgpack.decode(body)
    except msgspec.MsgspecError:
        return {}
    return said if isinstance(said, dict) else {}


def _wrong_version(said: object) -> str:
    return (
        f"the hub speaks version {wire.VERSION} of the wire, the client {said}:"
        " install the same deadband in both environments"
    )
