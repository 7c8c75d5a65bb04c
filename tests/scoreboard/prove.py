"""Trains faults and remedies, unwatched: `python -m scoreboard.prove [EXAM.]FAMILY [WORD,WORD]`.

The family `crossed SEED FROM TO` is a part of a draw: `python -m scoreboard.prove "crossed 1 0 9"`.
"""

from __future__ import annotations

import sys
import time
from importlib import import_module

from scoreboard.crossed.draw import one
from scoreboard.scenario import Scenario, holds, train


def main() -> None:
    """Print the skill of each run of a family, and of its remedy."""
    family, word = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
    count = proven = 0
    for scenario in runs(family):
        if not any(w in scenario.name for w in word.split(",")):
            continue
        began = time.perf_counter()
        _, fault = train(scenario)
        mended = train(scenario.mended())[1] if scenario.remedy else float("nan")
        held = holds(fault, mended, scenario.learns, scenario.keeps)
        remark = "" if not scenario.fails or held else "DOES NOT HOLD"
        count, proven = count + 1, proven + (not remark)
        print(
            f"{scenario.name:40} {fault:12.3f} {mended:8.3f} "
            f"{time.perf_counter() - began:5.1f} s {remark}",
            flush=True,
        )
    print(f"{proven} of {count} hold")


def runs(family: str) -> list[Scenario]:
    """The runs of a file, or a part of a draw."""
    if family.startswith("crossed"):
        seed, start, stop = map(int, family.split()[1:])
        return [one(seed, number) for number in range(start, stop)]
    return list(import_module(f"scoreboard.{family}").RUNS)


if __name__ == "__main__":
    main()
