"""The command line of every demo: `--healthy`, `--pace`."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

DEFAULT_PACE_S = 0.03
"""So that a run of 900 steps lasts about half a minute; the training itself needs two seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user asked for."""

    healthy: bool
    pace_s: float
    """Pause after each step, there only so that a person can watch."""


def read_options(about: str | None, pace_s: float = DEFAULT_PACE_S) -> Options:
    """Read the command line; `about` is the demo's docstring, `pace_s` its own pace."""
    parser = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--healthy", action="store_true", help="the twin, with the remedy that deadband advises"
    )
    parser.add_argument(
        "--pace",
        type=float,
        default=float(os.environ.get("DEADBAND_DEMO_PACE") or pace_s),
        metavar="SECONDS",
        help="pause after each step so that a person can watch; 0 is full speed "
        "(default: $DEADBAND_DEMO_PACE, else %(default)s)",
    )
    given = parser.parse_args()
    return Options(healthy=given.healthy, pace_s=max(given.pace, 0.0))
