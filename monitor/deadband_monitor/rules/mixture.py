"""How mixed the labels of a batch are: as those of the data, sorted by label, or all the same?

Part of what is followed of a model's feed.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping

from deadband.wire import Model
from deadband_monitor.rules.majority import MOST_ROWS

SORTED = 0.35
"""Entropy of a batch's labels over that of the last 2000, below which it is sorted: shuffled
batches keep 0.96 or more, sorted ones 0 to 0.3."""
MIXED_LABELS = 0.3
"""Nats. With less the labels are so uneven that a batch often has one class only."""
LASTING = 3
"""Samples in a row that a change must show: one odd batch is an outlier, not a state."""
HEALTHY_START = 10
"""Samples that show what is usual, before a change can be told from it."""
FEWEST_ROWS = 8
"""Rows of a batch from which its mixture of labels says something of the loader."""
FEWEST_OTHERS = 5.0
"""Where fewer rows of a batch are due to other classes than the largest, its mixture is a matter of
luck (Cochran 1954, on the least counts of a chi-square test)."""
FEWEST_LABELS = 32
"""Labels from which on their entropy is stated."""
LUCK = 1e-6
"""Chance of the first labels to be all the same, below which the data are sorted."""
SIGMAS = 6.0
"""Deviations by which the labels of batches must be more alike than chance makes them."""


class Spell:
    """Since when something holds, and in how many samples in a row."""

    def __init__(self) -> None:
        self.since = 0
        self.samples = 0
        self.ended = 0
        """How often it was over again."""

    def follow(self, holds: bool, since: int) -> None:
        """Take one sample."""
        if not holds:
            self.ended += self.samples > 0
            self.samples = 0
            return
        if self.samples == 0:
            self.since = since
        self.samples += 1


class Mixture:
    """The labels or values that batches are to be answered with."""

    def __init__(self) -> None:
        self.sorted_since: int | None = None
        """Batches hold far fewer classes than the data do."""
        self.sorted_ratio = math.nan
        self.one_label = Spell()
        """Batches of one answer, where they were mixed before."""
        self._mixed = 0
        self._mixed_again = 0
        """Mixed batches in a row, since those of one answer."""
        self._entropies: deque[tuple[int, float, float]] = deque(maxlen=12)
        self._suspected: int | None = None
        self.alike = 0
        """Labels from the first on that were all the same."""
        self.differ = False
        """Others came after them."""
        self._alike_since = 0
        self._rows, self._rows_seen = 0, 0.0
        """Rows of a batch where no shape tells them, and those that came so far."""

    @property
    def how_sorted(self) -> str:
        """In words, where `sorted_since` is known."""
        if self.alike:
            return f"the first {self.alike} labels were all the same, later ones differ"
        return f"a batch holds {self.sorted_ratio:.0%} of the variety of labels of a random one"

    def add(self, step: int, value: Mapping[str, float], model: Model, *, rose: bool) -> None:
        """Take one sample; rose: its losses are far above the last ones."""
        shape = model.loss_target
        if not shape:
            # Of a loss written out by hand the labels are read, and no shapes are told: the rows
            # of the inputs are those of a batch.
            self._count_rows(value)
            if math.isfinite(value["label_entropy"]) and self._rows:
                self._add_labels(step, value, model)
            return
        if math.isfinite(value["label_entropy"]):
            self._add_labels(step, value, model)
        elif math.isfinite(value["target_sd"]) and min(MOST_ROWS, shape[0]) >= FEWEST_ROWS:
            self._add_values(step, value["batch_label_entropy"] == 0, rose=rose)

    def _count_rows(self, value: Mapping[str, float]) -> None:
        """How many rows came with this sample: what the window of the inputs grew by."""
        total = value["in_rows"] / value["in_distinct"]
        if not math.isfinite(total):
            return
        grown = round(total - self._rows_seen)
        if self._rows_seen and grown > 0:
            self._rows = min(grown, self._rows or grown)
        self._rows_seen = total

    def _add_values(self, step: int, alike: bool, *, rose: bool) -> None:
        """Values that are all the same now, and came as a surprise.

        A critic whose game is won each time is told the same for every move as well: it saw that
        come.
        """
        if not alike:
            self._mixed += 1
        begins = rose and self._mixed >= HEALTHY_START
        self.one_label.follow(alike and (begins or self.one_label.samples > 0), step)

    def _add_labels(self, step: int, value: Mapping[str, float], model: Model) -> None:
        whole, ratio = value["label_entropy"], value["batch_label_entropy"]
        shape, yes_no = model.loss_target or (self._rows,), model.loss.startswith("bce")
        seen, singly = min(MOST_ROWS, shape[0]), math.prod(shape) == shape[0]
        if singly and not yes_no:
            self._follow_first(step, value, seen)
        if not math.isfinite(ratio):
            return
        # Of several yes/no answers a row each is compared with its own of the other rows.
        rows = seen if yes_no or singly else 0
        classes = 2 if yes_no or not model.loss_input else model.loss_input[-1]
        if not model.loss_target and not yes_no:
            classes = math.ceil(math.exp(whole))  # as many evenly spread ones have this entropy
        if whole < MIXED_LABELS and self.one_label.samples >= LASTING:
            return  # by now the data themselves seem to be of one class: it goes on
        if rows < FEWEST_ROWS or whole < MIXED_LABELS:
            self.one_label.follow(False, step)
            return
        # A batch holds no more than ln(rows) nats, and one drawn at random about (classes - 1) / 2
        # over the rows less than the data (Miller 1955).
        reach = min(whole, math.log(rows))
        share = ratio * whole / reach
        wanted = max(1, min(max(classes, 2), rows) - 1) / 2
        if rows * _of_others(value) < FEWEST_OTHERS:
            return
        short = rows * reach * (1 - share)
        # Between two classes of sorted data a batch holds both, and is no mixed one.
        if share > 2 * SORTED and self._suspected is None:
            self._mixed += 1
        odd = share < SORTED and short > wanted + SIGMAS * math.sqrt(wanted / LASTING)
        began_mixed = self._mixed >= HEALTHY_START
        self._mixed_again = 0 if odd else self._mixed_again + 1
        # A rare row of another class makes a batch mixed now and then, and the loader no better.
        lasts = self.one_label.samples >= LASTING and 0 < self._mixed_again < LASTING
        if not lasts:
            self.one_label.follow(odd and began_mixed, step)
        self._entropies.append((step, share, short))
        known = len(self._entropies)
        self.sorted_ratio = sum([entry[1] for entry in self._entropies]) / known
        short = sum([entry[2] for entry in self._entropies]) / known
        limit = wanted + SIGMAS * math.sqrt(wanted / known)
        if self.sorted_ratio < SORTED and short > limit and not began_mixed:
            if self._suspected is None:
                self._suspected = self._entropies[0][0]
            if known >= 4:
                self.sorted_since = self._suspected
        elif self.sorted_ratio > 0.6:
            self._suspected = self.sorted_since = None

    def _follow_first(self, step: int, value: Mapping[str, float], labels: int) -> None:
        """How long the first labels are all of one class.

        Single rows have no mixture; the order in which the first ones came does tell.
        """
        whole = value["label_entropy"]
        self.differ = self.differ or whole > 0
        if whole == 0 and not self.differ:
            self._alike_since = self._alike_since or step
            # Rows that come again bring no new labels: of a whole graph each step copies the same.
            fresh = 1 - value["in_repeat"] if math.isfinite(value["in_repeat"]) else 1.0
            self.alike = max(self.alike, FEWEST_LABELS) + round(labels * fresh)
        by_chance = value["majority_share"] ** self.alike >= LUCK
        if labels < FEWEST_ROWS and whole >= MIXED_LABELS and not by_chance:
            self.sorted_since, self.sorted_ratio = self._alike_since, 0.0


def _of_others(value: Mapping[str, float]) -> float:
    """Share of the labels that are not of the largest class; NaN where it is not known."""
    if math.isfinite(value["majority_share"]):
        return 1 - value["majority_share"]
    return min(value["target_mean"], 1 - value["target_mean"])
