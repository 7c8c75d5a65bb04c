"""What a report says of a run: a contract with CI jobs and other programs.

The keys of the JSON stay; `SCHEMA` is raised if one must change its meaning.
"""

from __future__ import annotations

import msgspec

from deadband.wire import Coverage, Pace

SCHEMA = 1
EXIT_STATUS = {"healthy": 0, "warning": 1, "failing": 3}
"""By verdict; 2 is left for usage, as shells and argparse have it."""


class RunPart(msgspec.Struct, frozen=True, kw_only=True):
    """Which run it is, and how much of it was seen."""

    name: str
    id: str
    started: float
    """Seconds since the epoch."""
    ended: float | None
    """None while it goes on."""
    status: str
    """`running`, `finished`, `failed`, `killed`, `lost` (its hub died: the end was not seen)."""
    steps: int
    samples: int
    dropped: int
    overhead: float
    """Measured cost of capture as a share of training time."""
    interval: int = 1
    """Steps from one sample to the next at the end."""
    pace: Pace | None = None
    """What set that, and what it rests on."""
    error: str = ""
    """The exception that ended it, or what of it could not be recorded, measured or judged."""


class RankPart(msgspec.Struct, frozen=True, kw_only=True):
    """One of several processes of a run."""

    rank: int
    pid: int
    host: str
    status: str
    steps: int
    samples: int
    dropped: int
    overhead: float
    loss: float | None
    """The last one that it gave; None where it is not known."""
    error: str


class UnseenPart(msgspec.Struct, frozen=True, kw_only=True):
    """What of a model could not be looked at, and what to do about it."""

    model: str
    what: str
    why: str
    advice: str


class FlagPart(msgspec.Struct, frozen=True, kw_only=True):
    """One symptom."""

    kind: str
    severity: str
    model: str
    layer: str
    """Empty for the model as a whole."""
    onset_step: int
    raised_step: int
    resolved_step: int | None
    """None while it stands."""
    evidence: dict[str, float | None]
    """None stands for a value that is not finite: JSON has no other word for it."""
    message: str
    ranks: list[int] = []
    """Ranks that show it; empty where the run is one process."""


class CausePart(msgspec.Struct, frozen=True, kw_only=True):
    """One explanation."""

    cause: str
    confidence: float
    evidence: list[str]
    advice: str
    rank: int = 0
    """The lowest rank whose samples say so."""


class NotePart(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody who looked on has written down."""

    step: int
    time: float
    """Seconds since the epoch."""
    text: str


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    schema: int
    run: RunPart
    verdict: str
    """`healthy`, `warning` or `failing`."""
    flags: list[FlagPart]
    """Those that stand first, worst first, then by onset."""
    causes: list[CausePart]
    """Best first."""
    coverage: list[Coverage]
    """What the verdict rests on: for each rule whether it could judge this run, and why not."""
    ranks: list[RankPart] = []
    """All processes of the run; empty where it is one."""
    unseen: list[UnseenPart] = []
    """What of the models could not be looked at."""
    notes: list[NotePart] = []
    """In the order of their steps."""

    @property
    def exit_status(self) -> int:
        """0, 1 or 3 by verdict."""
        return EXIT_STATUS[self.verdict]
