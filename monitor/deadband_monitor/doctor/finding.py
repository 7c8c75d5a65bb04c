"""What one look has found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from deadband_monitor.errors import MonitorError


class State(Enum):
    """How a link is."""

    OK = "ok"
    NOTE = "note"
    """Not there, and only missed by those who want it."""
    BROKEN = "broken"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One link: how it is, what was seen, and the mend."""

    link: str
    state: State
    said: str
    mend: str = ""


def ok(link: str, said: str) -> Finding:
    """It is as it should be."""
    return Finding(link=link, state=State.OK, said=said)


def note(link: str, said: str, mend: str = "") -> Finding:
    """It is not there, and need not be."""
    return Finding(link=link, state=State.NOTE, said=said, mend=mend)


def broken(link: str, said: str, mend: str = "") -> Finding:
    """It is broken."""
    return Finding(link=link, state=State.BROKEN, said=said, mend=mend)


def looks(checks: Iterable[tuple[str, Callable[[], Finding]]]) -> Iterator[Finding]:
    """Every look in turn; one that fails has found something, too."""
    for link, check in checks:
        try:
            yield check()
        except (MonitorError, OSError) as error:
            yield broken(link, str(error))


def chain(checks: Iterable[tuple[str, Callable[[], Finding]]]) -> Iterator[Finding]:
    """The same, up to the first that is broken: what hangs on it cannot be looked at."""
    for found in looks(checks):
        yield found
        if found.state is State.BROKEN:
            return
