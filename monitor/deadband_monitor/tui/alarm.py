"""When to ring: a critical flag that was not there before; and what to write to the terminal."""

from __future__ import annotations

from collections.abc import Iterable

from deadband.wire import Flag


class Alarm:
    """Hears the loud flags of one run, picture by picture."""

    def __init__(self) -> None:
        self._known: set[int] | None = None
        self._titled = ""

    def hear(self, loud: Iterable[Flag], name: str) -> tuple[str, str]:
        """Escapes for a new title of the terminal, and the words for a new critical flag.

        Both are empty where there is nothing new. What stood when we came does not ring.
        """
        critical = {flag.id: flag for flag in loud if flag.severity == "critical"}
        known = self._known
        fresh = [flag for id_, flag in critical.items() if known is not None and id_ not in known]
        self._known = set(critical) | (known or set())
        title = _title(f"{'▼ ' if critical else ''}deadband {name}")
        changed, self._titled = title != self._titled, title
        news = f"{fresh[0].kind}: {fresh[0].message}" if fresh else ""
        return title if changed else "", news


def notification(text: str) -> str:
    """Escapes of a desktop notification (OSC 9: iTerm2, kitty, WezTerm, foot, Windows Terminal)."""
    return f"\x1b]9;{_printable(text)}\x07"


def _title(text: str) -> str:
    return f"\x1b]2;{_printable(text)}\x07"


def _printable(text: str) -> str:
    """Names come from the user's program, and an escape in one would end ours."""
    return "".join(letter for letter in text if letter.isprintable())
