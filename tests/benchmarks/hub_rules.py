"""What the rules cost the hub: `python tests/benchmarks/hub_rules.py [--layers 300]`.

Prints processor time a sample of all rules together, healthy and collapsing, as the median over
stretches of 20 samples and the middle half of them.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "monitor"))

from rules_scene import Scene, SceneSample  # type: ignore[import-not-found]

from deadband_monitor.rules.base import Observation

STRETCH, STRETCHES = 20, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=300)
    layers = parser.parse_args().layers
    for name, change in (("healthy", None), ("collapsing", collapse)):
        low, median, high = cost_ms(layers, change)
        print(f"{layers} layers, {name:<10}  {median:.3f} ms a sample ({low:.3f}..{high:.3f})")


def collapse(sample: SceneSample) -> None:
    """Every unit is dead and the output stands still."""
    sample.model(out_variance=0, out_sd=0)
    for number in range(0, len(sample.layers), 2):
        sample.layer(f"act{number}", dead_units=1, out_variance=0, out_rms=0)


def cost_ms(
    layers: int, change: Callable[[SceneSample], None] | None
) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of the cost of a sample."""
    scene = Scene(names=[f"fc{i}" if i % 2 else f"act{i}" for i in range(layers)])
    scene.run(5)
    costs = []
    for first in range(6, 6 + STRETCH * STRETCHES, STRETCH):
        seen = [observed(scene, step, change) for step in range(first, first + STRETCH)]
        start = time.process_time()
        for one in seen:
            scene.engine.observe(one)
        costs.append((time.process_time() - start) * 1e3 / STRETCH)
    low, median, high = np.percentile(costs, [25, 50, 75])
    return float(low), float(median), float(high)


def observed(scene: Scene, step: int, change: Callable[[SceneSample], None] | None) -> Observation:
    sample = SceneSample(scene, step)
    if change is not None:
        change(sample)
    return Observation(
        step=step,
        table=scene.table,
        layers=sample.layers,
        models=sample.models,
        loss_steps=np.array([step]),
        losses=np.array([sample.loss], np.float32),
    )


if __name__ == "__main__":
    main()
