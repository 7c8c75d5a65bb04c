"""What is seen of compiled models, from outside and in samples that run uncompiled."""

from __future__ import annotations

import copy
import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import Tensor, nn
from torch._dynamo.utils import counters

import deadband
from deadband.watching import Watch
from deadband.wire import What

pytestmark = [
    pytest.mark.timeout(90),  # the first use of dynamo loads a thousand modules
    pytest.mark.filterwarnings("ignore:The .grad attribute"),  # dynamo, of a part in mid-graph
]

OUTSIDE = {What.OUTPUT, What.OUTPUT_GRAD, What.TARGET, What.WEIGHT, What.WEIGHT_GRAD}


class Block(nn.Module):
    """Two layers and a function."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(6, 12), nn.Linear(12, 6)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.down(F.gelu(self.up(x)))
        return result


class Net(nn.Module):
    """Blocks between two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.head(x)
        return result


def compiled(how: str, **options: Any) -> tuple[nn.Module, nn.Module, Callable[[Tensor], Tensor]]:
    """The plain model, what is given to `watch`, and what the loop calls."""
    torch.manual_seed(3)
    options = {"backend": "aot_eager", "fullgraph": True, **options}
    net = model = Net()
    if how == "wrapper":
        model = torch.compile(net, **options)  # type: ignore[assignment]
    elif how == "module":
        net.compile(**options)
    elif how == "parts":
        net.first = torch.compile(net.first, **options)  # type: ignore[assignment]
        for block in net.blocks:
            block.compile(**options)
    elif how == "function":
        return net, net, torch.compile(lambda x: net(x), **options)
    return net, model, model


def train(how: str, *, watched: bool = True, every: int = 1, compiled_as: str = "as-is",
          **options: Any) -> tuple[list[float], Any, nn.Module]:  # fmt: skip
    """Six steps; the parameters' sums, and the watch."""
    torch._dynamo.reset()
    counters.clear()
    net, model, forward = compiled(how, **options)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=every, compiled=compiled_as) if watched else None
    for step in range(6):
        rows = 5 if step < 4 else 7
        x, y = torch.randn(rows, 4), torch.randint(0, 3, (rows,))
        loss = F.cross_entropy(forward(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if watch is not None:
            watch.step(loss=loss)
    return [each.double().sum().item() for each in net.parameters()], watch, net


def graphs() -> int:
    assert not counters["graph_break"]
    return int(counters["stats"]["unique_graphs"])


@pytest.mark.parametrize("how", ["wrapper", "module", "function", "parts"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="static"),
        pytest.param({"dynamic": True}, id="dynamic", marks=pytest.mark.slow),
    ],
)
def test_the_outside_of_what_is_compiled_is_seen_and_nothing_is_compiled_anew(
    how: str, options: dict[str, Any], frames_of: Callable[[Watch], Frames]
) -> None:
    bare, _, _ = train(how, watched=False, **options)
    once = graphs()
    numbers, watch, _ = train(how, **options)
    # Around a compiled function dynamo looks at the model's hooks: where the one that waits there
    # in sampled steps comes and goes, that is one more graph, once.
    assert once <= graphs() <= once + (how == "function")
    assert numbers == bare
    frames = frames_of(watch)
    seen = {slot.what for slot in frames.plan.slots}
    assert seen >= OUTSIDE
    assert (What.INPUT in seen) == (how != "function")
    (model,) = frames.plan.models
    assert (model.compiled, model.hidden) == (how != "parts", how == "function")
    if how == "parts":
        assert model.compiled_parts == ("first", "blocks.0", "blocks.1")
        shown = {
            frames.layers[slot.index] for slot in frames.plan.slots if slot.what is What.ACTIVATION
        }
        assert shown == {"first", "blocks.0", "blocks.1", "head"}


def test_the_figures_of_a_module_compiled_in_place_are_those_of_its_calls(
    frames_of: Callable[[Watch], Frames],
) -> None:
    net, model, _ = compiled("module")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    watch = deadband.watch(model, optimizer, every=1)
    for _ in range(3):
        x, y = torch.randn(5, 4), torch.randint(0, 3, (5,))
        out = model(x)
        out.retain_grad()
        loss = F.cross_entropy(out, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        watch.step(loss=loss)
    frames = frames_of(watch)
    np.testing.assert_array_equal(frames.held(What.INPUT, "model"), x)
    np.testing.assert_array_equal(frames.held(What.OUTPUT, "model"), out.detach())
    np.testing.assert_array_equal(frames.held(What.OUTPUT_GRAD, "model"), out.grad)
    np.testing.assert_array_equal(frames.held(What.TARGET, "model"), y)


@pytest.mark.parametrize("how", ["wrapper", "module", "function", "parts"])
def test_eager_samples_show_the_inside_and_compile_nothing_anew(
    how: str, frames_of: Callable[[Watch], Frames]
) -> None:
    bare, _, _ = train(how, watched=False)
    once = graphs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The .grad attribute")
        numbers, watch, _ = train(how, every=2, compiled_as="eager-samples")
    assert graphs() <= once
    np.testing.assert_allclose(numbers, bare, rtol=1e-5)
    frames = frames_of(watch)
    (model,) = frames.plan.models
    assert model.eager_samples
    shown = {
        frames.layers[slot.index] for slot in frames.plan.slots if slot.what is What.ACTIVATION
    }
    assert {"first", "blocks.0.up", "blocks.0.up:gelu", "blocks.1.down", "head"} <= shown
    watch.close()
    from torch._dynamo import eval_frame

    assert eval_frame._stance.stance == "default"


def test_eager_samples_leave_the_users_own_stance(frames_of: Callable[[Watch], Frames]) -> None:
    from torch._dynamo import eval_frame

    with torch.compiler.set_stance("eager_on_recompile"):
        _, watch, _ = train("wrapper", every=2, compiled_as="eager-samples")
        watch.close()
        assert eval_frame._stance.stance == "eager_on_recompile"


def test_a_module_compiled_in_place_carries_no_trace_even_in_a_sampled_step() -> None:
    net, model, _ = compiled("module", backend="eager")
    inner = net.__dict__["_compiled_call_impl"]
    watch = deadband.watch(model, torch.optim.SGD(net.parameters(), lr=0.1), every=1)
    for each in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert each.__dict__.get("_compiled_call_impl") is None
        assert each(torch.ones(1, 4)).shape == (1, 3)
    with pytest.raises(RuntimeError, match=r"mat1 and mat2|shapes|size"):
        model(torch.ones(1, 5))
    watch.close()
    assert net.__dict__["_compiled_call_impl"] is inner


def test_a_setting_of_compiled_that_has_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="compiled must be one of as-is, eager-samples, not 'no'"):
        deadband.watch(nn.Linear(1, 1), compiled="no")
