"""What viewers may cost: a late one on a poor link, and twenty of which one sleeps.

The benchmark of the link is the measure: a hub of its own at step 1,000,000 of a run of 300 layers,
and between it and the viewer a proxy that lets 1 Mbit/s through, 100 ms late. Bytes are the same on
any machine; of times on a busy one the best of three tries counts.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[1] / "benchmarks" / "link.py"
TRIES = 3

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def measured(pattern: str, *arguments: str) -> tuple[float, ...]:
    """The figures in what the benchmark says."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARK), *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    found = re.search(pattern, done.stdout, re.DOTALL)
    assert found is not None, done.stdout
    return tuple(map(float, found.groups()))


def test_a_late_viewer_on_a_poor_link_has_its_dashboard_at_once_and_is_cheap_from_then_on() -> None:
    shown = r"whole dashboard after ([\d.]+) s, ([\d.]+) kB.*then ([\d.]+) kB/s \(([\d.]+) kB/s"
    fastest = 1e9
    for _ in range(TRIES):
        seconds, first_kb, kb_s, asked_kb_s = measured(shown, "--seconds", "10")
        assert first_kb <= 400
        assert kb_s + asked_kb_s <= 8
        fastest = min(fastest, seconds)
        if fastest <= 3:
            break
    assert fastest <= 3


def test_of_twenty_viewers_one_sleeps_and_the_others_see_every_flag_at_once() -> None:
    heard = r": (\d+) of (\d+) flags heard, after (\d+) ms, .* hub (\d+) -> (\d+) MB"
    fastest = 1e9
    for _ in range(TRIES):
        flags, expected, median_ms, before_mb, after_mb = measured(
            heard, "--viewers", "20", "--seconds", "10"
        )
        assert flags == expected == 190
        assert after_mb <= before_mb + 5
        fastest = min(fastest, median_ms)
        if fastest <= 200:
            break
    assert fastest <= 200
