"""The hub's loop: frames in, events out, viewers served, until the run has ended.

One thread, one poll. Nothing in it waits for anybody: answers go out or are dropped, and the file
is written at most twice a second.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import msgspec
import zmq

from deadband import wire
from deadband.wire import (
    Audience,
    Beat,
    CaptureWish,
    Closeup,
    Detail,
    Event,
    Frame,
    Hello,
    Plan,
    RunInfo,
    Status,
    ToClient,
    ToHub,
    Welcome,
)
from deadband_monitor.hub.clients import Client, on_this_host
from deadband_monitor.hub.crew import Crew, is_far
from deadband_monitor.hub.demands import Demands
from deadband_monitor.hub.doors import Doors
from deadband_monitor.hub.gate import LOCAL, Intake
from deadband_monitor.hub.history import Chronicle
from deadband_monitor.hub.lifetime import Lifetime
from deadband_monitor.hub.panel import Panel
from deadband_monitor.hub.rhythm import BUSY_S, Rhythm
from deadband_monitor.hub.viewers import Viewers
from deadband_monitor.hub.wording import loosely, standings, wrong_version
from deadband_monitor.record.writer import Recorder
from deadband_monitor.statistics.values import RawFrame

STATUS_INTERVAL_S = 1.0
NOTE_INTERVAL_S = 0.2
"""From one look at each of many ranks to the next."""
DENSE_CREDIT_S = 1.0
"""What a new flag, or a viewer that comes, asks of the client: the credit of the start again."""

_decode = msgspec.msgpack.Decoder(ToHub).decode
_log = logging.getLogger(__name__)


class Hub:
    """One run: its clients, what is known of it, its viewers."""

    def __init__(self, run: str, *, started_by: int = 0) -> None:
        self.run = run
        self.crew = Crew()
        self.chronicle = Chronicle(Recorder(wire.recording_path(run)))
        self.panel = Panel()
        self._demands = Demands(self.chronicle, self.crew, self._tell_client, self._goes_on)
        self._context = zmq.Context()
        self._poller = zmq.Poller()
        self._intake = Intake(self._context, run, os.environ.get("DEADBAND_GATE", ""))
        self._doors = Doors(
            self._context, wire.viewer_address(run), os.environ.get("DEADBAND_LISTEN", "")
        )
        for socket in (*self._intake.sockets, *self._doors.sockets):
            self._poller.register(socket, zmq.POLLIN)
        self._lifetime = Lifetime(self._poller, started_by)
        self._rhythm = Rhythm(self._lifetime.born)
        self._viewers = Viewers(self._doors, run, self._lifetime.born)
        self._watched = False
        self._next_status = 0.0
        self._next_look = 0.0
        self._next_note = 0.0
        self._told_beat: Beat | None = None

    def serve(self) -> None:
        """Run until the run has ended and its viewers have heard of it."""
        moved = copies = False
        while not self._is_done:
            self._poll(at_once=copies or (moved and self.crew.frames_wait))
            self._take_messages()
            self._viewers.take(self.chronicle, self._demands, time.monotonic())
            self._note_audience(time.monotonic())
            moved = self._due(time.monotonic()) and self._take_frames()
            now = time.monotonic()
            if self._lifetime.ended_at is None:
                self._note_state(now)
            copies = self.chronicle.go_on()
            self._viewers.answer(self.chronicle, now)
            self.chronicle.commit(now)

    def stop_soon(self) -> None:
        """End in a moment."""
        self._lifetime.stop_soon()

    def close(self) -> None:
        """Close the recording, remove what lies in shared memory, let the sockets go."""
        for client in self.crew.by_rank:
            client.inbox.close()
        self.chronicle.close(time.monotonic())
        self._lifetime.close()
        self._intake.close()
        self._doors.close()
        self._context.term()

    # --- input ---

    def _poll(self, *, at_once: bool) -> None:
        now = time.monotonic()
        wait_s = 0.0 if at_once else self._rhythm.wait_s(now, watched=self._watched)
        if self.crew.is_large and wait_s:
            # One turn for all that comes in a while, rather than one for each message.
            time.sleep(BUSY_S)
            wait_s = 0.0
        with suppress(InterruptedError):
            for source, _ in self._poller.poll(round(1000 * wait_s)):
                if isinstance(source, int):
                    self._lifetime.note_end_of_process(source)

    def _take_messages(self) -> None:
        for identity, body in self._intake.received():
            try:
                message = _decode(body)
            except msgspec.MsgspecError as error:
                self._refuse_unreadable(identity, body, error)
            else:
                self._hear(identity, message)
            if self.crew.is_full:
                break

    def _hear(self, identity: bytes, message: ToHub) -> None:
        if isinstance(message, Hello):
            self._welcome(identity, message)
            return
        client = self.crew.clients.get(identity)
        if client is None or client.bye is not None:
            return
        client.last_word = client.last_heard = time.monotonic()
        if isinstance(message, Plan):
            self._adopt(client, message)
        elif isinstance(message, Frame):
            self.crew.feed(client, message)
        elif isinstance(message, Beat):
            client.beat = message
        elif isinstance(message, Closeup):
            self._demands.take_closeup(client, message)
        else:
            self._drain(client)
            client.bye = message

    def _welcome(self, identity: bytes, hello: Hello) -> None:
        refused = ""
        same = self.crew.of_rank(hello.rank)
        if hello.version != wire.VERSION:
            refused = wrong_version(hello.version)
        elif self._lifetime.ended_at is not None:
            refused = f"run {self.run} has ended"
        elif same is not None and same.identity != identity:
            refused = f"run {self.run} is already watched by process {same.hello.pid}"
        self._tell_client(identity, Welcome(run=self.run, hub_pid=os.getpid(), refused=refused))
        if refused:
            _log.error("refused process %d: %s", hello.pid, refused)
            self._lifetime.refused = True
            return
        if identity in self.crew.clients:
            return
        now = time.monotonic()
        client = Client(identity=identity, hello=hello, last_word=now, last_heard=now)
        self.crew.add(client)
        self._intake.share(len(self.crew.clients))
        if identity[:1] == LOCAL and on_this_host(hello):
            self._lifetime.watch(hello.pid)
        self.panel.many = self.crew.is_many
        if self.panel.many:
            self.panel.comparison.expect(hello.world_size)
        if client is self.crew.primary:
            self._add([RunInfo(seq=0, hello=hello)])
        self._tell_client(identity, Audience(watching=self._viewers.watching(client.last_word)))
        _log.info("rank %d is process %d", hello.rank, hello.pid)

    def _adopt(self, client: Client, plan: Plan) -> None:
        self._drain(client)
        far = is_far(client)
        # Of a summary the comparison knows all: a thousand plans would take half a gigabyte.
        kept = msgspec.structs.replace(plan, layers=(), slots=()) if far else plan
        problem = client.inbox.adopt(kept)
        self.crew.note_arena(client)
        self._rhythm.expect(time.monotonic())
        if problem:
            _log.error("%s", problem)
            self.panel.error = problem
        self._add(self.panel.adopt(client.hello.rank, plan, far=far))

    def _refuse_unreadable(self, identity: bytes, body: bytes, error: Exception) -> None:
        """Another version's Hello need not fit our types; its version is read all the same."""
        said = loosely(body)
        if said.get("type") == "hello" and said.get("version") != wire.VERSION:
            refused = wrong_version(said.get("version"))
            self._tell_client(identity, Welcome(run=self.run, hub_pid=os.getpid(), refused=refused))
            self._lifetime.refused = True
            _log.error("refused a client: %s", refused)
        else:
            _log.warning("left out an unreadable message: %s", error)

    def _due(self, now: float) -> bool:
        """Whether frames wait that are to be measured now."""
        filled = self.crew.filled
        self.crew.gather()
        return self._rhythm.look(
            now,
            filled=filled,
            waiting=self.crew.frames_wait,
            crowded=self.crew.is_crowded,
            watched=self._watched,
        )

    def _take_frames(self) -> bool:
        moved = False
        for client in self.crew.with_frames():
            frames = client.inbox.take()
            if not frames:
                continue
            moved = True
            client.last_word = time.monotonic()
            self._judge(client, frames)
        if moved:
            self._add(self.panel.compare())
            self._tell_opinion()
        return moved

    def _drain(self, client: Client) -> None:
        """Take everything that the client has finished, before its plan or its life ends."""
        while frames := client.inbox.take():
            self._judge(client, frames)
            self._add(self.panel.compare())
        self._tell_opinion()

    def _judge(self, client: Client, frames: Sequence[RawFrame]) -> None:
        # The last frame of a run may bring losses only: no sample.
        client.samples += sum(any(frame.header.present[1:]) for frame in frames)
        client.framed = max(client.framed, frames[-1].header.step)
        events = list(self.panel.judge(client.hello.rank, frames))
        self._add(events)
        if client is self.crew.primary:
            self._demands.look(client.inbox.plan, frames, events, time.monotonic())
        else:
            self._demands.look_beside(client, frames, time.monotonic())

    def _note_audience(self, now: float) -> None:
        """Tell the clients when the first viewer comes and when the last one has gone."""
        watching = self._viewers.watching(now)
        if watching == self._watched:
            return
        self._watched = watching
        self._tell_clients(Audience(watching=watching))
        if watching:
            self._tell_clients(CaptureWish(credit_s=DENSE_CREDIT_S))

    # --- life and death ---

    def _note_state(self, now: float) -> None:
        primary = self.crew.primary
        if primary is None or (self.crew.is_large and now < self._next_note):
            return
        self._next_note = now + NOTE_INTERVAL_S
        self._lifetime.note_gone(self.crew, now)
        self._compare_ranks(now)
        if self._lifetime.run_is_over(self.crew, now):
            for client in self.crew.by_rank:
                self._drain(client)
            self._end(primary, now)
            return
        said = self.chronicle.state.status
        status = self._status(primary, "silent" if primary.silent(now) else "running")
        status = msgspec.structs.replace(status, error=status.error or self.crew.loss(now))
        changed = said is None or standings(said) != standings(status)
        if changed or (primary.beat is not self._told_beat and now >= self._next_status):
            self._next_status = now + self.crew.status_interval
            self._told_beat = primary.beat
            self._add([status])

    def _compare_ranks(self, now: float) -> None:
        """Once a second: who has ended, who lags, and whom to look at more closely."""
        if not self.crew.is_many or now < self._next_look:
            return
        self._next_look = now + STATUS_INTERVAL_S
        for client in self.crew.ended(now):
            if not client.inbox.waiting:
                self.panel.comparison.drop(client.hello.rank)
        self._add(self.panel.look(now, self.crew.paces(now)))
        self._tell_opinion()
        for rank, whole in self.panel.attend():
            attended = self.crew.of_rank(rank)
            if attended is not None:
                self._tell_client(attended.identity, Detail(whole=whole))

    def _end(self, primary: Client, now: float) -> None:
        status, error = self.crew.last_word(now)
        self._add([self._status(primary, status, error)])
        self._tell_clients(msgspec.structs.replace(self.panel.told, final=True))
        self._lifetime.ended_at = now
        _log.info("the run is %s after %d samples", status, primary.samples)
        self.chronicle.commit(now, at_once=True)

    def _status(self, client: Client, status: str, error: str = "") -> Status:
        said = client.bye or client.beat
        state = self.chronicle.state
        now = time.monotonic()
        return Status(
            seq=0,
            time=time.time(),
            status=status,
            step=max(said.step if said else 0, state.step),
            samples=max(said.samples if said else 0, client.samples),
            dropped=client.dropped,
            overhead=said.overhead if said else 0.0,
            interval=client.beat.interval if client.beat else 1,
            error=error
            or self.chronicle.recorder.error
            or self.panel.error
            or (client.beat.unsaid if client.beat and client.bye is None else ""),
            pace=client.beat.pace if client.beat else None,
            ranks=self.crew.standings(now, self.panel.comparison.loss),
        )

    @property
    def _is_done(self) -> bool:
        return self._lifetime.is_over(self.crew, self._viewers.last_ask, time.monotonic())

    # --- output ---

    def _add(self, events: Iterable[Event]) -> None:
        for event in events:
            self.chronicle.add(event)

    def _tell_opinion(self) -> None:
        told = self.panel.opinion()
        if told is None:
            return
        opinion, worse = told
        self._tell_clients(opinion)
        if worse:
            self._tell_clients(CaptureWish(credit_s=DENSE_CREDIT_S))

    def _tell_clients(self, message: ToClient) -> None:
        for identity in self.crew.clients:
            self._tell_client(identity, message)

    def _goes_on(self) -> bool:
        return self._lifetime.ended_at is None and self.crew.goes_on(time.monotonic())

    def _tell_client(self, identity: bytes, message: ToClient) -> None:
        if isinstance(message, CaptureWish):
            self._rhythm.expect(time.monotonic())
        self._intake.send(identity, message)
