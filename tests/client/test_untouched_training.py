"""Training with deadband is the same training: numbers, model, optimiser, process."""

from __future__ import annotations

import copy
import gc
import io
import os
import pickle
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

import deadband
from deadband.watching import Watch


class Net(nn.Module):
    """Convolution, batch norm, dropout, functional and in-place activations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.3)
        self.attend = nn.TransformerEncoderLayer(6, 2, 12, batch_first=True)
        self.spectral = nn.utils.parametrizations.spectral_norm(nn.Linear(6, 6))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.norm(self.conv(x)))
        x = self.drop(F.gelu(x)).flatten(2).transpose(1, 2)
        x = torch.tanh(self.spectral(self.attend(x))).mean(1)
        result: Tensor = self.head(x)
        return result


@contextmanager
def nothing() -> Iterator[None]:
    yield None


def train(*, watched: bool, every: int | None, evaluate: bool = True) -> tuple[bytes, Tensor]:
    """Weights, optimiser state, evaluation outputs and the next random numbers."""
    torch.manual_seed(3)
    model = Net()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    outputs = []
    with deadband.watch(model, optimizer, every=every) if watched else nothing() as watch:
        for step in range(14):
            x, y = torch.randn(9, 1, 6, 6), torch.randint(0, 4, (9,))
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            if isinstance(watch, Watch):
                watch.step(loss=loss, learning=1.0)
            if evaluate and step % 3 == 0:
                model.eval()
                with torch.no_grad():  # the transformer's fast path, unless hooks forbid it
                    outputs.append(model(x).clone())
                    outputs.append(F.cross_entropy(outputs[-1], y))
                model.train()
        if isinstance(watch, Watch):
            assert watch._recorder.samples > 0
            assert watch._faults == 0
    kept = io.BytesIO()
    torch.save((model.state_dict(), optimizer.state_dict(), outputs), kept)
    return kept.getvalue(), torch.rand(5)


@pytest.mark.parametrize("every", [1, 4, None])
def test_weights_and_random_numbers_are_bit_identical(every: int | None) -> None:
    bare, numbers = train(watched=False, every=None)
    watched, same_numbers = train(watched=True, every=every)
    assert torch.equal(numbers, same_numbers)
    first = torch.load(io.BytesIO(bare))
    second = torch.load(io.BytesIO(watched))
    for one, other in zip(_tensors(first), _tensors(second), strict=True):
        assert torch.equal(one, other)


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [each for part in value.values() for each in _tensors(part)]
    if isinstance(value, list | tuple):
        return [each for part in value for each in _tensors(part)]
    return []


def state_of(model: nn.Module) -> list[tuple[str, list[str], list[int]]]:
    """Attributes and hook counts of every module."""
    return [
        (
            name,
            sorted(vars(module)),
            [
                len(value)
                for key, value in sorted(vars(module).items())
                if "hooks" in key and hasattr(value, "__len__")
            ],
        )
        for name, module in model.named_modules()
    ]


def test_between_steps_the_model_carries_no_trace() -> None:
    from torch.nn.modules import module as tables

    model = Net()
    model.spectral = nn.Linear(6, 6)  # torch does not pickle parametrised modules
    untouched = state_of(model)
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), every=1)
    assert state_of(model) == untouched
    for _ in range(2):
        loss = model(torch.randn(3, 1, 6, 6)).sum()
        loss.backward()
        watch.step(loss=loss)
        assert state_of(model) == untouched
        again = pickle.loads(pickle.dumps(model))
        twin = copy.deepcopy(model)
        assert state_of(again) == state_of(twin) == untouched
        assert all(isinstance(value, Tensor) for value in model.state_dict().values())
    watch.close()
    assert state_of(model) == untouched
    assert not tables._global_forward_pre_hooks
    assert not tables._global_forward_hooks


def test_a_copy_of_a_compiled_model_knows_nothing_of_its_watch() -> None:
    model: Any = torch.compile(nn.Linear(2, 2), backend="eager")
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), every=1)
    assert watch._armed
    twin = copy.deepcopy(model)
    written = pickle.dumps(model._orig_mod)
    assert b"deadband" not in written
    for each in (twin, pickle.loads(written)):
        assert each(torch.ones(1, 2)).shape == (1, 2)
    watch.close()
    assert not watch._torch.capture.roots[0].seen  # type: ignore[union-attr]


def test_after_close_torch_is_as_it_was() -> None:
    backward, scale = torch.autograd.backward, torch.amp.GradScaler.scale
    compiler, losses = torch.compile, F.cross_entropy.__code__
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    model(torch.randn(3, 1, 6, 6)).sum().backward()
    optimizer.step()
    watch.close()
    assert torch.autograd.backward is backward
    assert torch.amp.GradScaler.scale is scale
    assert torch.compile is compiler
    assert F.cross_entropy.__code__ is losses
    assert not optimizer._optimizer_step_pre_hooks
    assert not optimizer._optimizer_step_post_hooks
    watch.step(loss=1.0)
    watch.close()


def test_a_forward_that_raises_raises_its_own_error_and_leaves_no_mode() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.broken = True

        def forward(self, x: Tensor) -> Tensor:
            x = F.relu(self.layer(x))
            if self.broken:
                raise ArithmeticError("mine")
            return x

    model = Broken()
    untouched = state_of(model)
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), lr=0.1), every=1)
    with pytest.raises(ArithmeticError, match="mine"):
        model(torch.ones(1, 2))
    assert torch._C._len_torch_function_stack() == 0
    assert state_of(model) == untouched  # at once: whoever catches the error may pickle the model
    model.broken = False
    model(torch.ones(1, 2)).sum().backward()
    watch.step()
    watch.close()
    assert state_of(model) == untouched
    assert watch._recorder.samples == 1


def test_a_fault_of_ours_is_counted_and_never_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    from deadband.cells import Cell

    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(Cell, "take", fail)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        watch.step()
    beat = watch._beat()
    assert beat.faults > 0
    assert beat.fault == "RuntimeError: ours"


def test_a_forked_child_is_not_watched() -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of forks beside threads
        child = os.fork()
    if child == 0:
        code = 1
        try:
            model(torch.ones(1, 2)).sum().backward()
            optimizer.step()
            watch.step(loss=1.0)
            code = 0 if watch.steps == 0 and not watch._armed else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    watch.step(loss=1.0)
    assert watch._recorder.samples == 1


def test_deadband_off_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEADBAND", "off")
    model = Net()
    untouched = state_of(model)
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), lr=0.1))
    model(torch.randn(3, 1, 6, 6)).sum().backward()
    watch.step(loss=1.0)
    assert state_of(model) == untouched
    assert (watch.steps, watch.flags, watch.verdict) == (0, (), "healthy")
    watch.close()


def test_an_unsampled_step_costs_less_than_ten_microseconds() -> None:
    # The bound is loose for busy machines; the benchmark gives the figure (well below 1 µs).
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1_000_000)
    watch.step(loss=0.0)
    loss = torch.zeros((), requires_grad=True) * 1.0
    gc.collect()
    best = min(_timed(watch, loss) for _ in range(7))
    sys.stderr.write(f"unsampled step: {best * 1e6:.2f} us\n")
    assert best < 10e-6


def _timed(watch: Watch, loss: Tensor) -> float:
    start = time.perf_counter()
    for _ in range(1000):
        watch.step(loss=loss)
    return (time.perf_counter() - start) / 1000


def test_a_watch_that_is_ended_from_outside_in_the_middle_of_a_hook_leaves_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = nn.Sequential(nn.Linear(4, 2), nn.ReLU())
    before = len(torch.nn.modules.module._global_forward_pre_hooks)
    watch = deadband.watch(model, torch.optim.SGD(model.parameters(), 0.1), every=1)
    assert watch._torch is not None
    # As a pending call of the interpreter does: between two lines of ours.
    monkeypatch.setattr(watch._torch.capture, "_forward_begins", watch.close)
    model(torch.ones(3, 4)).sum().backward()
    assert len(torch.nn.modules.module._global_forward_pre_hooks) == before
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
