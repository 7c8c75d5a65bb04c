"""Recorded runs, kept by what they came from.

A run that is kept is used again only while everything that made it is the same to the letter: the
client, the statistics, torch, and the scoreboard's own files that the scenario is made of.
The rules are not among it: that they can be run again in no time is what the cache is for.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import re
import zlib
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import deadband
import deadband_monitor
from deadband_monitor.metrics import LAYER_METRICS, MODEL_METRICS
from deadband_monitor.rules.base import Observation
from scoreboard.harness import record
from scoreboard.scenario import Scenario

Lanes = dict[int, list[Observation]]

IMPORTED = re.compile(r"^from (scoreboard\.[\w.]+) import", re.MULTILINE)


def _root(package: Any) -> Path:
    return Path(inspect.getfile(package)).parent


@lru_cache
def _sources() -> bytes:
    files = [
        *_root(deadband).glob("*.py"),
        _root(deadband_monitor) / "metrics.py",
        *(_root(deadband_monitor) / "statistics").glob("*.py"),
    ]
    digest = hashlib.sha256(torch.__version__.encode())
    for path in sorted(files):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.digest()


def _made_of(module: str, met: dict[str, bytes]) -> dict[str, bytes]:
    """The texts of a module of the scoreboard and of all those of its modules that it imports.

    A package stands for all of its modules.
    """
    path = Path(__file__).parents[1] / f"{module.replace('.', '/')}.py"
    if module not in met and path.exists():
        met[module] = path.read_bytes()
        for imported in IMPORTED.findall(met[module].decode()):
            _made_of(imported, met)
    for part in sorted(path.with_suffix("").glob("[!_]*.py")):
        _made_of(f"{module}.{part.stem}", met)
    return met


@cache
def _family(name: str) -> bytes:
    met = _made_of("scoreboard.harness", {})
    return b"".join(text for _, text in sorted(_made_of(f"scoreboard.{name}", met).items()))


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of recorded runs; everything is trained anew where there is none."""

    folder: Path | None = None

    def lanes(self, scenario: Scenario) -> tuple[Lanes, float]:
        """The observations of a scenario per cadence, and its skill."""
        if self.folder is None:
            return record(scenario)
        stem = f"{zlib.crc32(scenario.name.encode()):08x}"
        path = self.folder / f"{stem}-{self._digest(scenario)}.run"
        if path.exists():
            return _unpacked(path.read_bytes())
        lanes, score = record(scenario)
        self.folder.mkdir(parents=True, exist_ok=True)
        for old in self.folder.glob(f"{stem}-*.run"):
            old.unlink(missing_ok=True)
        whole = path.with_suffix(f".{os.getpid()}")
        whole.write_bytes(_packed(lanes, score))
        whole.replace(path)
        return lanes, score

    @staticmethod
    def _digest(scenario: Scenario) -> str:
        made = hashlib.sha256(_sources())
        made.update(_family(scenario.family))
        made.update(f"{scenario.name} {scenario.steps}".encode())
        return made.hexdigest()[:16]


_FIELDS = tuple(field.name for field in fields(Observation))


def _packed(lanes: Lanes, score: float) -> bytes:
    # By field name, so that a field that joins later makes no kept run unreadable.
    plain = {
        every: [{name: getattr(seen, name) for name in _FIELDS} for seen in observations]
        for every, observations in lanes.items()
    }
    return zlib.compress(pickle.dumps((plain, score)), 1)


def _unpacked(data: bytes) -> tuple[Lanes, float]:
    plain, score = pickle.loads(zlib.decompress(data))
    return {
        every: [Observation(**_widened(seen)) for seen in observations]
        for every, observations in plain.items()
    }, score


def _widened(seen: dict[str, Any]) -> dict[str, Any]:
    """With the statistics that were appended since it was kept: it knows nothing of them."""
    for name, metrics in (("layers", LAYER_METRICS), ("models", MODEL_METRICS)):
        missing = len(metrics) - seen[name].shape[1]
        if missing > 0:
            seen[name] = np.pad(seen[name], ((0, 0), (0, missing)), constant_values=np.nan)
    return seen
