"""What can go wrong for a user of the command line, one class per exit status or reaction.

MonitorError                 exit 2: usage, or a target that cannot be read
├── UnknownRun               a name that matches no run or several
├── BadRecording             not a recording, truncated, or from a newer version
├── SourceError              a hub that refuses or cannot be reached
│   ├── LinkLost             the host of the run does not answer at the moment
│   └── NotCut               its deadband is older, and gives everything or nothing
└── BadSettings              a settings file that says what it cannot
"""

from __future__ import annotations


class MonitorError(Exception):
    """One line for the user: what happened, why, and the mend. Carries the exit status."""

    exit_status = 2


class UnknownRun(MonitorError):  # noqa: N818 - named for the state, as the screen says it
    """A run name matches nothing, or more than one run."""


class BadRecording(MonitorError):  # noqa: N818
    """A file that is not a readable recording."""


class SourceError(MonitorError):
    """A live run that cannot be read."""


class LinkLost(SourceError):  # noqa: N818
    """The way to the host of a run is broken; it may be mended by the next try."""


class NotCut(SourceError):  # noqa: N818
    """Whoever has the run cannot cut what a screen shows out of it: read all of it instead."""


class BadSettings(MonitorError):  # noqa: N818
    """A settings file that cannot be read, or says what it cannot."""
