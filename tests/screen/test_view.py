"""What a view makes of the newest samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deadband_monitor.metrics import LAYER_COLUMN, LAYER_METRICS, MODEL_COLUMN
from deadband_monitor.source.fake import FakeSource
from deadband_monitor.source.scripted import healthy_run
from deadband_monitor.tui.headlines import headlines
from deadband_monitor.tui.view import LOOK_BACK, View

VARIANCE = LAYER_METRICS[LAYER_COLUMN["out_variance"]]


def viewed(samples: int = 20) -> View:
    source = FakeSource(healthy_run())
    source.advance(samples)
    view = View()
    view.live = source.state
    return view


def hide(view: View, layer: int | slice) -> None:
    """Add a sample of so few rows that variances cannot be told."""
    latest = view.state.recent[-1]
    layers, models = latest.layers.copy(), latest.models.copy()
    layers[layer, LAYER_COLUMN["out_variance"]] = np.nan
    models[:, MODEL_COLUMN["out_variance"]] = np.nan
    view.state.recent.append(replace(latest, step=latest.step + 1, layers=layers, models=models))


def test_the_small_last_batch_of_an_epoch_does_not_blank_the_gauges() -> None:
    view = viewed()
    layers, network = view.now(VARIANCE).copy(), view.model_now("out_variance")
    hide(view, slice(None))
    assert np.array_equal(view.now(VARIANCE), layers, equal_nan=True)
    assert view.model_now("out_variance") == network
    view.update(40)
    assert headlines(view)[0].layer


def test_what_is_not_measured_any_more_is_a_dash_in_the_end() -> None:
    view = viewed()
    for _ in range(LOOK_BACK):
        hide(view, slice(None))
    assert np.isnan(view.now(VARIANCE)).all()
    assert np.isnan(view.model_now("out_variance"))


def test_a_single_layer_without_a_reading_is_not_given_an_old_one() -> None:
    view = viewed()
    hide(view, 0)
    assert np.isnan(view.now(VARIANCE)[0])
    assert np.isfinite(view.now(VARIANCE)[1:]).any()
