"""A live run told in plain lines until it ends."""

from __future__ import annotations

from collections.abc import Callable

from deadband_monitor.narrator import Narrator
from deadband_monitor.source.base import Source

WAIT_S = 0.5


def follow(source: Source, tell: Callable[[str], None]) -> None:
    """Tell each new line of `source` until nothing more can come.

    Raises:
        SourceError: the run cannot be read any more.
    """
    narrator = Narrator()
    lost = False
    while True:
        source.refresh(WAIT_S)
        for line in narrator.lines(source.state):
            tell(line)
        if source.link in ("ended", "replay"):
            return
        if (source.link == "lost") != lost:
            lost = not lost
            why = f" ({source.trouble})" if source.trouble else ""
            tell(
                f"{source.where or 'the hub'} does not answer{why}; trying again"
                if lost
                else f"{source.where or 'the hub'} answers again"
            )
