"""Lets the hub outlive and not disturb the training process that started it."""

from __future__ import annotations

import os
import sys

NICENESS = 10


class Starter:
    """The process that was started as the hub and waits for a word on how that went.

    It ends as soon as the hub serves, or cannot: status 0, or 1 with one line on its stderr. So the
    training process has a short-lived child to reap, learns of a failure, and keeps no zombie.
    """

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def tell(self, problem: str = "") -> None:
        """Let the starter go: all is well, or the hub cannot serve for this one reason."""
        if self._pipe >= 0:
            os.write(self._pipe, b"-" + problem.encode()[:1000] if problem else b"+")
            os.close(self._pipe)
            self._pipe = -1


NOBODY = Starter(-1)
"""Nobody waits: the hub runs in the terminal that it was started from."""


def detach() -> Starter:
    """Become a process of its own: own session, low priority, no share in anybody's streams.

    Returns in the new process only. Called before heavy imports and before any thread.
    """
    listen, say = os.pipe()
    if os.fork():
        os.close(say)
        _wait_for_word(listen)
    os.close(listen)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    os.nice(max(0, NICENESS - os.nice(0)))
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    if nothing > 2:
        os.close(nothing)
    home = os.environ.get("DEADBAND_HOME")
    if home:  # a relative one means the folder that we leave now
        os.environ["DEADBAND_HOME"] = os.path.abspath(os.path.expanduser(home))  # noqa: PTH100,PTH111
    os.chdir("/")
    return Starter(say)


def _wait_for_word(pipe: int) -> None:
    """The rest of the starter's life."""
    word = os.read(pipe, 1024)
    if word != b"+":
        problem = word[1:].decode(errors="replace") or "the hub died while it started"
        sys.stderr.write(f"deadband hub: {problem}\n")
        sys.stderr.flush()
    os._exit(0 if word == b"+" else 1)
