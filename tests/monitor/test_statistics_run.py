"""The Statistician as a whole: real trainings, memory across plans, what is missing or broken."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from statistics_frames import (
    Bench,
    bench_for,
    grad_of,
    layer,
    linear,
    of_layer,
    of_model,
    train_step,
)
from torch import nn

from deadband.wire import What
from deadband_monitor.metrics import LAYER_COLUMN, MODEL_COLUMN
from deadband_monitor.statistics import Measured, RawFrame, Statistician

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def measure(bench: Bench, frames: list[RawFrame]) -> list[Measured]:
    statistician = Statistician()
    statistician.adopt(bench.plan())
    return statistician.measure(frames)


def rho(x: np.ndarray) -> float:
    wide = x.astype(np.float64)
    return float(wide.var(axis=0).mean() / (wide**2).mean())


def rms(x: np.ndarray) -> float:
    return float(np.sqrt((x.astype(np.float64) ** 2).mean()))


def test_a_training_on_digits_is_measured_as_torch_has_it() -> None:
    torch.manual_seed(0)
    x, y = load_digits(return_X_y=True)
    x, y = torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)
    net = nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 24), nn.Tanh(), nn.Linear(24, 10)
    )
    optimizer = torch.optim.SGD(net.parameters(), lr=0.3)
    first = {place: linear(net[place]).weight.detach().clone().numpy() for place in (0, 2, 4)}
    seen, losses, labels = [], [], []
    for _ in range(60):
        index = torch.randint(0, len(x), (64,))
        values, loss = train_step(net, optimizer, nn.CrossEntropyLoss(), x[index], y[index])
        seen.append(values)
        losses.append(loss)
        labels.append(y[index].numpy())
    bench = bench_for(net, seen[0], "cross_entropy")
    frames = [
        bench.frame(step, values, [losses[step - 1]]) for step, values in enumerate(seen, start=1)
    ]
    statistician = Statistician()
    statistician.adopt(bench.plan())
    found = statistician.measure(frames[:16]) + statistician.measure(frames[16:])
    assert [one.step for one in found] == list(range(1, 61))

    smooth = np.nan
    for step, (values, one) in enumerate(zip(seen, found, strict=True)):
        for place in range(5):
            out = values[What.ACTIVATION, place]
            assert of_layer(one, "out_variance", place) == pytest.approx(rho(out), rel=1e-4)
            assert of_layer(one, "out_rms", place) == pytest.approx(rms(out), rel=1e-5)
            grad = values[What.ACTIVATION_GRAD, place]
            assert of_layer(one, "out_grad_rms", place) == pytest.approx(rms(grad), rel=1e-5)
            assert of_layer(one, "zero_share", place) == pytest.approx((out == 0).mean())
            assert of_layer(one, "nonfinite", place) == 0.0
        recent = np.stack([past[What.ACTIVATION, 1] for past in seen[max(0, step - 9) : step + 1]])
        assert of_layer(one, "dead_units", 1) == pytest.approx(
            (recent <= 0).all(axis=(0, 1)).mean()
        )
        assert of_layer(one, "saturation", 3) == pytest.approx(
            (np.abs(values[What.ACTIVATION, 3]) > 0.97).mean(), abs=1e-6
        )
        squares = 0.0
        for place in (0, 2, 4):
            before, after = values[What.WEIGHT_BEFORE, place], values[What.WEIGHT, place]
            fan_in = before.shape[1]
            ratio = rms(after - before) / max(rms(before), 1 / np.sqrt(3 * fan_in))
            assert of_layer(one, "update_ratio", place) == pytest.approx(ratio, rel=1e-4)
            assert of_layer(one, "weight_rms", place) == pytest.approx(rms(after), rel=1e-5)
            assert of_layer(one, "weight_spread", place) == pytest.approx(
                after.astype(np.float64).std() * np.sqrt(3 * fan_in), rel=1e-5
            )
            drift = np.linalg.norm(after - first[place]) / np.linalg.norm(first[place])
            assert of_layer(one, "weight_drift", place) == pytest.approx(drift, rel=1e-4)
            growth = rms(after) / rms(first[place])
            assert of_layer(one, "weight_growth", place) == pytest.approx(growth, rel=1e-5)
            assert of_layer(one, "bias_mean", place) == pytest.approx(
                values[What.BIAS, place].mean(), rel=1e-4, abs=1e-7
            )
            grad = values[What.WEIGHT_GRAD, place]
            assert of_layer(one, "grad_rms", place) == pytest.approx(rms(grad), rel=1e-5)
            squares += rms(grad) ** 2 * (grad.size + len(grad))
        assert of_model(one, "grad_norm") == pytest.approx(np.sqrt(squares), rel=1e-4)
        window = np.concatenate(labels[: step + 1])
        if len(window) > 2000:
            window = np.concatenate(labels[step + 1 - -(-2000 // 64) : step + 1])
        shares = np.bincount(window) / len(window)
        entropy = float(-(shares[shares > 0] * np.log(shares[shares > 0])).sum())
        assert of_model(one, "label_entropy") == pytest.approx(entropy, rel=1e-5)
        assert of_model(one, "loss_constant") == pytest.approx(entropy, rel=1e-3)
        fresh = 1 - losses[step] / entropy
        smooth = fresh if np.isnan(smooth) else 0.8 * smooth + 0.2 * fresh
        assert of_model(one, "skill") == pytest.approx(smooth, abs=1e-3)
        assert of_model(one, "loss") == pytest.approx(losses[step], rel=1e-6)
        assert of_model(one, "in_variance") == pytest.approx(rho(values[What.INPUT, 0]), rel=1e-4)
        assert of_model(one, "lr") == 0.25
    assert of_model(found[-1], "skill") > 0.5
    assert of_model(found[-1], "information") > 0.2
    assert of_model(found[0], "information") < 0.1


def test_frames_measured_one_by_one_give_the_same() -> None:
    bench = everything()
    frames = [
        bench.frame(step, filled(bench, np.random.default_rng(step)), [1.0])
        for step in range(1, 30)
    ]
    together, apart = Statistician(), Statistician()
    together.adopt(bench.plan())
    apart.adopt(bench.plan())
    alone = [one for frame in frames for one in apart.measure([frame])]
    for one, other in zip(together.measure(frames), alone, strict=True):
        assert np.array_equal(one.layers, other.layers, equal_nan=True)
        assert np.array_equal(one.models, other.models, equal_nan=True)


KINDS = ("relu", "relu6", "tanh", "sigmoid", "hardtanh", "hardsigmoid", "softmax", "gelu", "")


def everything(rows: int = 12) -> Bench:
    """Slots of all kinds, axes and activations."""
    layers = [layer(f"l{k}", "x", kind, fan_in=9, parameters=80) for k, kind in enumerate(KINDS)]
    bench = Bench(layers, "cross_entropy")
    shapes = [((rows, 6), "nu"), ((rows, 3, 4), "nup"), ((rows, 2, 5), "npu"), ((rows,), "n")]
    for index in range(len(KINDS)):
        shape, axes = shapes[index % len(shapes)]
        bench.add(What.ACTIVATION, index, shape, axes)
        bench.add(What.ACTIVATION_GRAD, index, shape, axes)
        for what in (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD):
            bench.add(what, index, (8, 9))
        bench.add(What.BIAS, index, (8,), "u")
    bench.add(What.INPUT, 0, (rows, 7), "nu")
    bench.add(What.OUTPUT, 0, (rows, 5), "nu")
    bench.add(What.OUTPUT_GRAD, 0, (rows, 5), "nu")
    return bench


def filled(bench: Bench, rng: np.random.Generator) -> dict[tuple[What, int], np.ndarray]:
    return {
        (slot.what, slot.index): rng.normal(size=slot.shape).astype(np.float32)
        for slot in bench.slots
    }


@pytest.mark.parametrize("rows", [1, 2, 12])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.0, 1e30, -3e38, 1e-30, 1e-45])
def test_nothing_warns_or_turns_infinite_whatever_is_measured(rows: int, bad: float) -> None:
    bench = everything(rows)
    frames = []
    for step in range(1, 5):
        values = filled(bench, RNG)
        for value in values.values():
            value[...] = bad if step > 2 else np.where(RNG.random(value.shape) < 0.2, bad, value)
        frames.append(bench.frame(step, values, [float(bad)]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure(bench, frames)
    for one in found:
        assert not np.isinf(one.layers).any()
        assert not np.isinf(one.models).any()
        broken = not np.isfinite(bad)
        assert of_model(one, "nonfinite") == pytest.approx(0.0) or broken
    last = found[-1]
    assert of_layer(last, "nonfinite") == (0.0 if np.isfinite(bad) else 1.0)
    assert of_model(last, "nonfinite") == (0.0 if np.isfinite(bad) else 1.0)
    if np.isfinite(bad) and rows > 1:
        assert (last.layers[:, LAYER_COLUMN["out_variance"]] == 0.0).all()
        assert of_model(last, "out_variance") == 0.0
    if not np.isfinite(bad):
        assert np.isnan(of_layer(last, "out_rms"))
        assert np.isnan(of_layer(last, "dead_units"))
        assert np.isnan(of_model(last, "information"))


def test_what_a_frame_does_not_hold_is_not_a_number() -> None:
    bench = everything()
    (one,) = measure(bench, [bench.frame(1, {})])
    assert np.isnan(one.layers).all()
    columns = [column for name, column in MODEL_COLUMN.items() if name not in ("lr", "skipped")]
    assert np.isnan(one.models[:, columns]).all()
    partly = bench.frame(2, {(What.ACTIVATION, 0): np.ones((12, 6), dtype=np.float32)})
    (one,) = measure(bench, [partly])
    assert of_layer(one, "out_rms") == 1.0
    assert np.isnan(of_layer(one, "weight_rms"))
    assert np.isnan(one.layers[1:]).all()


def test_a_plan_without_layers_or_slots_is_fine() -> None:
    bench = Bench([])
    (one,) = measure(bench, [bench.frame(1, {}, [2.0])])
    assert one.layers.shape == (0, len(LAYER_COLUMN))
    assert of_model(one, "loss") == 2.0
    assert Statistician().measure([]) == []


def test_first_weights_and_windows_outlive_a_change_of_plan() -> None:
    weight = RNG.normal(size=(8, 9)).astype(np.float32)
    statistician = Statistician()
    for number, names in enumerate((["a", "b"], ["new", "b", "a"]), start=1):
        bench = Bench([layer(name, "x", "relu", fan_in=9) for name in names])
        for index in range(len(names)):
            bench.add(What.WEIGHT_BEFORE, index, (8, 9))
            bench.add(What.WEIGHT, index, (8, 9))
            bench.add(What.ACTIVATION, index, (4, 6), "nu")
        statistician.adopt(bench.plan(number))
        values = {}
        for index, name in enumerate(names):
            scale = number * (2.0 if name == "b" else 1.0)
            values[What.WEIGHT_BEFORE, index] = scale * weight
            values[What.WEIGHT, index] = scale * weight
            alive = np.zeros((4, 6), dtype=np.float32)
            alive[:, : 2 * number] = 1.0 if number == 1 else 0.0
            values[What.ACTIVATION, index] = alive
        (one,) = statistician.measure([bench.frame(number, values)])
        if number == 1:
            assert of_layer(one, "weight_growth", 0) == pytest.approx(1.0)
            assert of_layer(one, "weight_drift", 1) == 0.0
            assert of_layer(one, "dead_units", 0) == pytest.approx(4 / 6)
    assert of_layer(one, "weight_growth", 0) == pytest.approx(1.0)
    assert of_layer(one, "dead_units", 0) == 1.0
    assert of_layer(one, "weight_growth", 1) == pytest.approx(2.0)
    assert of_layer(one, "weight_growth", 2) == pytest.approx(2.0)
    assert of_layer(one, "weight_drift", 2) == pytest.approx(1.0)
    assert of_layer(one, "dead_units", 2) == pytest.approx(4 / 6)


def test_a_unit_is_dead_after_ten_samples_without_a_positive_output() -> None:
    bench = Bench([layer("r", "ReLU", "relu"), layer("g", "GELU", "gelu")])
    for index in (0, 1):
        bench.add(What.ACTIVATION, index, (4, 2), "nu")
    frames = []
    for step in range(1, 31):
        out = np.zeros((4, 2), dtype=np.float32)
        out[:, 0] = 1.0
        out[1, 1] = float(step == 5)
        frames.append(bench.frame(step, {(What.ACTIVATION, k): out for k in (0, 1)}))
    dead = [of_layer(one, "dead_units") for one in measure(bench, frames)]
    assert dead == [0.5] * 4 + [0.0] * 10 + [0.5] * 16
    assert np.isnan(of_layer(measure(bench, frames)[-1], "dead_units", 1))


def test_rows_of_single_sample_steps_are_gathered() -> None:
    bench = Bench([layer()], "cross_entropy")
    bench.add(What.ACTIVATION, 0, (1, 5), "nu")
    bench.add(What.INPUT, 0, (1, 5), "nu")
    bench.add(What.OUTPUT, 0, (1, 5), "nu")
    rows = RNG.normal(size=(60, 1, 5)).astype(np.float32)
    rows[40:] = rows[40]
    keys = ((What.ACTIVATION, 0), (What.INPUT, 0), (What.OUTPUT, 0))
    frames = [bench.frame(k + 1, dict.fromkeys(keys, row)) for k, row in enumerate(rows)]
    found = measure(bench, frames)
    assert np.isnan(of_layer(found[6], "out_variance"))
    for last in (7, 35, 59):
        expected = rho(rows[max(0, last - 31) : last + 1, 0])
        assert of_layer(found[last], "out_variance") == pytest.approx(expected, rel=1e-4)
        assert of_model(found[last], "out_variance") == pytest.approx(expected, rel=1e-4)
        assert of_model(found[last], "in_variance") == pytest.approx(expected, rel=1e-4)
    predicted = rows[28:60, 0].argmax(axis=1)
    assert of_model(found[59], "top_share") == np.bincount(predicted).max() / 32


def test_a_step_that_the_scaler_left_out_is_no_update_and_no_fault() -> None:
    bench = Bench([layer(fan_in=9, parameters=72)])
    for what in (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD):
        bench.add(what, 0, (8, 9))
    weight = RNG.normal(size=(8, 9)).astype(np.float32)
    values = {
        (What.WEIGHT_BEFORE, 0): weight,
        (What.WEIGHT, 0): weight,
        (What.WEIGHT_GRAD, 0): np.full((8, 9), np.inf, dtype=np.float32),
    }
    found = measure(bench, [bench.frame(step, values, skipped=True) for step in range(1, 7)])
    assert all(np.isnan(of_layer(one, "update_ratio")) for one in found)
    assert all(np.isnan(of_layer(one, "grad_rms")) for one in found)
    assert [of_layer(one, "nonfinite") for one in found] == [0.0] * 3 + [1.0] * 3


def test_update_ratio_is_for_matrices_only() -> None:
    bench = Bench([layer("n", "LayerNorm"), layer("e", "Embedding", fan_in=9), layer("l")])
    for index, shape in ((0, (8, 1)), (1, (8, 9)), (2, (8, 9))):
        for what in (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD):
            bench.add(what, index, shape, source=(8,) if index == 0 else ())
    values = {
        (slot.what, slot.index): np.ones(slot.shape, dtype=np.float32) for slot in bench.slots
    }
    values[What.WEIGHT, 1] = np.ones((8, 9), dtype=np.float32)
    values[What.WEIGHT, 1][:4] = 1.1
    values[What.WEIGHT_GRAD, 1] = np.zeros((8, 9), dtype=np.float32)
    values[What.WEIGHT_GRAD, 1][:4] = 1.0
    (one,) = measure(bench, [bench.frame(1, values)])
    assert np.isnan(of_layer(one, "update_ratio", 0))
    assert np.isnan(of_layer(one, "weight_spread", 0))
    assert of_layer(one, "update_ratio", 1) == pytest.approx(0.1, rel=1e-4)
    assert np.isnan(of_layer(one, "weight_spread", 1))
    assert of_layer(one, "update_ratio", 2) == 0.0
    assert of_model(one, "update_ratio") == pytest.approx(0.1, rel=1e-4)


def test_twin_gradients_are_not_told_from_a_single_row() -> None:
    for rows in (1, 4):
        bench = Bench([layer(fan_in=9)])
        bench.add(What.ACTIVATION, 0, (rows, 8), "nu")
        bench.add(What.WEIGHT_GRAD, 0, (8, 9))
        grad = np.outer(np.arange(1.0, 9), np.arange(1.0, 10)).astype(np.float32)
        out = RNG.normal(size=(rows, 8)).astype(np.float32)
        frame = bench.frame(1, {(What.ACTIVATION, 0): out, (What.WEIGHT_GRAD, 0): grad})
        (one,) = measure(bench, [frame])
        share = of_layer(one, "duplicate_grads")
        assert np.isnan(share) if rows == 1 else share == 1.0


def test_integer_inputs_are_only_searched_for_duplicates() -> None:
    bench = Bench([])
    bench.add(What.INPUT, 0, (4, 6), "nu", dtype="int64")
    tokens = np.arange(24, dtype=np.float32).reshape(4, 6)
    tokens[2] = tokens[0]
    (one,) = measure(bench, [bench.frame(1, {(What.INPUT, 0): tokens})])
    assert of_model(one, "in_duplicates") == 0.25
    assert np.isnan(of_model(one, "in_variance"))
    assert np.isnan(of_model(one, "in_max"))


def test_a_blank_part_of_an_image_says_nothing_of_the_image() -> None:
    corner = np.zeros((8, 1, 16), dtype=np.float32)
    for source, known in (((8, 1, 28, 28), False), ((8, 1, 4, 4), True)):
        bench = Bench([])
        bench.add(What.INPUT, 0, (8, 1, 16), "nup", source)
        (one,) = measure(bench, [bench.frame(1, {(What.INPUT, 0): corner})])
        assert np.isfinite(of_model(one, "in_variance")) == known
        assert np.isfinite(of_model(one, "in_duplicates")) == known


def test_classes_cut_off_by_the_slice_leave_no_predictions() -> None:
    for width in (1024, 50_000):
        bench = Bench([], "cross_entropy")
        bench.add(What.OUTPUT, 0, (32, 1024), "nu", (32, width))
        out = RNG.normal(size=(32, 1024)).astype(np.float32)
        (one,) = measure(bench, [bench.frame(1, {(What.OUTPUT, 0): out})])
        assert np.isfinite(of_model(one, "information")) == (width == 1024)
        assert np.isfinite(of_model(one, "out_variance"))


def test_predictions_are_read_along_the_class_axis_of_segmentations_and_sequences() -> None:
    for axes, shape in (("nup", (8, 5, 16)), ("npu", (8, 16, 5))):
        bench = Bench([], "cross_entropy")
        bench.add(What.OUTPUT, 0, shape, axes)
        bench.add(What.OUTPUT_GRAD, 0, shape, axes)
        rows = torch.randn(128, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
        labels = torch.arange(128) % 5
        loss = nn.functional.cross_entropy(rows, labels)
        loss.backward()
        arranged = [part.detach().reshape(8, 16, 5).numpy() for part in (rows, grad_of(rows))]
        if axes == "nup":
            arranged = [np.ascontiguousarray(part.swapaxes(1, 2)) for part in arranged]
        values = {(What.OUTPUT, 0): arranged[0], (What.OUTPUT_GRAD, 0): arranged[1]}
        (one,) = measure(bench, [bench.frame(1, values, [loss.item()])])
        assert of_model(one, "label_entropy") == pytest.approx(np.log(5), rel=1e-3)
        assert of_model(one, "distinct_predictions") == 5


def test_series_carry_every_loss_and_scalar() -> None:
    bench = Bench([])
    frame = bench.frame(
        7, {}, [3.0, np.nan, 2.0], scalars={"lr": [(6, 0.1), (7, 0.2)], "accuracy": [(7, 0.5)]}
    )
    (one,) = measure(bench, [frame])
    steps, values = one.scalars["loss"]
    assert steps.tolist() == [5, 6, 7]
    assert steps.dtype == np.int64
    assert values.dtype == np.float32
    assert values[[0, 2]].tolist() == [3.0, 2.0]
    assert np.isnan(values[1])
    assert one.scalars["accuracy"][1].tolist() == [0.5]
    assert of_model(one, "lr") == pytest.approx(0.2)
    assert of_model(one, "loss") == 2.0


def test_two_models_keep_their_own_statistics() -> None:
    bench = Bench([], models=2)
    for index in (0, 1):
        bench.add(What.OUTPUT, index, (4, 3), "nu")
    ones = np.ones((4, 3), dtype=np.float32)
    values = {(What.OUTPUT, 0): ones, (What.OUTPUT, 1): 5 * ones}
    (one,) = measure(bench, [bench.frame(1, values)])
    assert of_model(one, "out_rms", 0) == 1.0
    assert of_model(one, "out_rms", 1) == 5.0


def test_embeddings_of_a_contrastive_loss_are_not_read_as_predictions() -> None:
    bench = Bench([], "cross_entropy")
    bench.add(What.OUTPUT, 0, (32, 16), "nu")
    bench.add(What.OUTPUT_GRAD, 0, (32, 16), "nu")
    embedded = torch.randn(32, 16, generator=torch.Generator().manual_seed(0)).requires_grad_()
    unit = nn.functional.normalize(embedded, dim=1)
    loss = nn.functional.cross_entropy(5 * unit @ unit.T, torch.arange(32))
    loss.backward()
    values = {
        (What.OUTPUT, 0): embedded.detach().numpy(),
        (What.OUTPUT_GRAD, 0): grad_of(embedded).numpy(),
    }
    (one,) = measure(bench, [bench.frame(1, values, [loss.item()])])
    for metric in ("information", "top_share", "distinct_predictions", "skill", "label_entropy"):
        assert np.isnan(of_model(one, metric))
    assert of_model(one, "out_variance") > 0.5
