"""Runs the tools over a sample of the scenarios and prints what each came to.

A failing run is found by us where the verdict at the end says so, by the others where they ever
warned. A run that a tool broke is told, and counts neither for nor against it.
"""

from __future__ import annotations

import contextlib
import io
import math
import time
import warnings
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from importlib import import_module
from multiprocessing import get_context

from scoreboard.board import number, percent, table
from scoreboard.harness import Recorder, judge
from scoreboard.peers import gradsnitch, nn_htop, ormas, sagemaker, trainpulse, trainscope
from scoreboard.peers.peer import Finding, Listening, Peer
from scoreboard.scenario import Nobody, Scenario, Verdict, train

PEERS = (
    gradsnitch.PEER,
    trainpulse.PEER,
    trainscope.PEER,
    ormas.PEER,
    sagemaker.PEER,
    nn_htop.PEER,
)

OURS, ALONE = "deadband", "nobody"
HEALTHY = Verdict(verdict="healthy")
EVERY = 10
"""The cadence at which we are shown; all but ormas-monitor (50) look as often or more often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What one tool said of one run."""

    tool: str
    run: str
    wanted: tuple[str, ...] = ()
    """Right causes; none of a healthy run."""
    verdict: Verdict = HEALTHY
    findings: tuple[Finding, ...] = ()
    alarmed: bool = False
    """It warned, at the end or before."""
    seconds: float = math.nan
    """Of the processor: other work on the machine does not count."""
    error: str = ""

    @property
    def right(self) -> bool:
        """A right cause is among those that it names."""
        return bool(set(self.verdict.causes) & set(self.wanted))


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One tool, over all runs."""

    tool: str
    healthy: int
    found: float
    first: float
    named: float
    """Share of failing runs whose cause is among those that it names."""
    alarmed: int
    seconds: float
    judges: bool
    names_causes: bool


def sample(scenarios: Iterable[Scenario], count: int) -> list[Scenario]:
    """So many, from all families in turn; within one in an order that is fixed and random."""
    families: dict[str, list[Scenario]] = defaultdict(list)
    for scenario in scenarios:
        families[scenario.family].append(scenario)
    queues = [
        sorted(families[family], key=lambda s: zlib.crc32(f"peers {s.name}".encode()))
        for family in sorted(families)
    ]
    found: list[Scenario] = []
    while len(found) < count and any(queues):
        for queue in queues:
            if queue and len(found) < count:
                found.append(queue.pop(0))
    return found


def listen(tool: str, scenario: Scenario, peers: Mapping[str, Peer]) -> Heard:
    """Train the scenario with one tool listening."""
    heard = Heard(tool=tool, run=scenario.name, wanted=scenario.causes)
    began = time.process_time()
    if tool == ALONE:
        train(scenario, Nobody())
    elif tool == OURS:
        recorder = Recorder((EVERY,), judging=False)
        try:
            train(scenario, recorder)
        finally:
            recorder.close()
        outcome = judge(EVERY, recorder.lanes[0].observations)
        causes = tuple(cause.cause for cause in outcome.causes)
        heard = replace(
            heard,
            verdict=Verdict(verdict=outcome.verdict, causes=causes),
            alarmed=bool(outcome.alarms),
        )
    else:
        listening = Listening(peers[tool])
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                verdict, _ = train(scenario, listening)
        except Exception as error:
            text = f"{type(error).__name__}: {error}".splitlines()[0]
            return replace(heard, error=text)
        finally:
            with contextlib.suppress(Exception):
                listening.close()
        findings = tuple(listening.findings)
        heard = replace(heard, verdict=verdict, findings=findings, alarmed=bool(findings))
    return replace(heard, seconds=time.process_time() - began)


def line(tool: str, heard: Sequence[Heard], peer: Peer | None) -> Line:
    """The figures of one tool; runs that it broke are not among them."""
    whole = [h for h in heard if not h.error]
    ill = [h for h in whole if h.wanted]
    fine = [h for h in whole if not h.wanted]
    count = len(ill) or math.nan
    return Line(
        tool=tool,
        healthy=len(fine),
        found=sum(h.verdict.verdict != "healthy" for h in ill) / count,
        first=sum(h.right and h.verdict.causes[0] in h.wanted for h in ill) / count,
        named=sum(h.right for h in ill) / count,
        alarmed=sum(h.alarmed for h in fine),
        seconds=sum(h.seconds for h in whole) / (len(whole) or math.nan),
        judges=peer.judges if peer else tool != ALONE,
        names_causes=bool(peer.causes) if peer else tool == OURS,
    )


def lines(tool: str, heard: Sequence[Heard], peer: Peer | None) -> Iterator[Line]:
    """The tool's line, and those with findings left out."""
    yield line(tool, heard, peer)
    if peer is None:
        return
    for label, out in peer.without.items():
        less = []
        for h in heard:
            kept = tuple(f for f in h.findings if f.what not in out)
            less.append(replace(h, findings=kept, verdict=peer.verdict(kept), alarmed=bool(kept)))
        yield line(label, less, peer)


