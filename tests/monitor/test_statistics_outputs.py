"""Outputs of models against plain definitions: directions, sums, bias, coupling, pairs."""

from __future__ import annotations

import warnings

import msgspec
import numpy as np
import pytest
import torch
from statistics_frames import Bench, Key, grad_of, layer, of_model
from torch import nn
from torch.nn import functional as fn

from deadband.wire import Layer, What
from deadband_monitor.statistics import Measured, RawFrame, Statistician
from deadband_monitor.statistics.directions import directions
from deadband_monitor.statistics.outputs import entropy_of, entropy_of_drawn

RNG = np.random.default_rng(0)


def measure(bench: Bench, frames: list[RawFrame]) -> list[Measured]:
    statistician = Statistician()
    statistician.adopt(bench.plan())
    return statistician.measure(frames)


def of_output(
    out: np.ndarray, axes: str = "nu", source: tuple[int, ...] = (), loss: str = ""
) -> Measured:
    bench = Bench([], loss)
    bench.add(What.OUTPUT, 0, out.shape, axes, source)
    (one,) = measure(bench, [bench.frame(1, {(What.OUTPUT, 0): out.astype(np.float32)})])
    return one


def slow_directions(rows: np.ndarray) -> tuple[float, float, float]:
    wide = rows.astype(np.float64)
    unit = wide / np.linalg.norm(wide, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(len(wide), 1)]
    singular = np.linalg.svd(wide - wide.mean(axis=0), compute_uv=False)
    share = singular[singular > 0] / singular.sum()
    participation = (singular**2).sum() ** 2 / (singular**4).sum()
    return cosines.mean(), participation, float(np.exp(-(share * np.log(share)).sum()))


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize(("rows", "columns"), [(64, 10), (12, 40), (8, 3), (64, 64), (64, 300)])
def test_directions_agree_with_their_definitions(rows: int, columns: int, scale: float) -> None:
    x = 3 + RNG.normal(size=(rows, columns)) * np.linspace(0.1, 2, columns)
    one = of_output((scale * x).astype(np.float32))
    cosine, participation, rank = slow_directions(x)
    assert of_model(one, "cosine") == pytest.approx(cosine, rel=1e-4)
    assert of_model(one, "participation") == pytest.approx(participation, rel=1e-4)
    assert of_model(one, "effective_rank") == pytest.approx(rank, rel=1e-4)


def test_directions_of_equal_few_and_missing_rows() -> None:
    equal = of_output(np.tile(RNG.normal(size=(1, 6)), (16, 1)))
    assert of_model(equal, "cosine") == pytest.approx(1.0)
    assert np.isnan(of_model(equal, "participation"))
    assert np.isnan(of_model(of_output(np.zeros((16, 6))), "cosine"))
    assert np.isnan(of_model(of_output(np.ones((16, 1))), "cosine"))
    few = of_output(RNG.normal(size=(7, 6)))
    assert np.isfinite(of_model(few, "cosine"))
    assert np.isnan(of_model(few, "effective_rank"))
    line = directions(np.outer(np.arange(20.0), np.ones(5))[None])
    assert line.participation[0] == pytest.approx(1.0)
    assert line.effective_rank[0] == pytest.approx(1.0, abs=1e-5)
    assert line.cosine[0] == pytest.approx(1.0)


def test_directions_of_wide_outputs_are_counted_at_every_eighth_sample() -> None:
    bench = Bench([])
    bench.add(What.OUTPUT, 0, (64, 300), "nu")
    outs = RNG.normal(size=(17, 64, 300)).astype(np.float32)
    frames = [bench.frame(k + 1, {(What.OUTPUT, 0): out}) for k, out in enumerate(outs)]
    ranks = [of_model(one, "effective_rank") for one in measure(bench, frames)]
    assert ranks[:8] == [ranks[0]] * 8
    assert ranks[8] != ranks[0]
    assert ranks[16] == pytest.approx(slow_directions(outs[16])[2], rel=1e-4)


