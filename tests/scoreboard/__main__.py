"""Runs the corpus: `python -m scoreboard [--half held] [WORD]`.

Run it in `tests`. Two processes share the work.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import traceback
import zlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from deadband_monitor.rules.base import Observation
from scoreboard import failing, healthy, pairs
from scoreboard.harness import CADENCES, Outcome, Scenario, judge, record

FIVE = {
    "learning-rate-too-high",
    "saturating-activation",
    "constant-initialisation",
    "dying-relu",
    "unnormalised-inputs",
}


def everything() -> list[Scenario]:
    return [*healthy.RUNS, *failing.RUNS, *pairs.RUNS]


def work(job: tuple[str, Path | None]) -> tuple[str, list[Outcome], float, str]:
    name, cache = job
    scenario = next(s for s in everything() if s.name == name)
    try:
        lanes, score = recorded(scenario, cache)
        return name, [judge(every, lanes[every]) for every in CADENCES], score, ""
    except Exception as error:
        traceback.print_exc()
        return name, [], float("nan"), f"{type(error).__name__}: {error}"


def recorded(scenario: Scenario, cache: Path | None) -> tuple[dict[int, list[Observation]], float]:
    """The observations of a scenario, from the cache where they are there."""
    path = cache / f"{zlib.crc32(scenario.name.encode()):08x}.pickle" if cache else None
    if path is not None and path.exists():
        found: tuple[dict[int, list[Observation]], float] = pickle.loads(path.read_bytes())
        return found
    made = record(scenario)
    if path is not None:
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(pickle.dumps(made))
        part.replace(path)
    return made


def right(scenario: Scenario, outcome: Outcome) -> bool:
    top = outcome.causes[0].cause if outcome.causes else ""
    if scenario.causes:
        return top in scenario.causes
    return top not in FIVE


def line(scenario: Scenario, outcome: Outcome, score: float) -> str:
    flags = " ".join(
        f"{f.severity[0].upper()}:{f.kind}{'@' + f.layer if f.layer else ''}"
        f"[{f.onset_step}/{f.raised_step}]"
        for f in outcome.flags
    )
    causes = " ".join(f"{c.cause}={c.confidence:.2f}" for c in outcome.causes) or "-"
    return (
        f"{scenario.name:38} /{outcome.every:<3} {outcome.verdict:8} score {score:6.2f} "
        f"top@{outcome.first_cause} {causes} | {flags}"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("word", nargs="?", default="")
    parser.add_argument("--half", choices=("tune", "held", "both"), default="tune")
    parser.add_argument("--all-lines", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pairs", action="store_true", help="the random pairs too")
    parser.add_argument("--cache", type=Path, help="folder of recorded runs, made where missing")
    options = parser.parse_args()
    if options.cache:
        options.cache.mkdir(parents=True, exist_ok=True)
    chosen = [
        s
        for s in everything()
        if options.word in s.name
        and (options.half == "both" or s.held_out == (options.half == "held"))
        and (options.pairs or not s.name.startswith("pair"))
    ]
    results: dict[str, tuple[list[Outcome], float]] = {}
    with ProcessPoolExecutor(options.workers, mp_context=get_context("fork")) as pool:
        for name, outcomes, score, error in pool.map(
            work, [(s.name, options.cache) for s in chosen]
        ):
            if error:
                print(f"BROKEN {name}: {error}")
            results[name] = (outcomes, score)
    report([s for s in chosen if results[s.name][0]], results, options.all_lines)


def report(
    chosen: list[Scenario], results: dict[str, tuple[list[Outcome], float]], all_lines: bool
) -> None:
    for index, every in enumerate(CADENCES):
        fine: list[tuple[Scenario, Outcome, float]] = []
        ill: list[tuple[Scenario, Outcome, float]] = []
        for s in chosen:
            outcomes, score = results[s.name]
            (ill if s.fails else fine).append((s, outcomes[index], score))
        critical = [x for x in fine if any(f.severity == "critical" for f in x[1].alarms)]
        warned = [x for x in fine if x[1].alarms and x not in critical]
        sick = [x for x in ill if not x[0].optional and not x[2] > 0.5]
        benign = [x for x in ill if not x[0].optional and x[2] > 0.5]
        seen = [x for x in sick if x[1].verdict == "failing"]
        warned_only = [x for x in sick if x[1].verdict == "warning"]
        named = [x for x in sick if x[1].verdict != "healthy" and right(x[0], x[1])]
        wrong = [x for x in ill if not right(x[0], x[1])]
        late = sorted(
            (x[1].first_critical - x[0].onset) for x in seen if x[1].first_critical is not None
        )
        off = sorted(
            abs(min(f.onset_step for f in x[1].flags if f.severity == "critical") - x[0].onset)
            for x in seen
        )
        print(f"\n=== every {every} (first 10 steps dense)")
        print(f"healthy {len(fine)}: ever critical {len(critical)}, ever warning {len(warned)}")
        print(
            f"failing {len(sick)} (+{len(benign)} benign): critical {len(seen)}, warning only "
            f"{len(warned_only)}, missed {len(sick) - len(seen) - len(warned_only)}; "
            f"cause right {len(named)}"
        )
        if late:
            print(
                f"steps to critical: median {late[len(late) // 2]}, "
                f"90 % {late[int(0.9 * len(late))]}; onset error: median {off[len(off) // 2]}, "
                f"90 % {off[int(0.9 * len(off))]}"
            )
        for title, group in (
            ("HEALTHY CRITICAL", critical),
            ("HEALTHY WARNED", warned),
            ("WRONG CAUSE", wrong),
            ("MISSED", [x for x in sick if x not in seen]),
        ):
            for s, outcome, score in group:
                ever = " ".join(
                    f"{f.severity[0]}:{f.kind}@{f.raised_step}" for f in outcome.alarms[:6]
                )
                print(f"  {title}: {line(s, outcome, score)} ever {ever}")
        if all_lines and index == 0:
            for s, outcome, score in fine + ill:
                print(line(s, outcome, score))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
