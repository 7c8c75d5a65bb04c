"""Labels that the inputs do not tell: shuffled, mistyped, of other rows."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.rules.causes.base import STILL, Case, Suspect, Tier
from deadband_monitor.rules.causes.data import PAIRS_ADVICE
from deadband_monitor.rules.causes.high_rate import BLOW_UP
from deadband_monitor.rules.causes.rows import STARVED, near_copies
from deadband_monitor.rules.causes.start import recurrent
from deadband_monitor.rules.handful import ANY_LABELS
from deadband_monitor.rules.mean_skill import HEAVY_TAILS, tails, tails_count
from deadband_monitor.rules.misfit import VALUE_LOSSES
from deadband_monitor.rules.modest import FEW_NEIGHBOURS
from deadband_monitor.rules.plateau import NEIGHBOURS_KNOW, few_inputs
from deadband_monitor.rules.unrelated import EVEN, LITTLE, chance, scatter

TYPED = 1000.0
"""Times the usual error that a few targets make the standard deviation of all."""


def suspects(case: Case) -> Iterator[Suspect]:
    """Label noise."""
    model = case.model
    agreement, skill = model.value("neighbour_agreement"), case.past.skill(model.name)
    kurtosis = tails(model)
    if kurtosis > HEAVY_TAILS and not model.makes_its_targets and tails_count(case.build.loss):
        typing = _typing_errors(case)
        yield from typing
        yield Suspect(
            word="label-noise",
            belief=0.4 if typing else 0.8,
            onset=case.start,
            explains=BLOW_UP | STARVED,
            evidence=[
                f"a few targets are far out (kurtosis {kurtosis:.3g}, normal 3): they rule the loss"
            ],
            advice="nn.HuberLoss(delta=1.0) on standardised targets, gradients clipped at 1.0, "
            "or winsorise the targets at the 1st and 99th percentile",
        )
    if not agreement >= NEIGHBOURS_KNOW:
        yield from _told_by_nothing(case)
    if math.isnan(agreement):
        yield from _holds_for_no_other(case)
    if not agreement < FEW_NEIGHBOURS or math.isnan(agreement):
        return
    if model.value("majority_share") > EVEN:
        return  # agreement beyond chance is a matter of a few rows there
    heart = case.flag("overfitting") is not None
    if skill >= 2 * LITTLE and not heart and case.flag("constant-predictor") is None:
        return
    # A large step that was got over is not why nothing is learnt.
    large = case.flag("update-too-large") is not None
    healthy = not (large or case.facts.seen & {"tiny_updates", "dead", "saturated"})
    belief = 0.8 if agreement < chance(model) + scatter(model) else 0.4
    if case.facts.input_kind:
        # What lies next to what is a matter of the largest feature or of rounding then.
        belief /= 3
    if recurrent(case) is not None:
        # Series that are alike as a whole need not agree in what counts, one value early on: the
        # nearest of 1500 noisy ones of 40 values had the label by chance, whatever the rule.
        belief /= 2
    if near_copies(model):
        belief /= 3
    if model.value("in_per_feature") < ANY_LABELS:
        # A plane can tell any labels of so few rows in so many dimensions: nearest is not near.
        belief /= 3
    yield Suspect(
        word="label-noise",
        belief=belief if healthy else belief / 3,
        onset=case.start,
        explains=STARVED,
        evidence=[
            f"inputs that lie next to each other agree in their labels no more than chance has it "
            f"({agreement:.2g} of 1)"
        ],
        advice="check that x[i] belongs to y[i] (shuffled apart? sorted differently?); train on 32 "
        "samples to zero loss; feed zeros instead of x and compare the loss",
    )


def _typing_errors(case: Case) -> list[Suspect]:
    """Most targets were met to within a thousandth of what a few of them make of the spread.

    No noise is like that: of 2000 draws of a Cauchy variable the standard deviation is about 40
    times the middle half. It is a missing point, another unit, a code for what is not known.
    """
    best, spread = case.past.loss.best, case.model.value("target_sd")
    error = math.sqrt(best) if case.build.loss == "mse" and best > 0 else best
    if case.build.loss not in VALUE_LOSSES or not 0 < error * TYPED < spread:
        return []
    low, high = case.model.value("target_min"), case.model.value("target_max")
    return [
        Suspect(
            word="bad-data",
            belief=0.85,
            onset=case.start,
            explains=BLOW_UP | STARVED,
            evidence=[
                f"in most batches the answers are {error:.2g} off; a few targets (from {low:.3g} "
                f"to {high:.3g}) make a standard deviation of {spread:.3g}: they are no noise"
            ],
            advice=f"look at the rows with targets near {high if high > -low else low:.3g}: a "
            "missing decimal point, another unit, 999999 for what is not known; drop or mend them",
        )
    ]


def _holds_for_no_other(case: Case) -> Iterator[Suspect]:
    """What was learnt told nothing of other rows at any time: labels at random look the same.

    So do few rows, which is likelier; neighbours, who could tell, were not to be had.
    """
    flag, constant = case.flag("overfitting"), case.model.latest("loss_constant")
    best = math.nan if flag is None else flag.evidence.get("best_eval_loss", math.nan)
    if flag is None or not best >= constant > 0:
        return
    yield Suspect(
        word="label-noise",
        belief=0.5,
        onset=flag.onset_step,
        explains=frozenset({"overfitting"}),
        evidence=[
            f"on rows that are not trained on the loss was {best:.3g} at its best, a constant "
            f"answer's is {constant:.3g}: what is learnt here holds for no other row"
        ],
        advice=PAIRS_ADVICE + "; print ten pairs as text",
    )


def _told_by_nothing(case: Case) -> Iterator[Suspect]:
    """Of ids no neighbours are known, nor of too few samples; they may agree a little, besides.

    Labels that came a row late, of rows in an order, agreed by 0.25.
    A sound network that learns nothing leaves the labels. Weights drawn small (positions, 0.02)
    have trebled after some hundred steps of Adam in any run.
    """
    if case.facts.seen - {"weights_tripled"} or case.flag("constant-predictor") is None:
        return
    if case.past.loss.jumped is not None and case.model.best_skill > LITTLE:
        return  # it did tell them, and then no more
    if few_inputs(case.past, case.model):
        return  # a truth table: each row can be told from every other
    yield Suspect(
        word="label-noise",
        tier=Tier.RESIDUAL,
        belief=0.45,
        onset=case.start,
        explains=STILL,
        evidence=[
            "gradients, updates and units are sound, and the answers are no better than the "
            f"frequencies of the labels (skill {case.past.skill(case.model.name):.2g})"
        ],
        advice="check that x[i] belongs to y[i] (shuffled apart? sorted differently?): print ten "
        "pairs as text; train on 32 samples to zero loss",
    )