def test_a_softmax_shows_in_the_sums() -> None:
    logits = RNG.normal(size=(12, 5))
    rows = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    columns = np.exp(logits) / np.exp(logits).sum(axis=0)
    by_row, by_column = of_output(rows), of_output(columns)
    assert of_model(by_row, "row_sum_error") < 1e-6
    assert of_model(by_column, "column_sum_error") < 1e-6
    plain = of_output(logits)
    assert of_model(plain, "row_sum_error") == pytest.approx(
        np.abs(logits.sum(axis=1) - 1).max(), rel=1e-5
    )
    assert of_model(plain, "column_sum_error") == pytest.approx(
        np.abs(logits.sum(axis=0) - 1).max(), rel=1e-5
    )
    assert of_model(plain, "out_min") == pytest.approx(logits.min())
    assert of_model(plain, "out_max") == pytest.approx(logits.max())
    assert of_model(of_output(np.ones((12, 1))), "row_sum_error") == 0.0
    assert of_model(of_output(np.ones(12), "n"), "row_sum_error") == 0.0
    pixels = np.moveaxis(rows.reshape(3, 4, 5), 2, 1)
    assert of_model(of_output(pixels, "nup"), "row_sum_error") < 1e-6


def test_sums_need_the_whole_row_and_the_whole_batch() -> None:
    cut = of_output(np.ones((8, 4)), source=(16, 9))
    assert np.isnan(of_model(cut, "row_sum_error"))
    assert np.isnan(of_model(cut, "column_sum_error"))
    assert np.isfinite(of_model(of_output(np.ones((8, 4)), source=(16, 4)), "row_sum_error"))
    assert np.isfinite(of_model(of_output(np.ones((8, 4)), source=(8, 9)), "column_sum_error"))


def head_bench(layers: list[Layer]) -> Bench:
    bench = Bench(layers)
    for index in range(len(layers)):
        bench.add(What.BIAS, index, (3,), "u")
    bench.add(What.OUTPUT, 0, (10, 3), "nu")
    return bench


def test_the_distance_from_the_bias_is_from_the_one_of_that_forward() -> None:
    bench = head_bench([layer("a", fan_in=5), layer("head", fan_in=5), layer("f", "Flatten")])
    old, new = RNG.normal(size=(2, 3)).astype(np.float32)
    out = np.tile(old, (10, 1)) + np.float32(1e-3)
    values: dict[Key, np.ndarray] = {(What.BIAS, 0): new, (What.BIAS, 2): new}
    first = bench.frame(4, {**values, (What.BIAS, 1): old, (What.OUTPUT, 0): out})
    expected = {}
    for name, bias in (("old", old), ("new", new)):
        off = out.astype(np.float64) - bias
        expected[name] = np.sqrt((off**2).mean() / (out.astype(np.float64) ** 2).mean())
    for step, name in ((5, "old"), (6, "new")):
        second = bench.frame(step, {**values, (What.BIAS, 1): new, (What.OUTPUT, 0): out})
        found = measure(bench, [first, second])
        assert of_model(found[0], "bias_distance") == pytest.approx(expected["old"], rel=1e-3)
        assert of_model(found[1], "bias_distance") == pytest.approx(expected[name], rel=1e-3)
    assert expected["old"] < 0.01 < expected["new"]


@pytest.mark.parametrize(
    "after",
    [
        [layer("head", fan_in=5), layer("s", "Softmax", "softmax")],
        [layer("head", "Linear", "relu", fan_in=5)],
        [layer("head", fan_in=5), layer("norm", "LayerNorm")],
        [layer("s", "Softmax", "softmax")],
    ],
)
def test_an_output_that_is_not_the_heads_own_has_no_distance_from_its_bias(
    after: list[Layer],
) -> None:
    bench = head_bench(after)
    values = {
        (slot.what, slot.index): RNG.normal(size=slot.shape).astype(np.float32)
        for slot in bench.slots
    }
    (one,) = measure(bench, [bench.frame(1, values)])
    assert np.isnan(of_model(one, "bias_distance"))


@pytest.mark.parametrize("columns", [1, 3])
def test_coupling_is_the_correlation_of_gradient_and_output(columns: int) -> None:
    for kind, coupled in (("huber", True), ("cross_entropy", False)):
        bench = Bench([], kind)
        bench.add(What.OUTPUT, 0, (20, columns), "nu")
        bench.add(What.OUTPUT_GRAD, 0, (20, columns), "nu")
        out, grad = RNG.normal(size=(2, 20, columns)).astype(np.float32)
        grad += out
        values = {(What.OUTPUT, 0): out, (What.OUTPUT_GRAD, 0): grad}
        (one,) = measure(bench, [bench.frame(1, values)])
        a, b = (out - out.mean(axis=0)).ravel(), (grad - grad.mean(axis=0)).ravel()
        expected = np.corrcoef(a, b)[0, 1] if columns == 1 else a @ b / np.sqrt(a @ a * (b @ b))
        if coupled:
            assert of_model(one, "coupling") == pytest.approx(expected, rel=1e-4)
        else:
            assert np.isnan(of_model(one, "coupling"))