def drawn(rows: Sequence[Line]) -> list[str]:
    """The table."""
    cells: list[tuple[str, ...]] = [
        ("tool", "found", "right cause first", "named at all", "healthy with alarm", "cpu s a run")
    ]
    for row in rows:
        causes = ("names none", "-")
        if row.names_causes:
            causes = (percent(row.first), percent(row.named))
        judged = (percent(row.found), *causes, f"{row.alarmed} of {row.healthy}")
        if not row.judges:
            judged = ("-" if row.tool == ALONE else "shows, does not judge", "-", "-", "-")
        cells.append((row.tool, *judged, number(row.seconds, 2)))
    return table(cells)


def said(heard: Sequence[Heard]) -> str:
    """Its findings, each with the number of failing and of healthy runs that it was made on."""
    ill: Counter[str] = Counter()
    fine: Counter[str] = Counter()
    for h in heard:
        (ill if h.wanted else fine).update({f.what for f in h.findings})
    words = sorted({*ill, *fine}, key=lambda word: (-fine[word], -ill[word], word))
    return ", ".join(f"{word} {ill[word]}/{fine[word]}" for word in words) or "nothing"


def detail(heard: Heard) -> str:
    """One run."""
    words = " ".join(dict.fromkeys(f.what for f in heard.findings))
    wanted = f" (wants {'|'.join(heard.wanted)})" if heard.wanted else ""
    causes = " ".join(heard.verdict.causes) or "-"
    text = heard.error or f"{heard.verdict.verdict}: {causes} | {words}"
    return f"{heard.tool}: {heard.run}{wanted} {text}"


def compare(
    scenarios: Iterable[Scenario],
    count: int,
    workers: int,
    *,
    peers: Sequence[Peer] = PEERS,
    all_lines: bool = False,
) -> list[Line]:
    """Run what is installed on so many failing and healthy runs, and print the table."""
    given = list(scenarios)
    picked = sample((s for s in given if s.fails), count)
    picked += sample((s for s in given if not s.fails), count)
    there = {peer.name: peer for peer in peers if peer.installed}
    for peer in peers:
        if not peer.installed:
            print(f"{peer.name} is not installed, left out (pip install {peer.name})")
    tools = [OURS, *there, ALONE]
    tasks = [(tool, scenario.name) for scenario in picked for tool in tools]
    heard: dict[str, list[Heard]] = {tool: [] for tool in tools}
    for one in _all(tasks, {s.name: s for s in picked}, there, workers):
        heard[one.tool].append(one)
        if one.error or all_lines:
            print(("BROKEN  " if one.error else "") + detail(one), flush=True)
    rows = [row for tool in tools for row in lines(tool, heard[tool], there.get(tool))]
    ill = sum(s.fails for s in picked)
    print(f"{ill} failing and {len(picked) - ill} healthy runs, deadband at every={EVERY}")
    print("", *drawn(rows), "", sep="\n")
    print("deadband's time is that of measuring every step; what is judged is thinned after that.")
    print("findings, on failing/healthy runs:")
    for name, peer in there.items():
        if peer.judges:
            print(f"  {name}: {said(heard[name])}")
    return rows


def _all(
    tasks: Sequence[tuple[str, str]],
    scenarios: dict[str, Scenario],
    peers: dict[str, Peer],
    workers: int,
) -> Iterator[Heard]:
    for peer in peers.values():
        if peer.module:
            import_module(peer.module)  # now, so that it is not on the first run's clock
    if workers <= 1:
        _take(scenarios, peers)
        yield from map(_work, tasks)
        return
    # Forked, so that every worker has the scenarios: they are made of closures.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("fork"), initializer=_take, initargs=(scenarios, peers)
    ) as pool:
        yield from pool.map(_work, tasks)


_given: list[tuple[dict[str, Scenario], dict[str, Peer]]] = []


def _take(scenarios: dict[str, Scenario], peers: dict[str, Peer]) -> None:
    _given.append((scenarios, peers))


def _work(task: tuple[str, str]) -> Heard:
    scenarios, peers = _given[-1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what others warn Python of is their own affair
        return listen(task[0], scenarios[task[1]], peers)
