"""Trains the scenarios, watched, and prints the board: `python -m scoreboard` in `tests`.

The half that is set apart and the exams are run for a final figure only: whatever is looked at is
tuned to. `--half crossed --draw 7 --runs 100` draws an exam: faults crossed by lot with networks,
data, optimisers and habits.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from scoreboard import board, runs
from scoreboard.cache import Cache
from scoreboard.crossed import draw
from scoreboard.figures import Figures, Result, figures, proven
from scoreboard.harness import CADENCES, Outcome, judge
from scoreboard.peers import comparison
from scoreboard.scenario import EXAMS, Scenario

SHARES = {
    "tune": ("tune",),
    "held": ("held",),
    "both": ("tune", "held"),
    **{exam: (exam,) for exam in EXAMS},
    "all": ("tune", "held", *EXAMS),
    "crossed": ("crossed",),
}


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one run."""

    outcomes: list[Outcome]
    score: float
    error: str = ""


def chosen(options: argparse.Namespace) -> dict[str, Scenario]:
    """The scenarios asked for, each fault followed by its remedy; a draw's are proven by theirs."""
    found: dict[str, Scenario] = {}
    crossed = options.half == "crossed"
    source = draw.drawn(options.draw, options.runs) if crossed else runs.everything(options.pairs)
    for scenario in source:
        if options.word not in f"{scenario.name} {' '.join(scenario.causes)}":
            continue
        if options.only and scenario.fails != (options.only == "failing") and not crossed:
            continue
        if scenario.share not in SHARES[options.half]:
            continue
        found[scenario.name] = scenario
        if scenario.remedy is not None and (options.remedies or crossed):
            twin = scenario.mended()
            found[twin.name] = twin
    return found


def work(name: str, scenarios: dict[str, Scenario], cache: Cache) -> Ran:
    """Train one, or take it from the cache, and judge it at every cadence."""
    try:
        lanes, score = cache.lanes(scenarios[name])
        return Ran([judge(every, lanes[every]) for every in CADENCES], score)
    except Exception as error:
        traceback.print_exc()
        return Ran([], float("nan"), f"{type(error).__name__}: {error}")


def run(scenarios: dict[str, Scenario], cache: Cache, workers: int) -> Iterator[tuple[str, Ran]]:
    """Each scenario's name and what came of it, in their order."""
    # Forked, so that every worker has the scenarios: they are made of closures.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("fork"), initializer=_take, initargs=(scenarios, cache)
    ) as pool:
        yield from zip(scenarios, pool.map(_work, scenarios), strict=True)


_given: list[tuple[dict[str, Scenario], Cache]] = []


def _take(scenarios: dict[str, Scenario], cache: Cache) -> None:
    _given.append((scenarios, cache))


def _work(name: str) -> Ran:
    return work(name, *_given[-1])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m scoreboard", description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="part of a name, or a cause")
    parser.add_argument(
        "--half", choices=tuple(SHARES), default="tune", help="both: without the exams"
    )
    parser.add_argument("--only", choices=("failing", "healthy"), help="of the two")
    parser.add_argument("--all-lines", action="store_true", help="a line for every run")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-remedies", dest="remedies", action="store_false")
    parser.add_argument("--pairs", action="store_true", help="160 random pairs too")
    parser.add_argument("--draw", type=int, default=1, help="seed of the half crossed")
    parser.add_argument("--runs", type=int, default=100, help="so many of the half crossed")
    parser.add_argument("--cache", type=Path, help="folder for recorded runs, made where missing")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--peers", action="store_true", help="other tools on the same runs instead")
    parser.add_argument("--peers-sample", type=int, default=12, metavar="N", help="N of each kind")
    options = parser.parse_args(arguments)
    began = time.monotonic()
    scenarios = chosen(options)
    if not scenarios:
        print(f"no scenario has {options.word!r} in its name in this half", file=sys.stderr)
        return 2
    if options.peers:
        picked = [s for s in scenarios.values() if not s.twin_of]
        comparison.compare(
            picked, options.peers_sample, options.workers, all_lines=options.all_lines
        )
        print(f"\n{options.half} half, {time.monotonic() - began:.0f} s")
        return 0
    results: dict[str, Ran] = {}
    for name, ran in run(scenarios, Cache(options.cache), options.workers):
        results[name] = ran
        if sys.stderr.isatty():
            print(f"\r\033[K{len(results)}/{len(scenarios)} {name}", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    boards = report(scenarios, results, options)
    spent = time.monotonic() - began
    print(f"\n{len(results)} runs, {options.half} half, {spent:.0f} s")
    if options.json:
        found = {"half": options.half, "runs": len(results), "seconds": round(spent, 1)}
        text = json.dumps({**found, "boards": [asdict(b) for b in boards]}, indent=1)
        options.json.write_text(text.replace("NaN", "null"))
    return 0


def report(
    scenarios: dict[str, Scenario], results: dict[str, Ran], options: argparse.Namespace
) -> list[Figures]:
    """Print the board; the figures that it shows."""
    scores = {name: ran.score for name, ran in results.items() if not ran.error}
    out: set[str] = set()
    for name, ran in results.items():
        if ran.error:
            print(f"BROKEN       {name}: {ran.error}")
            out.add(name)
    thrown = 0
    for name, scenario in scenarios.items():
        if scenario.fails and name not in out and proven(scores, scenario) is False:
            mended = scores[f"{name} mended"]
            print(f"DOES NOT HOLD  {name}: skill {scores[name]:.2f}, mended {mended:.2f}")
            out |= {name, f"{name} mended"}  # the remedy of what is no fault proves nothing
            thrown += 1
    if options.half == "crossed":
        count = sum(scenario.fails for scenario in scenarios.values())
        print(f"{thrown} of {count} drawn are not proven and count for nothing")
        # What is not asked for was trained to prove the rest.
        both = (True, False) if options.remedies else (True,)
        wanted = {"failing": (True,), "healthy": (False,)}.get(options.only, both)
        out |= {name for name, scenario in scenarios.items() if scenario.fails not in wanted}
    boards: list[Figures] = []
    for index, every in enumerate(CADENCES):
        group = [
            Result(scenario=s, score=results[name].score, outcome=results[name].outcomes[index])
            for name, s in scenarios.items()
            if name not in out
        ]
        boards.append(figures(every, group))
        lines = [board.line(r) for r in group] if options.all_lines and not index else []
        for said in (*lines, *board.wrongs(group)):
            print(said)
    print("", *board.whole(boards), "", *board.by_cause(boards), sep="\n")
    print("", *board.calibration(boards[0]), sep="\n")
    return boards


if __name__ == "__main__":
    sys.exit(main())
