"""Trains faults and remedies, unwatched: `python -m scoreboard.prove [EXAM.]FAMILY [WORD,WORD]`."""

from __future__ import annotations

import sys
import time
from importlib import import_module

from scoreboard.scenario import holds, train


def main() -> None:
    """Print the skill of each run of a family, and of its remedy."""
    family, word = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    for scenario in import_module(f"scoreboard.{family}").RUNS:
        if not any(w in scenario.name for w in word.split(",")):
            continue
        began = time.perf_counter()
        _, fault = train(scenario)
        mended = train(scenario.mended())[1] if scenario.remedy else float("nan")
        remark = "" if not scenario.fails or holds(fault, mended) else "DOES NOT HOLD"
        print(
            f"{scenario.name:40} {fault:12.3f} {mended:8.3f} "
            f"{time.perf_counter() - began:5.1f} s {remark}",
            flush=True,
        )


if __name__ == "__main__":
    main()
