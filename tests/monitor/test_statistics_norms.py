"""Batch normalisation against its running figures, as torch's own layers have them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from statistics_frames import Bench, of_layer
from torch import Tensor, nn

from deadband.wire import Layer, What
from deadband_monitor.statistics import Statistician
from deadband_monitor.statistics.norms import of_slice

Norm = nn.BatchNorm1d | nn.BatchNorm2d


def stale(norm: Norm) -> Norm:
    """With running figures of other data, and a weight and bias that have been trained."""
    with torch.no_grad():
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.normal_(0.5, 0.3)
        norm.running_var.uniform_(0.2, 3.0)
        if norm.affine:
            norm.weight.uniform_(-2.0, 2.0)
            norm.bias.normal_()
    return norm


def measured(
    norm: Norm, x: Tensor, *, part: tuple[slice, ...], with_output: bool = True, axes: str
) -> tuple[float, float]:
    """norm_shift and norm_ratio from a part of the batch that went through `norm`."""
    assert norm.running_mean is not None
    assert norm.running_var is not None

    def flat(each: Tensor) -> Tensor:
        return each.flatten(2) if axes == "nup" else each

    values = {
        What.RUNNING_MEAN: norm.running_mean.clone(),
        What.RUNNING_VAR: norm.running_var.clone(),
        What.LAYER_INPUT: flat(x[part]),
    }
    y = norm(x)
    if with_output:
        values[What.ACTIVATION] = flat(y[part])
    if norm.affine:
        values[What.WEIGHT_BEFORE] = norm.weight[:64, None]
        values[What.BIAS] = norm.bias
    layer = Layer(name="n", model="m", kind=type(norm).__name__, options={"eps": norm.eps})
    bench = Bench([layer])
    arrays = {(what, 0): value.detach().numpy() for what, value in values.items()}
    for (what, _), array in arrays.items():
        rows = what in (What.LAYER_INPUT, What.ACTIVATION)
        own = axes if rows else "" if what is What.WEIGHT_BEFORE else "u"
        source = tuple(x.shape) if rows else array.shape
        bench.add(what, 0, array.shape, own, source=source)
    statistician = Statistician()
    statistician.adopt(bench.plan())
    (found,) = statistician.measure([bench.frame(1, arrays)])
    return of_layer(found, "norm_shift"), of_layer(found, "norm_ratio")


def slow(norm: Norm, x: Tensor, channels: slice, samples: int) -> tuple[float, float]:
    """What the whole batch says, channel by channel; the noise is that of the means of samples."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    wide = x.double().flatten(2) if x.ndim > 2 else x.double()[:, :, None]
    shifts, ratios = [], []
    for place in range(wide.shape[1])[channels]:
        channel = wide[:, place]
        scale = float(norm.running_var[place]) + norm.eps
        noise = float(channel.mean(dim=1).var()) / samples
        away = float(channel.mean() - norm.running_mean[place]) ** 2 - noise
        shifts.append(max(0.0, away) / scale)
        ratios.append((float(channel.var(correction=0)) + norm.eps) / scale)
    return float(np.median(shifts)), float(np.median(ratios))


@pytest.mark.parametrize("affine", [True, False])
def test_the_whole_batch_is_told_from_a_slice_of_it(affine: bool) -> None:
    torch.manual_seed(0)
    norm = stale(nn.BatchNorm1d(100, affine=affine))
    x = torch.randn(256, 100) * torch.rand(100) * 3 + torch.randn(100) * 4
    expected = slow(norm, x, slice(64 if affine else 100), 256)
    found = measured(norm, x, part=(slice(32),), axes="nu")
    assert found[1] == pytest.approx(expected[1], rel=1e-3)
    assert found[0] == pytest.approx(expected[0], rel=0.03)