@pytest.mark.parametrize("rows", [48, 12])
def test_the_majority_and_how_often_it_is_predicted(rows: int) -> None:
    bench = Bench([], "cross_entropy")
    bench.add(What.OUTPUT, 0, (rows, 4), "nu")
    bench.add(What.OUTPUT_GRAD, 0, (rows, 4), "nu")
    frames, labels, predicted = [], [], []
    for step in range(1, 9):
        z = torch.randn(rows, 4, generator=torch.Generator().manual_seed(step)).requires_grad_()
        y = torch.where(torch.arange(rows) % 4 == 0, torch.tensor(1), torch.tensor(2))
        loss = fn.cross_entropy(z, y)
        loss.backward()
        values = {(What.OUTPUT, 0): z.detach().numpy(), (What.OUTPUT_GRAD, 0): grad_of(z).numpy()}
        frames.append(bench.frame(step, values, [loss.item()]))
        labels.append(y.numpy())
        predicted.append(z.argmax(1).numpy())
    one = measure(bench, frames)[-1]
    assert of_model(one, "majority_share") == (np.concatenate(labels) == 2).mean()
    read = np.concatenate(predicted)[-max(rows, 32) :]
    assert of_model(one, "majority_predicted") == pytest.approx((read == 2).mean())
    shares = np.bincount(read) / len(read)
    assert of_model(one, "prediction_entropy") == pytest.approx(-(shares * np.log(shares)).sum())


def mean_distance(rows: np.ndarray) -> float:
    return float(nn.functional.pdist(torch.tensor(rows, dtype=torch.float64)).mean())


def pair_bench(noise: int = 2, judged: int = 6) -> Bench:
    """A generator of 6 features and a discriminator of them."""
    bench = Bench([], models=2)
    bench.add(What.INPUT, 0, (32, noise), "nu")
    bench.add(What.OUTPUT, 0, (32, 6), "nu")
    bench.add(What.INPUT, 1, (24, judged), "nu")
    bench.add(What.OUTPUT, 1, (24, 2), "nu")
    return bench


def test_a_generator_is_as_diverse_as_what_the_other_model_is_shown() -> None:
    bench = pair_bench()
    values = {
        (slot.what, slot.index): RNG.normal(size=slot.shape).astype(np.float32)
        for slot in bench.slots
    }
    values[What.OUTPUT, 0] *= 0.1
    (one,) = measure(bench, [bench.frame(1, values)])
    expected = mean_distance(values[What.OUTPUT, 0]) / mean_distance(values[What.INPUT, 1])
    assert of_model(one, "diversity", 0) == pytest.approx(expected, rel=1e-5)
    assert np.isnan(of_model(one, "diversity", 1))
    values[What.OUTPUT, 0][:] = values[What.OUTPUT, 0][0]
    (one,) = measure(bench, [bench.frame(1, values)])
    assert of_model(one, "diversity", 0) == 0.0


def test_models_in_a_chain_are_not_compared() -> None:
    bench = Bench([], models=2)
    for index, (given, made) in enumerate(((4, 6), (6, 3))):
        bench.add(What.INPUT, index, (32, given), "nu")
        bench.add(What.OUTPUT, index, (32, made), "nu")
    values = {
        (slot.what, slot.index): RNG.normal(size=slot.shape).astype(np.float32)
        for slot in bench.slots
    }
    values[What.INPUT, 1] = values[What.OUTPUT, 0]
    (one,) = measure(bench, [bench.frame(1, values)])
    assert np.isnan(one.models[:, 0]).sum() == 0
    assert np.isnan(of_model(one, "diversity", 0))
    assert np.isnan(of_model(one, "diversity", 1))
    apart = pair_bench(judged=7)
    values = {
        (slot.what, slot.index): RNG.normal(size=slot.shape).astype(np.float32)
        for slot in apart.slots
    }
    (one,) = measure(apart, [apart.frame(1, values)])
    assert np.isnan(of_model(one, "diversity", 0))


