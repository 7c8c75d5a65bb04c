"""Which part of a tensor is copied."""

from __future__ import annotations

import numpy as np
import pytest

from deadband.regions import OUTPUT, Layout, region_of


@pytest.mark.parametrize("size", [*range(1, 20), 40, 128, 1000])
def test_of_a_sequence_little_is_left_out_at_its_ends_where_padding_leaves_the_tokens(
    size: int,
) -> None:
    shape = (3, size, 7)
    region = region_of(shape, Layout.UNITS_LAST, OUTPUT)
    labels = region_of(shape[:2], Layout.LABELS, OUTPUT)
    assert region is not None
    assert labels is not None
    places = np.arange(size)[region.index[1]].tolist()
    assert len(places) == min(size, 4)
    assert region.picked == (3, len(places), 7)
    assert places[0] <= 1
    assert places[-1] >= size - 4
    assert np.arange(size)[labels.index[1]].tolist() == places
