"""The same rows again and again: a loader that is stuck, or all the data that there are."""

from __future__ import annotations

import math
from collections.abc import Iterator

from deadband_monitor.rules.causes.base import Case, Suspect, Tier
from deadband_monitor.rules.handful import ANY_LABELS, LEAST_ROWS, few_rows
from deadband_monitor.rules.misfit import CLASS_LOSSES
from deadband_monitor.rules.past import ModelPast
from deadband_monitor.rules.unrelated import chance, scatter

FEW_ROWS = 0.1
"""Share of the last 2000 rows that are different ones: 200 rows, learnt by heart in no time."""
MANY_TWINS = 0.5
UNDECIDED = 0.6
"""Belief in a loader that is stuck, where there may be no more data."""
FEW_GROUPS = 32.0
"""Originals of which all rows are near copies: 512 rows are compared, sixteen of each."""
STARVED = frozenset({"constant-predictor", "loss-plateau", "overfitting", "input-anomaly"})


def few(case: Case) -> Iterator[Suspect]:
    """Rows that repeat within a batch, or from batch to batch."""
    distinct, twins = case.model.value("in_distinct"), case.model.value("in_duplicates")
    if few_rows(case.model):
        rows, distinct = case.model.latest("in_rows"), case.model.latest("in_distinct")
        # Whether the loader is stuck or there are no more data cannot be told; where the evaluation
        # loss was seen to rise, learning by heart is what was found.
        by_heart = case.flag("overfitting") is not None
        # No data are two or three rows, and no batch of them is larger.
        sure = not by_heart or rows < LEAST_ROWS
        yield Suspect(
            word="low-data-diversity",
            tier=Tier.EXACT if sure else Tier.PATTERN,
            belief=0.93 if sure else _stuck(case),
            onset=case.start,
            explains=(STARVED | {"batchnorm-mismatch"}) - {"loss-plateau"},
            evidence=[
                f"{rows:.0f} different rows are all that came in the last {rows / distinct:.0f}"
            ],
            advice="look at the loader: next(iter(loader)) taken once, a subset left from a test, "
            "a sampler over a few indices; as a test that the model can fit a batch it is fine",
        )
        if not by_heart:
            yield Suspect(
                word="overfitting",
                belief=0.5,
                onset=case.start,
                explains=frozenset({"input-anomaly"}),
                evidence=[f"{rows:.0f} rows are learnt by heart, if they are all that there are"],
                advice="more data or augmentation, and a look at rows that are not trained on: "
                "model.eval(), torch.no_grad(), the same loss",
            )
    elif twins > MANY_TWINS and case.facts.input_kind != "constant":
        yield Suspect(
            word="low-data-diversity",
            belief=0.6,
            onset=case.start,
            # Repeated rows are the easier to fit: they do not keep a training loss up.
            explains=(STARVED | {"output-collapse"}) - {"loss-plateau"},
            evidence=[f"{twins:.0%} of the rows of a batch repeat another row of it"],
            advice="look at the sampler (replacement=True?), the file list and the augmentation: "
            "the same rows come again and again",
        )
    elif near_copies(case.model):
        groups = round(case.model.value("in_groups"))
        yield Suspect(
            word="low-data-diversity",
            belief=0.85,
            onset=case.start,
            explains=STARVED,
            evidence=[
                "all rows are one row and noise of each feature's own"
                if groups == 1
                else f"all rows are near copies of {groups} rows, far from each other",
                "and the labels of one row's copies differ",
            ],
            advice="look at the index that picks a row (self.x[0], i % n, a cached item) and at "
            "the file list: one row of the data is augmented again and again, its label is not",
        )
    elif distinct < FEW_ROWS:
        rows, stuck = case.model.value("in_rows"), _stuck(case)
        yield Suspect(
            word="low-data-diversity",
            belief=stuck if stuck > UNDECIDED else 0.5,
            onset=case.start,
            explains=frozenset({"overfitting"}),
            evidence=[f"of the last rows only {distinct:.1%} are different ones ({rows:.0f})"],
            advice="more data or augmentation: so few rows are learnt by heart; fewer weights, "
            "weight_decay 1e-2 or dropout 0.3 put it off",
        )


def near_copies(model: ModelPast) -> bool:
    """Whether all rows are copies, with noise, of a few, and tell nothing of their labels.

    Where there are as many of them as classes, rows of a class may be alike by nature, and what is
    mixed up are the labels.
    """
    groups, agreement = model.value("in_groups"), model.value("neighbour_agreement")
    if not (groups <= FEW_GROUPS and agreement < chance(model) + scatter(model)):
        return False
    # As many as evenly frequent ones of the same entropy.
    return not math.isclose(groups, math.exp(model.value("label_entropy")), rel_tol=0.1)


def _stuck(case: Case) -> float:
    """Belief that the loader gives a part of the data only, where few rows are learnt by heart.

    Nobody draws a batch of more rows than the data have; and the same ones at every step, as many
    as a power of two, are rather a batch than a data set, whose size is any number. Nor does anyone
    collect data of which most classes have a single row.
    """
    if not case.model.value("in_per_feature") < ANY_LABELS:
        return UNDECIDED  # a small table, which has no more rows than that
    rows, batch = round(case.model.value("in_rows")), next(iter(case.build.loss_target), 0)
    if 2 * rows <= batch and case.model.value("in_duplicates") > MANY_TWINS:
        return 0.93
    whole = rows == batch and case.model.value("in_repeat") == 1
    shape = case.build.loss_input
    classes = shape[1] if case.build.loss in CLASS_LOSSES and len(shape) > 1 else 0
    a_batch = rows & (rows - 1) == 0 or rows < 2 * classes
    return 0.85 if whole and a_batch else UNDECIDED