def test_evaluation_losses_are_the_mean_since_the_last_sample() -> None:
    bench = Bench([])
    automatic = {"eval_loss": [(1, 2.0), (2, 4.0)]}
    mixed = {"eval_loss": [(5, 9.0)], "val/loss": [(5, 1.0)], "test_loss": [(5, 3.0)]}
    frames = [
        bench.frame(3, {}, [1.0], scalars=automatic),
        bench.frame(4, {}, [1.0]),
        bench.frame(6, {}, [1.0], scalars=mixed),
        bench.frame(8, {}, [1.0], scalars={"eval_loss": [(7, 9.0)]}),
        bench.frame(9, {}, [1.0], scalars={"val_loss": [(9, np.nan)]}),
    ]
    read = [of_model(one, "eval_loss") for one in measure(bench, frames)]
    assert read == pytest.approx([3.0, np.nan, 2.0, np.nan, np.nan], nan_ok=True)


def test_skipped_steps_are_a_share_of_twenty() -> None:
    bench = Bench([])
    frames = [bench.frame(step, {}, skipped=step in (1, 2, 5)) for step in range(1, 26)]
    shares = [of_model(one, "skipped") for one in measure(bench, frames)]
    assert shares[:5] == pytest.approx([0.05, 0.1, 0.1, 0.1, 0.15])
    assert shares[20] == pytest.approx(0.1)
    assert shares[24] == 0.0


def test_a_learning_rate_given_by_hand_fills_its_column() -> None:
    bench = Bench([])
    statistician = Statistician()
    statistician.adopt(msgspec.structs.replace(bench.plan(), optimizers=()))
    first, second = statistician.measure(
        [bench.frame(1, {}), bench.frame(2, {}, scalars={"lr": [(2, 0.5)]})]
    )
    assert np.isnan(of_model(first, "lr"))
    assert of_model(second, "lr") == 0.5


KINDS = ("", "cross_entropy", "nll", "bce", "bce_logits", "mse", "l1", "smooth_l1", "huber")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, 1e30, -3e38, 1e-30, 1e-45])
@pytest.mark.parametrize("rows", [1, 2, 12, 40])
def test_nothing_warns_or_turns_infinite_whatever_models_are_given(rows: int, bad: float) -> None:
    rng = np.random.default_rng(0)
    bench = Bench([layer("head", fan_in=4)], models=len(KINDS))
    bench.models = tuple(
        msgspec.structs.replace(model, loss=kind)
        for model, kind in zip(bench.models, KINDS, strict=True)
    )
    bench.add(What.BIAS, 0, (5,), "u")
    for index in range(len(KINDS)):
        columns = 1 if index % 2 else 5
        bench.add(What.INPUT, index, (rows, 5), "nu")
        bench.add(What.OUTPUT, index, (rows, columns), "nu")
        bench.add(What.OUTPUT_GRAD, index, (rows, columns), "nu")
        bench.add(What.TARGET, index, (rows,) if columns == 1 else (rows, 5), "nu"[:columns])
    frames = []
    for step in range(1, 41):
        values = {
            (slot.what, slot.index): rng.normal(size=slot.shape).astype(np.float32)
            for slot in bench.slots
        }
        for value in values.values():
            if step % 3 == 0:
                value[rng.random(value.shape) < 0.2] = bad
            elif step > 30:
                value[...] = bad
        frames.append(bench.frame(step, values, [float(bad) if step % 3 == 0 else 1.0]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(bench, frames)
    for one in found:
        assert not np.isinf(one.models).any()


def test_words_that_were_met_once_tell_of_those_that_were_not() -> None:
    """A window holds 2000 labels: of Zipf's words that is fewer than there are."""
    share = 1 / np.arange(1.0, 3001.0)
    share /= share.sum()
    counts = np.random.default_rng(0).multinomial(2000, share).astype(float)
    true, plain = entropy_of(share), entropy_of(counts / 2000)
    assert plain < 0.9 * true
    assert 0.95 * true < entropy_of_drawn(counts) < true


@pytest.mark.parametrize("counts", [[3.0, 5.0, 0.0], [1.0, 1.0], [1999.0, 0.0]])
def test_where_nothing_is_missing_or_nothing_known_the_entropy_is_the_plain_one(
    counts: list[float],
) -> None:
    of = np.array(counts)
    assert entropy_of_drawn(of) == entropy_of(of / of.sum())
