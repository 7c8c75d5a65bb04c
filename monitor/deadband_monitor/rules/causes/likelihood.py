"""How often each kind of evidence was seen under each cause: naive Bayes over a small table.

The shares come from 546 traced training runs (182 scenarios, three seeds; MLP, CNN, recurrent nets,
small transformers on scikit-learn's data): percent of runs of that cause in which the evidence
appeared within 250 steps. `saturating-activation` was split off the unnormalised and large-weight
runs, so its row is a judgement; `something else` is what healthy and unlearnable runs show.
"""

from __future__ import annotations

import math

EVIDENCE = (
    "large_update",
    "loss_above_constant",
    "weights_tripled",
    "gradient_tenfold",
    "saturated",
    "dead",
    "faint_depth",
    "input_scale",
    "input_tiny",
    "input_constant",
    "twins",
    "small_weights",
    "large_weights",
    "shrinking",
    "tiny_updates",
)

_ROWS: dict[str, tuple[int, tuple[int, ...]]] = {
    # cause: (runs, percent for each of EVIDENCE)
    "something else": (186, (3, 1, 25, 9, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0)),
    "learning-rate-too-high": (69, (100, 84, 96, 88, 17, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    "unnormalised-inputs": (24, (25, 4, 17, 42, 75, 25, 0, 100, 0, 0, 0, 0, 0, 0, 0)),
    "unnormalised-inputs (tiny)": (6, (0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0)),
    "low-data-diversity": (9, (0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0)),
    "constant-initialisation": (12, (0, 25, 0, 25, 0, 0, 0, 0, 0, 0, 100, 0, 25, 0, 0)),
    "constant-initialisation (zero)": (9, (0, 0, 0, 0, 0, 33, 0, 0, 0, 0, 50, 100, 0, 0, 0)),
    "bad-initialisation-scale (small)": (6, (0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 100, 0, 0, 0)),
    "bad-initialisation-scale (large)": (15, (20, 20, 20, 20, 20, 0, 0, 0, 0, 0, 0, 0, 80, 0, 0)),
    "saturating-activation": (15, (5, 10, 10, 10, 100, 0, 0, 0, 0, 0, 0, 0, 50, 0, 0)),
    "depth-vanishing": (15, (0, 0, 0, 0, 0, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0)),
    "dying-relu": (12, (25, 0, 25, 17, 0, 100, 0, 0, 0, 0, 0, 0, 0, 0, 0)),
    "learning-rate-too-low": (9, (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100)),
    "over-regularisation": (18, (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 83, 0)),
}


def odds(row: str, evidence: frozenset[str], unknown: frozenset[str] = frozenset()) -> float:
    """How much likelier the evidence is under a row of the table than under something else.

    What could not be seen (`unknown`) speaks neither for nor against.
    """
    other = _log_likelihood("something else", evidence, unknown)
    ratio = _log_likelihood(row, evidence, unknown) - other
    return math.exp(min(ratio, 500.0))


def _log_likelihood(cause: str, evidence: frozenset[str], unknown: frozenset[str]) -> float:
    runs, percents = _ROWS[cause]
    total = 0.0
    for name, percent in zip(EVIDENCE, percents, strict=True):
        if name in unknown:
            continue
        share = (runs * percent / 100 + 1) / (runs + 2)  # Laplace's rule of succession
        total += math.log(share if name in evidence else 1 - share)
    return total
