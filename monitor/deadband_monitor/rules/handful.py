"""The same handful of rows again and again: all of the data, or all that there is of a class.

Labels of any kind can be learnt by heart of so few, so that no loss tells. Part of `input-anomaly`.
"""

from __future__ import annotations

from deadband_monitor.rules.judges import Judgement
from deadband_monitor.rules.past import ModelPast, Past

FEW_ROWS = 64
LEAST_FEATURES = 8
ANY_LABELS = 2.0
"""So few different rows, of so many features, and less than two rows a feature: a plane fits all
ways to label d + 1 points in d dimensions, half of those of 2 (d + 1) points (Cover, IEEE Trans.
Electronic Computers 14:326, 1965), so that what is learnt says nothing of other rows. Truth tables
and worked examples have fewer features."""
LEAST_ROWS = 4
"""Fewer than the smallest table of two yes/no features has; worked examples of as few have more of
them than features."""
ROUNDS = 20.0
"""Times that each of them was shown, on average, before they are called all that there is."""
TWICE = 0.5
"""Share of different rows among those that were sampled, from which each was met twice, on average:
what has not been met by then is one row in seven."""
RARE = 8.0
"""Different rows of a rare class, on average, that are too few ..."""
OUTNUMBERED = 30.0
"""... where there are so many times as many of the class that rules. Of rows that were not trained
on, networks of five with 3 to 8 such rows found 0 to 0.3 in two tasks over digits and one of
clusters, however many more the others had from 28 times on, 0.6 to 0.8 in clusters that lie apart
and 0.8 of tumours; all had learnt their own by heart. At ten times they found 0 to 0.9. None of 707
healthy runs had a class of twelve rows or fewer against fifteen times as many."""
SLACK = 1.5
"""Times beyond both before it is taken back: the share is that of the last labels."""


def few_rows(model: ModelPast) -> bool:
    """Whether the same handful of rows comes again and again.

    By what was told last: the last batch of a round, which is smaller, says nothing of it.
    """
    rows, share = model.latest("in_rows"), model.latest("in_distinct")
    per_feature = model.latest("in_per_feature")
    if not (rows <= FEW_ROWS and per_feature < ANY_LABELS and model.feed.seen_whole):
        return False
    features = rows / per_feature
    # Of examples worked by hand there are as many as features, or more.
    enough = features >= LEAST_FEATURES or (features >= 4 and per_feature <= 0.5)
    enough = enough or rows <= min(features, LEAST_ROWS - 1)
    shown = rows / share * model.feed.steps_a_sample
    return enough and rows > 1 and share <= TWICE and ROUNDS * rows <= shown


def few_of_all(past: Past, model: ModelPast) -> Judgement | None:
    """A handful is all of the data."""
    if not few_rows(model):
        return None
    rows = model.value("in_rows")
    features = rows / model.value("in_per_feature")
    return Judgement(
        active=True,
        clear=False,
        message=f"the same {rows:.0f} rows of {features:.0f} features come again and again: labels "
        "of any kind can be learnt by heart of so few",
        evidence={"in_rows": rows, "in_distinct": model.latest("in_distinct")},
        onset_step=past.first_step,
    )


def few_of_a_class(past: Past, model: ModelPast) -> Judgement | None:
    """A handful is all that there is of the classes that are rare."""
    rows, times = model.latest("rare_rows"), model.latest("outnumbered")
    slack = SLACK if past.stands("input-anomaly", model.name) else 1.0
    if not (rows <= slack * RARE and slack * times >= OUTNUMBERED):
        return None
    return Judgement(
        active=True,
        clear=False,
        message=f"the same {rows:.2g} rows are all that comes of a rare class, which another "
        f"outnumbers {times:.0f} times: so few are learnt by heart",
        evidence={"rare_rows": rows, "outnumbered": times},
        onset_step=past.first_step,
    )
