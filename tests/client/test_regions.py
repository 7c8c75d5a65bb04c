"""Which part of a tensor is copied."""

from __future__ import annotations

import math

import numpy as np
import pytest

from deadband.regions import INPUT, LAYER, OUTPUT, WEIGHT, Layout, Limits, region_of


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


def _rows(shape: tuple[int, ...], limits: Limits, layout: Layout = Layout.UNITS_LAST) -> list[int]:
    region = region_of(shape, layout, limits)
    assert region is not None
    rows: list[int] = np.arange(shape[0])[region.index[0]].tolist()
    return rows


@pytest.mark.parametrize("size", [128, 300, 1000, 3999])
def test_a_set_that_lies_in_order_is_seen_from_near_its_begin_to_near_its_end(size: int) -> None:
    rows = _rows((size, 1), INPUT)
    assert len(rows) == 64
    assert rows[0] == 0
    assert size // 2 - 1 < rows[-1] < size


@pytest.mark.parametrize("size", [5, 64, 127, 200, 3999])
def test_rows_of_one_batch_lie_side_by_side_whatever_tensor_they_are_of(size: int) -> None:
    rows = _rows((size, 3), OUTPUT)
    assert _rows((size,), OUTPUT, Layout.SAMPLES) == rows
    assert _rows((size, 4, 7), OUTPUT) == rows
    assert _rows((size, 3, 8, 8), INPUT, Layout.CHANNELS) == rows
    assert _rows((size, 50), LAYER) == rows[:32]


def test_units_are_not_samples_the_first_ones_of_a_weight_are_those_of_its_layer() -> None:
    assert _rows((512, 100), WEIGHT) == list(range(64))


@pytest.mark.parametrize("shape", [(32, 32), (9, 50), (64, 12), (2, 50), (100, 3), (300,), (7, 7)])
def test_pixels_of_an_output_are_spread_over_all_that_its_loss_is_of(
    shape: tuple[int, ...],
) -> None:
    region = region_of((5, 2, *shape), Layout.CHANNELS, OUTPUT)
    labels = region_of((5, *shape), Layout.LABEL_MAP, OUTPUT)
    assert region is not None
    assert labels is not None
    assert region.index[2:] == labels.index[1:]
    assert region.shape[:2] == (5, 2)
    assert 12 <= region.shape[2] <= OUTPUT.pixels
    assert math.prod(region.picked) == region.size
    for size, part in zip(shape, region.index[2:], strict=True):
        places = np.arange(size)[part]
        step = places[1] - places[0] if len(places) > 1 else size
        assert places[0] <= max(step, 1)  # no band of the image is left out at either side
        assert size - 1 - places[-1] <= max(step, 1)


def test_pixels_of_layers_come_from_the_middle_where_no_padding_reaches() -> None:
    region = region_of((5, 2, 32, 32), Layout.CHANNELS, LAYER)
    assert region is not None
    assert region.index[2:] == (slice(15, 16), slice(8, 24))
