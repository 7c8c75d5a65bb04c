"""Watch a process that was never prepared: what `deadband attach --pid` runs inside it.

Called from the interpreter's loop in the middle of training. Nothing here may raise into it, and
`end` takes everything back but the loaded modules, of which nothing runs any more.
"""

from __future__ import annotations

import sys

from deadband import autowatch, sender, settings, wire
from deadband.errors import CannotWatch


def begin(*, run: str, hub_python: str) -> str:
    """Watch whatever trains here, from the next step on.

    Args:
        run: run id that the watch is to take.
        hub_python: the interpreter that runs the hub; empty: this one.

    Returns:
        The folder of deadband's files as this process sees it: where to look for the run.

    Raises:
        CannotWatch: nothing here can be watched, or it is watched already.
    """
    if not settings.is_enabled():
        raise CannotWatch("DEADBAND=off is set there: it wants not to be watched")
    if autowatch.is_watching():
        raise CannotWatch("it is watched already; see it with: deadband attach")
    torch = sys.modules.get("torch")
    if torch is not None and getattr(torch.__spec__, "_initializing", False):
        raise CannotWatch("it is still loading torch; ask again in a moment")
    if torch is None:
        raise CannotWatch(
            "it has not imported torch; a loop without it must show its arrays itself, with"
            " deadband.watch and observe"
        )
    sender.hub_python = hub_python
    settings.claim_as(settings.Claim(run=run))
    autowatch.join_late()
    return str(wire.home())


def end() -> str:
    """Stop watching; the run id that was watched.

    Raises:
        CannotWatch: it was not watched from outside.
    """
    run = autowatch.leave()
    if run is None:
        raise CannotWatch("it is not watched from outside, so there is nothing to take out")
    return run
