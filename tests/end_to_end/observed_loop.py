"""A watched loop without torch: `steps N` trains on, `end` ends it; says where it is after each."""

from __future__ import annotations

import sys
import time

import numpy as np

import deadband


def main() -> None:
    rng = np.random.default_rng(0)
    watch = deadband.watch(None, name="observed", every=1, budget=None)
    until = time.monotonic() + 60
    while not getattr(watch._link, "_welcomed", True) and time.monotonic() < until:
        time.sleep(0.05)  # so that whoever reads the next line finds the run
    print(watch.run, flush=True)
    for line in sys.stdin:
        word, _, count = line.strip().partition(" ")
        if word == "end":
            break
        for _ in range(int(count)):
            gate = rng.random((32, 8), dtype=np.float32)
            watch.observe("gate", gate, activation="sigmoid")
            watch.step(loss=float(gate.mean()))
        print(count, flush=True)
    watch.close()


if __name__ == "__main__":
    main()
