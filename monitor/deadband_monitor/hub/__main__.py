"""`python -m deadband_monitor.hub --run RUN`: how a client starts the hub of its run."""

from __future__ import annotations

import os
import sys

# `-m` puts the folder of the training script first: its queue.py or random.py is not ours to load.
if sys.path and sys.path[0] in ("", os.getcwd()):  # noqa: PTH109 - before anything else is loaded
    del sys.path[0]

# The statistics are batches of small products: a pool of threads would only take cores away from
# training. The libraries read this when numpy loads.
for _pool in ("OPENBLAS", "OMP", "MKL", "VECLIB_MAXIMUM", "NUMEXPR"):
    os.environ[f"{_pool}_NUM_THREADS"] = "1"


def main(arguments: list[str]) -> int:
    """Detach, then serve the run until it has ended."""
    foreground = "--foreground" in arguments
    forwards = "--forward" in arguments
    rest = [word for word in arguments if word not in ("--foreground", "--forward")]
    if len(rest) != 2 or rest[0] != "--run" or not rest[1] or "/" in rest[1]:
        sys.stderr.write(
            "usage: python -m deadband_monitor.hub --run RUN [--forward] [--foreground]\n"
        )
        return 2
    run, started_by = rest[1], os.getppid()
    from deadband_monitor.hub.detach import NOBODY, detach

    starter = NOBODY if foreground else detach()
    from deadband_monitor.hub.service import forward, serve

    return (forward if forwards else serve)(run, started_by=started_by, starter=starter)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
