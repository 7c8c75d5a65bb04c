"""`python -m deadband_monitor` is the same as `deadband`."""

from __future__ import annotations

import sys

from deadband_monitor.cli import main

if __name__ == "__main__":
    sys.exit(main())
