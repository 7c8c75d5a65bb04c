"""What users do with a watched model, and with processes and errors around it, works as ever."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
import warnings
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from test_untouched_training import state_of
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import deadband
from deadband.watching import Watch


class Net(nn.Module):
    """Calls back in the middle of its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)
        self.norm = nn.BatchNorm1d(8)
        self.middle: list[Any] = []

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm(self.first(x)))
        for call in self.middle:
            call(self)
        result: Tensor = self.second(x)
        return result


def made(model: nn.Module) -> tuple[torch.optim.Optimizer, Watch]:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return optimizer, deadband.watch(model, optimizer, every=1)


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> Tensor:
    loss = F.cross_entropy(model(torch.randn(6, 4)), torch.randint(0, 2, (6,)))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss


def written(model: nn.Module) -> bytes:
    held = io.BytesIO()
    torch.save(model, held)
    return held.getvalue()


def test_a_model_saved_or_copied_inside_a_sampled_step_has_no_trace_of_us() -> None:
    model = Net()
    untouched = state_of(model)
    optimizer, watch = made(model)
    taken: list[Any] = []

    def take(net: Net) -> None:
        kept, net.middle = net.middle, []
        taken.append((copy.deepcopy(net), written(net), pickle.dumps(net), net.state_dict()))
        net.middle = kept

    step(model, optimizer)
    watch.step()
    take(model)  # between two steps
    model.middle = [take]  # inside a forward
    loss = F.cross_entropy(model(torch.randn(6, 4)), torch.randint(0, 2, (6,)))
    model.middle = []
    take(model)  # between forward and backward
    loss.backward()
    take(model)  # ahead of the update
    optimizer.step()
    take(model)
    watch.step()
    for twin, saved, packed, state in taken:
        assert b"deadband" not in packed
        assert b"deadband" not in saved
        assert set(state) == set(model.state_dict())
        again = torch.load(io.BytesIO(saved), weights_only=False)
        for each in (twin, again, pickle.loads(packed)):
            assert step(each, torch.optim.SGD(each.parameters(), lr=0.1)).isfinite()
            assert [name for name, _, _ in state_of(each)] == [name for name, _, _ in untouched]
    watch.close()
    assert state_of(model) == untouched
    assert watch._torch.capture.fault == ""  # type: ignore[union-attr]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit, GeneratorExit])
def test_whatever_a_forward_raises_comes_through_and_leaves_the_model(
    error: type[BaseException],
) -> None:
    model = Net()
    untouched = state_of(model)
    optimizer, watch = made(model)

    def fail(net: Net) -> None:
        raise error("the user's own")

    model.middle = [fail]
    with pytest.raises(error, match="the user's own"):
        step(model, optimizer)
    model.middle = []
    if issubclass(error, Exception):  # torch calls no hook behind the others: they end the step
        assert torch._C._len_torch_function_stack() == 0
        assert state_of(model) == untouched
    else:
        assert b"deadband" not in pickle.dumps(model)
    step(model, optimizer)
    watch.step()
    assert torch._C._len_torch_function_stack() == 0
    assert state_of(model) == untouched
    watch.close()
    assert state_of(model) == untouched


def test_a_model_can_be_watched_twice_and_again_after_closing() -> None:
    model = Net()
    untouched = state_of(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = deadband.watch(model, optimizer, every=1)
    second = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        loss = step(model, optimizer)
        first.step(loss=loss)
        second.step(loss=loss)
    first.close()
    loss = step(model, optimizer)
    first.step(loss=loss)
    second.step(loss=loss)
    second.close()
    assert (first._recorder.samples, second._recorder.samples) == (3, 4)
    third = deadband.watch(model, optimizer, every=1)
    third.step(loss=step(model, optimizer))
    third.close()
    assert third._recorder.samples == 1
    assert state_of(model) == untouched
    assert not optimizer._optimizer_step_pre_hooks
    for each in (first, second, third):
        assert (each._faults, each._torch.capture.fault) == (0, "")  # type: ignore[union-attr]


def test_two_watches_of_two_models_do_not_mix() -> None:
    models = [Net(), Net()]
    pairs = [made(model) for model in models]
    for _ in range(3):
        for model, (optimizer, watch) in zip(models, pairs, strict=True):
            watch.step(loss=step(model, optimizer))
    for _, watch in pairs:
        watch.close()
        assert watch._recorder.samples == 3
        assert watch._torch.capture.fault == ""  # type: ignore[union-attr]


def test_training_warns_of_the_same_as_without_us() -> None:
    def warned(watched: bool) -> list[str]:
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 4), nn.Softmax(), nn.Linear(4, 2))  # warns of `dim`
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            watch = deadband.watch(model, optimizer, every=1) if watched else None
            for _ in range(3):
                out = model(torch.randn(3, 4))
                F.mse_loss(out, torch.zeros(1, 2)).backward()  # warns of the shapes
                optimizer.step()
                if watch is not None:
                    watch.step()
            if watch is not None:
                watch.close()
        return [str(each.message) for each in heard]

    bare = warned(False)
    assert len(bare) >= 4
    assert warned(True) == bare


def test_nothing_of_a_step_is_kept_alive_by_us() -> None:
    model = Net()
    optimizer, watch = made(model)
    for _ in range(3):
        step(model, optimizer)
        watch.step()
    out = model(torch.randn(6, 4))
    loss = out.sum()
    held = [weakref.ref(out), weakref.ref(loss)]
    loss.backward()
    optimizer.step()
    watch.step(loss=loss)
    del out, loss
    gc.collect()
    assert [each() for each in held] == [None, None]


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_data_loader_know_nothing_of_the_watch(start: str) -> None:
    model = Net()
    optimizer, watch = made(model)
    data = TensorDataset(torch.randn(12, 4), torch.randint(0, 2, (12,)))
    loader = DataLoader(data, batch_size=6, num_workers=1, multiprocessing_context=start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
        for x, y in loader:
            loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            watch.step(loss=loss)
    assert watch.pid == os.getpid()
    watch.close()
    assert watch._recorder.samples == 2
    assert watch._faults == 0