def test_the_middle_of_images_does_not_pass_for_the_whole() -> None:
    torch.manual_seed(1)
    norm = stale(nn.BatchNorm2d(12))
    window = torch.zeros(28, 28)
    window[8:20, 8:20] = 4.0
    x = torch.randn(64, 12, 28, 28) * 0.3 + window
    expected = slow(norm, x, slice(12), 64)
    middle = (slice(16), slice(None), slice(13, 14), slice(6, 22))
    found = measured(norm, x, part=middle, axes="nup")
    assert found == pytest.approx(expected, rel=0.02)
    assert np.isnan(measured(norm, x, part=middle, with_output=False, axes="nup")).all()
    misled = of_slice(x[middle].flatten(2).transpose(1, 2)[None].numpy())
    assert (np.median(misled.mean) - float(x.mean())) ** 2 > 1.0


def test_without_the_output_the_slice_speaks_for_itself() -> None:
    torch.manual_seed(2)
    norm = stale(nn.BatchNorm1d(40))
    x = torch.randn(32, 40) * 2 + 3
    expected = slow(norm, x, slice(40), 32)
    found = measured(norm, x, part=(slice(32),), with_output=False, axes="nu")
    assert found == pytest.approx(expected, rel=1e-4)


def test_figures_that_fit_show_no_shift_however_small_the_batch() -> None:
    shifts, ratios = [], []
    for seed in range(20):
        torch.manual_seed(seed)
        norm = nn.BatchNorm1d(64)
        found = measured(norm, torch.randn(16, 64), part=(slice(16),), axes="nu")
        shifts.append(found[0])
        ratios.append(found[1])
    assert max(shifts) < 0.02
    assert 0.75 < np.mean(ratios) < 1.05


def test_a_layer_that_normalises_by_its_running_figures_agrees_with_them() -> None:
    torch.manual_seed(3)
    norm = stale(nn.BatchNorm1d(20)).eval()
    x = torch.randn(32, 20) * 5 + 7
    shift, ratio = measured(norm, x, part=(slice(32),), axes="nu")
    assert shift == pytest.approx(0.0, abs=1e-3)
    assert ratio == pytest.approx(1.0, rel=1e-3)


def test_channels_that_are_dead_or_switched_off_do_not_decide() -> None:
    torch.manual_seed(4)
    norm = nn.BatchNorm1d(9)
    x = torch.randn(64, 9)
    x[:, :3] = 0
    with torch.no_grad():
        norm.weight[3:6] = 0
    shift, ratio = measured(norm, x, part=(slice(32),), axes="nu")
    assert shift < 0.05
    assert 0.6 < ratio < 1.5


def test_few_elements_and_non_finite_ones_say_nothing() -> None:
    norm = nn.BatchNorm1d(5)
    assert np.isnan(measured(norm, torch.randn(7, 5), part=(slice(7),), axes="nu")).all()
    x = torch.randn(16, 5)
    x[3] = torch.nan
    assert np.isnan(measured(norm, x, part=(slice(16),), axes="nu")).all()


@pytest.mark.parametrize("following", [What.TESTED_NEXT, What.RUNNING_MEAN])
def test_a_batch_that_trained_nothing_is_read_off_the_running_means(following: What) -> None:
    norm = nn.BatchNorm1d(5, momentum=0.2)
    stale(norm)
    x = torch.randn(40, 5) + torch.arange(5)
    arrays = {(What.TESTED_MEAN, 0): norm.running_mean.clone().numpy()}  # type: ignore[union-attr]
    away = (x.mean(0) - torch.from_numpy(arrays[What.TESTED_MEAN, 0])) ** 2
    with torch.no_grad():
        norm(x)
    arrays[following, 0] = norm.running_mean.clone().numpy()  # type: ignore[union-attr]
    arrays[What.RUNNING_VAR, 0] = norm.running_var.clone().numpy()  # type: ignore[union-attr]
    if following is What.TESTED_NEXT:  # what came behind it has moved them again
        arrays[What.RUNNING_MEAN, 0] = np.full(5, 9.0)
    bench = Bench([Layer(name="n", model="m", kind="BatchNorm1d", options={"momentum": 0.2})])
    for what, _ in arrays:
        bench.add(what, 0, (5,), "u")
    statistician = Statistician()
    statistician.adopt(bench.plan())
    (found,) = statistician.measure([bench.frame(1, arrays)])
    expected = float((away / norm.running_var).median())  # type: ignore[operator]
    assert of_layer(found, "norm_test_shift") == pytest.approx(expected, rel=1e-3)
