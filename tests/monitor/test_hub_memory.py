"""Whether a hub keeps the pages that its statistics let go of."""

from __future__ import annotations

import subprocess
import sys

import pytest

FAULTS = """
import resource
import numpy as np
from deadband_monitor.hub.memory import keep_freed_memory

if {kept}:
    keep_freed_memory()
[np.ones(1 << 16) for _ in range(8)]  # the first ones cost pages in any case
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    [np.ones(1 << 16) for _ in range(8)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*, kept: bool) -> int:
    program = [sys.executable, "-c", FAULTS.format(kept=kept)]
    return int(subprocess.run(program, capture_output=True, check=True, timeout=60).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone can be told so")
def test_arrays_that_come_and_go_cost_no_pages() -> None:
    assert faults(kept=True) < 100 < faults(kept=False)
