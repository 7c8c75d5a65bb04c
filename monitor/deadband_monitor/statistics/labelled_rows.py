"""What labels say of the input rows that they belong to, and the rows of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from deadband_monitor.statistics.model_inputs import InputRows
from deadband_monitor.statistics.neighbours import Neighbours
from deadband_monitor.statistics.rare_rows import RareRows
from deadband_monitor.statistics.reader import ModelReader
from deadband_monitor.statistics.skill import Standing
from deadband_monitor.statistics.table import Table

TOLD_BY_ONE = 0.5
"""Agreement of neighbours in the first of several inputs from which that one tells the answer."""


@dataclass(slots=True)
class LabelledRows:
    """The rows of one model with their labels, from sample to sample."""

    neighbours: Neighbours = field(default_factory=Neighbours)
    rare: RareRows = field(default_factory=RareRows)

    def measure(
        self, reader: ModelReader, given: InputRows, frame: int, standing: Standing, table: Table
    ) -> None:
        """Fill the columns that need both; of several inputs only the first is known."""
        if standing.found is None:
            return
        alone = reader.model.inputs <= 1
        if alone:
            different, outnumbered = self.rare.observe(
                given.keys[frame], standing.found, standing.majority, standing.majority_share
            )
            reader.put_one(table, "rare_rows", frame, different)
            reader.put_one(table, "outnumbered", frame, outnumbered)
        if not given.usable[frame]:
            return
        agreement = self.neighbours.observe(given.rows[frame], given.keys[frame], standing.found)
        if not alone and agreement < TOLD_BY_ONE:
            agreement = math.nan  # the other inputs may tell them apart
        reader.put_one(table, "neighbour_agreement", frame, agreement)
        reader.put_one(table, "class_numbers", frame, self.neighbours.numbering.value())
        reader.put_one(table, "in_groups", frame, self.neighbours.groups.value())
