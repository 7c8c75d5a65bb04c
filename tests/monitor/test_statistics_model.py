"""Inputs, outputs and losses of a model against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest

from deadband.wire import FrameHeader, Plan, Slot, What
from deadband_monitor.statistics import inputs, outputs
from deadband_monitor.statistics.losses import Losses
from deadband_monitor.statistics.values import RawFrame

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1.0, 1e20, 1e37])
def test_feature_scales_agree_with_their_definitions(scale: float) -> None:
    rows = RNG.normal(size=(40, 9)) * 10.0 ** np.arange(-4, 5)[None] / 1e4
    rows[:, 3] = 0.01
    rows = (scale * rows).astype(np.float32)
    wide = rows.astype(np.float64)
    deviation = np.delete(wide, 3, axis=1).std(axis=0)
    spread, top = inputs.feature_scales(rows)
    assert spread == pytest.approx(deviation.max() / np.median(deviation), rel=1e-2)
    assert top == pytest.approx((wide**2).sum(axis=0).max() / (wide**2).sum(), rel=1e-2)


def test_feature_scales_of_constant_and_missing_features() -> None:
    spread, top = inputs.feature_scales(np.full((8, 4), 0.1, dtype=np.float32))
    assert np.isnan(spread)
    assert top == pytest.approx(0.25)
    assert np.isnan(inputs.feature_scales(np.zeros((8, 4), dtype=np.float32))).all()
    assert np.isnan(inputs.feature_scales(np.zeros((0, 4), dtype=np.float32))).all()
    assert np.isnan(inputs.feature_scales(np.ones((1, 4), dtype=np.float32))[0])


def test_duplicate_rows_are_counted_exactly() -> None:
    rows = RNG.normal(size=(10, 6)).astype(np.float32)
    assert inputs.duplicate_share(inputs.row_keys(rows)) == 0.0
    rows[4] = rows[7] = rows[1]
    assert inputs.duplicate_share(inputs.row_keys(rows)) == pytest.approx(0.2)
    rows[5] = np.nextafter(rows[1], np.float32(9))
    assert inputs.duplicate_share(inputs.row_keys(rows)) == pytest.approx(0.2)
    assert inputs.duplicate_share(
        inputs.row_keys(np.ones((10, 6), dtype=np.float32))
    ) == pytest.approx(0.9)
    signs = np.array([[0.0], [-0.0]], dtype=np.float32)
    assert inputs.duplicate_share(inputs.row_keys(signs)) == 0.5


def slow_information(p: np.ndarray) -> float:
    def entropy(row: np.ndarray) -> float:
        return float(-sum(value * np.log(value) for value in row if value > 0))

    return entropy(p.mean(axis=0)) - float(np.mean([entropy(row) for row in p]))


def test_information_agrees_with_its_definition() -> None:
    logits = RNG.normal(size=(3, 40, 6)).astype(np.float32) * 3
    p = outputs.probabilities(logits, "cross_entropy")
    read = outputs.read(p, "cross_entropy")
    for index in range(3):
        assert read.information[index] == pytest.approx(slow_information(p[index]), rel=1e-9)
        predicted = logits[index].argmax(axis=1)
        assert read.top_share[index] == np.bincount(predicted).max() / 40
        assert read.distinct[index] == len(set(predicted.tolist()))


def test_information_of_a_yes_no_output() -> None:
    logits = RNG.normal(size=(1, 40, 1)).astype(np.float32) * 3
    p = outputs.probabilities(logits, "bce_logits")
    pair = np.concatenate([p[0], 1 - p[0]], axis=1)
    read = outputs.read(p, "bce_logits")
    assert read.information[0] == pytest.approx(slow_information(pair), rel=1e-9)
    assert read.top_share[0] == max((p > 0.5).mean(), (p <= 0.5).mean())
    several = outputs.read(outputs.probabilities(np.tile(logits, 3), "bce_logits"), "bce_logits")
    assert several.information[0] == pytest.approx(read.information[0])
    assert np.isnan(several.top_share[0])


@pytest.mark.parametrize("offset", [0.0, 1e4, -1e30, 3e38])
def test_an_offset_of_the_logits_and_huge_logits_are_harmless(offset: float) -> None:
    logits = np.full((1, 32, 4), offset, dtype=np.float32)
    read = outputs.read(outputs.probabilities(logits, "nll"), "nll")
    assert (read.information[0], read.top_share[0], read.distinct[0]) == (0.0, 1.0, 1.0)


def test_values_that_are_probabilities_are_taken_as_they_are() -> None:
    p = outputs.softmax(RNG.normal(size=(2, 20, 5)))
    logits = p.astype(np.float32)
    logits[1] *= 1.5
    found = outputs.probabilities(logits, "cross_entropy")
    assert found[0] == pytest.approx(p[0], abs=1e-6)
    assert found[1] == pytest.approx(outputs.softmax(logits[1]))
    yes = p[..., :1].astype(np.float32)
    assert outputs.probabilities(yes, "bce") == pytest.approx(yes)
    assert outputs.probabilities(yes, "bce_logits") == pytest.approx(outputs.sigmoid(yes))


def test_sigmoid_is_accurate_in_both_tails() -> None:
    found = outputs.sigmoid(np.array([-1e38, -50.0, 0.0, 50.0, 1e38], dtype=np.float32))
    assert found == pytest.approx([0, np.exp(-50), 0.5, 1, 1], rel=1e-9)


PLAN = Plan(
    id=1,
    layers=(),
    models=(),
    optimizers=(),
    slots=(Slot(what=What.LOSS, index=0, offset=0, shape=(16,)),),
    payload_bytes=64,
)


def frame(losses: list[float], first: int = 1, given: bytes = b"") -> RawFrame:
    payload = np.zeros(16, dtype=np.float32)
    payload[: len(losses)] = losses
    header = FrameHeader(
        plan=1,
        step=first + len(losses) - 1,
        time=0.0,
        present=b"\1",
        loss_first_step=first,
        loss_count=len(losses),
        loss_given=given,
    )
    return RawFrame(header, payload)


def test_losses_are_read_with_their_steps() -> None:
    read = Losses().read(PLAN, frame([3.0, 2.0, 1.0], first=5), output_broken=False)
    assert read.steps.tolist() == [5, 6, 7]
    assert (read.last, read.now, read.nonfinite) == (1.0, 1.0, 0.0)


def test_a_missing_loss_is_not_a_broken_one() -> None:
    nan, inf = float("nan"), float("inf")
    losses = Losses()
    rare = losses.read(PLAN, frame([nan, nan, 1.0, nan]), output_broken=False)
    assert (rare.last, rare.nonfinite) == (1.0, 0.0)
    assert np.isnan(losses.read(PLAN, frame([nan, nan]), output_broken=False).nonfinite)
    assert losses.read(PLAN, frame([nan, inf]), output_broken=False).nonfinite == 1.0
    assert losses.read(PLAN, frame([nan, nan]), output_broken=True).nonfinite == 1.0


def test_a_nan_after_ten_good_losses_is_broken() -> None:
    nan = float("nan")
    losses = Losses()
    assert losses.read(PLAN, frame([1.0] * 10), output_broken=False).nonfinite == 0.0
    assert losses.read(PLAN, frame([1.0, nan, nan]), output_broken=False).nonfinite == 2 / 3
    assert losses.read(PLAN, frame([nan]), output_broken=False).nonfinite == 1.0


def test_a_client_that_says_which_losses_were_given_is_believed() -> None:
    nan = float("nan")
    losses = Losses()
    losses.read(PLAN, frame([1.0] * 16), output_broken=False)
    missing = losses.read(PLAN, frame([nan, nan], given=b"\0\0"), output_broken=True)
    assert np.isnan(missing.nonfinite)
    broken = losses.read(PLAN, frame([nan, nan], given=b"\0\1"), output_broken=False)
    assert broken.nonfinite == 1.0
