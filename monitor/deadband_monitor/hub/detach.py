"""Lets the hub outlive and not disturb the training process that started it."""

from __future__ import annotations

import os

NICENESS = 10


def detach() -> None:
    """Become a process of its own: own session, low priority, no share in anybody's streams.

    The process that was started ends at once (status 0), so that its parent, the training process,
    has a child to reap now and none later. Called before heavy imports and before any thread.
    """
    if os.fork():
        os._exit(0)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.umask(0o077)
    os.nice(NICENESS)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    if nothing > 2:
        os.close(nothing)
    home = os.environ.get("DEADBAND_HOME")
    if home:  # a relative one means the folder that we leave now
        os.environ["DEADBAND_HOME"] = os.path.abspath(os.path.expanduser(home))  # noqa: PTH100,PTH111
    os.chdir("/")
