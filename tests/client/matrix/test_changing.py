"""Models that change while they train, or run in other ways than forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from frames import Frames
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, vmap
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

import deadband
from deadband.watching import Watch
from deadband.wire import What
from matrix.features import Of, cross_entropy, mlp, train

FramesOf = Callable[[Watch], Frames]
WHOLE = (What.WEIGHT_BEFORE, What.WEIGHT, What.WEIGHT_GRAD, What.ACTIVATION, What.ACTIVATION_GRAD)


def classified(model: nn.Module) -> Tensor:
    return cross_entropy(model(torch.randn(5, 4)))


def headed() -> nn.Module:
    def run(self: Any, x: Tensor) -> Tensor:
        result: Tensor = self.fc(F.relu(self.body(x)))
        return result

    return Of(run, body=nn.Linear(4, 6), fc=nn.Linear(6, 3))


# --- Layers come and go --------------------------------------------------------------------------


def new_head(model: Any) -> None:
    model.fc = nn.Linear(6, 3)


def wider(model: Any) -> None:
    model.body = nn.Linear(4, 9)
    model.fc = nn.Linear(9, 3)


def larger_parameter(model: Any) -> None:
    model.body.weight = nn.Parameter(torch.randn(9, 4))
    model.body.bias = nn.Parameter(torch.zeros(9))
    model.fc = nn.Linear(9, 3)


def parametrised(model: Any) -> None:
    parametrizations.orthogonal(model.fc)


def normed(model: Any) -> None:
    parametrizations.spectral_norm(model.body)


def wrapped(model: Any) -> None:
    model.fc = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


CHANGES = {
    "a new head": (new_head, ["body", "fc"]),
    "wider layers": (wider, ["body", "fc"]),
    "a larger parameter": (larger_parameter, ["body", "fc"]),
    "a parametrisation": (parametrised, ["body", "fc"]),
    "spectral norm": (normed, ["body", "fc"]),
    "a block for a layer": (wrapped, ["body", "fc.0", "fc.2"]),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_comes_while_training_is_seen_whole(change: str, frames_of: FramesOf) -> None:
    alter, names = CHANGES[change]

    def prepare(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        if step == 2:
            alter(model)
            optimizer.param_groups[0]["params"] = [*model.parameters()]

    frames = frames_of(train(headed, classified, prepare=prepare, steps=6).watch)
    assert [each for each in frames.layers if ":" not in each and each != "fc.1"] == names
    for name in names:
        for what in WHOLE:
            assert frames.of(what, name) is not None, (name, what)
    assert frames.plan.id <= 3


def test_blocks_that_are_put_in_between_shift_the_names(frames_of: FramesOf) -> None:
    def prepare(model: Any, optimizer: torch.optim.Optimizer, step: int) -> None:
        if step == 2:
            model.insert(1, nn.Linear(8, 8))
            optimizer.param_groups[0]["params"] = [*model.parameters()]

    frames = frames_of(train(mlp, classified, prepare=prepare, steps=6).watch)
    assert frames.layers == ["0", "1", "2", "3"]
    assert [layer.kind for layer in frames.plan.layers] == ["Linear", "Linear", "Tanh", "Linear"]
    assert frames.of(What.WEIGHT_GRAD, "1") is not None


def test_a_layer_that_is_taken_out_is_forgotten(frames_of: FramesOf) -> None:
    def prepare(model: Any, optimizer: torch.optim.Optimizer, step: int) -> None:
        if step == 2:
            del model[1]

    frames = frames_of(train(mlp, classified, prepare=prepare, steps=6).watch)
    assert frames.layers == ["0", "1"]


@pytest.mark.parametrize("named", [True, False])
def test_lazy_modules_are_seen_once_they_are_made(named: bool, frames_of: FramesOf) -> None:
    def make() -> nn.Module:
        return nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.ReLU(), nn.LazyLinear(3))

    frames = frames_of(train(make, classified, named=named).watch)
    assert frames.layers == ["0", "1", "2", "3"]
    for what in WHOLE:
        assert frames.of(what, "3") is not None, what
    assert frames.plan.layers[0].fan_in == 4


def test_a_module_that_builds_itself_in_its_first_forward_is_seen(frames_of: FramesOf) -> None:
    class Late(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            if not hasattr(self, "fc"):
                self.fc = nn.Linear(x.shape[1], 3)
            result: Tensor = self.fc(x)
            return result

    def prepare(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
        optimizer.param_groups[0]["params"] = [*model.parameters()]

    frames = frames_of(
        train(lambda: nn.Sequential(nn.Linear(4, 6), Late()), classified, prepare=prepare).watch
    )
    assert frames.layers == ["0", "1.fc"]
    assert frames.of(What.WEIGHT_GRAD, "1.fc") is not None


# --- Checkpointing -------------------------------------------------------------------------------


@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpointed_part_counts_once_and_has_gradients(
    reentrant: bool, frames_of: FramesOf
) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        result: Tensor = self.head(checkpoint(self.body, self.stem(x), use_reentrant=reentrant))
        return result

    def make() -> nn.Module:
        body = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2))
        return Of(run, stem=nn.Linear(4, 6), body=body, head=nn.Linear(8, 3))

    def plain() -> nn.Module:
        model = make()
        assert isinstance(model, Of)
        model.__dict__["run"] = lambda self, x: self.head(self.body(self.stem(x)))
        return model

    frames = frames_of(train(make, classified).watch)
    assert frames.layers == ["stem", "body.0", "body.1", "head"]
    without = frames_of(train(plain, classified).watch)
    for name in frames.layers:
        for what in (What.ACTIVATION, What.ACTIVATION_GRAD):
            # Dropout is replayed with the same draws, so even the gradients are the same.
            shown, wanted = frames.held(what, name, 0), without.held(what, name, 0)
            np.testing.assert_allclose(shown, wanted, rtol=1e-5, atol=1e-7)


def test_a_part_without_gradients_is_not_taken_for_a_checkpointed_one(
    frames_of: FramesOf,
) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        with torch.no_grad():
            fixed = self.teacher(x)
        result: Tensor = self.head(fixed)
        return result

    def loss(model: nn.Module) -> Tensor:
        return classified(model) + classified(model)

    make = lambda: Of(run, teacher=nn.Linear(4, 6), head=nn.Linear(6, 3))  # noqa: E731
    ended = train(make, loss)
    frames = frames_of(ended.watch)
    assert frames.layers == ["teacher", "head"]
    assert frames.of(What.ACTIVATION_GRAD, "teacher") is None
    assert not ended.model.get_submodule("teacher")._forward_hooks or ended.watch._armed


# --- torch.func ----------------------------------------------------------------------------------


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: each.detach() for name, each in model.named_parameters()}


def pulled(model: nn.Module, slopes: dict[str, Tensor]) -> Tensor:
    """A loss whose gradients are these slopes."""
    parts = [(each * slopes[name]).sum() for name, each in model.named_parameters()]
    return torch.stack(parts).sum()


def by_grad(model: nn.Module, x: Tensor) -> Tensor:
    slopes = grad(lambda own: functional_call(model, own, (x,)).square().sum())
    return pulled(model, slopes(parameters_of(model)))


def by_sample(model: nn.Module, x: Tensor) -> Tensor:
    def one(own: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(model, own, (row[None],)).square().sum()

    slopes = vmap(grad(one), (None, 0))(parameters_of(model), x)
    return pulled(model, {name: each.mean(0) for name, each in slopes.items()})


def mapped(model: nn.Module, x: Tensor) -> Tensor:
    return vmap(lambda row: model(row).square().sum())(x).mean()


def bent(model: nn.Module, x: Tensor) -> Tensor:
    out, slope, *_ = jvp(lambda given: model(given), (x,), (torch.ones_like(x),))
    return out.square().mean() + slope.square().mean()


def jacobian(model: nn.Module, x: Tensor) -> Tensor:
    return jacrev(lambda given: model(given))(x).square().mean()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("how", [by_grad, by_sample, mapped, bent, jacobian])
def test_layers_inside_a_transform_show_their_outputs(
    how: Callable[[nn.Module, Tensor], Tensor], frames_of: FramesOf
) -> None:
    rows: list[Tensor] = []

    def loss(model: nn.Module) -> Tensor:
        rows.append(torch.randn(6, 4))
        return how(model, rows[-1])

    ended = train(mlp, loss)
    frames = frames_of(ended.watch)
    assert frames.layers == ["0", "1", "2"]
    ended.model.load_state_dict(ended.before)
    with torch.no_grad():
        out = ended.model(rows[-1])
    np.testing.assert_allclose(frames.held(What.INPUT, "model"), rows[-1])
    np.testing.assert_allclose(frames.held(What.ACTIVATION, "2"), out, rtol=1e-5, atol=1e-6)
    assert frames.of(What.WEIGHT_GRAD, "0") is not None


def test_weights_that_a_call_was_lent_are_not_taken_for_the_models_own(
    frames_of: FramesOf,
) -> None:
    model = mlp()
    own = parameters_of(model)
    watch = deadband.watch(model, every=1)
    for _ in range(4):
        x = torch.randn(6, 4)
        slopes = grad(lambda own, x=x: functional_call(model, own, (x,)).square().sum())(own)
        own = {name: each - 0.1 * slopes[name] for name, each in own.items()}
        watch.step(loss=1.0)
    frames = frames_of(watch)
    assert frames.of(What.ACTIVATION, "0") is not None
    assert frames.of(What.WEIGHT, "0") is None


# --- TorchScript ---------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("where", ["part", "root", "traced"])
def test_scripted_modules_are_layers(where: str, frames_of: FramesOf) -> None:
    def make() -> nn.Module:
        if where == "part":
            return nn.Sequential(torch.jit.script(nn.Linear(4, 8)), nn.Tanh(), nn.Linear(8, 3))
        if where == "root":
            return torch.jit.script(mlp())
        return torch.jit.trace(mlp(), torch.randn(5, 4))

    frames = frames_of(train(make, classified).watch)
    first = frames.layers[0]
    assert frames.of(What.ACTIVATION, first) is not None
    assert frames.of(What.WEIGHT_GRAD, first) is not None
    assert frames.of(What.OUTPUT, "model") is not None


# --- Functions -----------------------------------------------------------------------------------

FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "relu, in place": F.relu_,
    "relu, as a method": lambda x: x.relu(),
    "relu, in place as a method": lambda x: x.relu_(),
    "relu, of torch": torch.relu,
    "relu, by clamp": lambda x: x.clamp(min=0),
    "relu, by clamp_min": lambda x: torch.clamp_min(x, 0),
    "relu6": F.relu6,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.2])),
    "rrelu": lambda x: F.rrelu(x, training=True),
    "elu": F.elu,
    "selu": F.selu,
    "celu": F.celu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "sigmoid": torch.sigmoid,
    "sigmoid, as a method": lambda x: x.sigmoid(),
    "logsigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "tanh, in place": lambda x: x.tanh_(),
    "softplus": F.softplus,
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
    "hardtanh, by clamp": lambda x: torch.clamp(x, -1, 1),
    "hardsigmoid": F.hardsigmoid,
    "hardswish": F.hardswish,
    "softmax": lambda x: F.softmax(x, -1),
    "softmax, as a method": lambda x: x.softmax(-1),
    "log_softmax": lambda x: torch.log_softmax(x, -1),
    "glu": lambda x: F.glu(torch.cat([x, x], -1)),
    "threshold": lambda x: F.threshold(x, 0.1, 0.0),
}


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_is_named_by_its_place(function: str, frames_of: FramesOf) -> None:
    apply = FUNCTIONS[function]
    name = function.partition(",")[0]

    def run(self: Any, x: Tensor) -> Tensor:
        result: Tensor = self.two(apply(self.one(x) * 1.5))
        return result

    def make() -> nn.Module:
        return Of(run, one=nn.Linear(4, 6), two=nn.Linear(6, 3))

    frames = frames_of(train(make, classified).watch)
    assert frames.layers == ["one", f"one:{name}", "two"]
    assert frames.plan.layers[1].activation == name
    assert frames.of(What.ACTIVATION_GRAD, f"one:{name}") is not None


def test_the_same_function_twice_gets_two_names(frames_of: FramesOf) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        h = self.one(x)
        result: Tensor = self.two(torch.tanh(h) + torch.tanh(-h) * F.relu(h))
        return result

    def make() -> nn.Module:
        return Of(run, one=nn.Linear(4, 6), two=nn.Linear(6, 3))

    frames = frames_of(train(make, classified).watch)
    assert frames.layers == ["one", "one:tanh", "one:tanh:tanh", "one:tanh:tanh:relu", "two"]


def test_functions_in_a_long_loop_are_followed_as_far_as_its_layers(frames_of: FramesOf) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        for _ in range(30):
            x = torch.tanh(self.step(x))
        result: Tensor = self.head(F.relu(x))
        return result

    def make() -> nn.Module:
        return Of(run, step=nn.Linear(4, 4), head=nn.Linear(4, 3))

    frames = frames_of(train(make, classified).watch)
    assert frames.layers == [
        "step",
        "step:tanh",
        "step@step",
        "step@step:tanh",
        "step@step#3",
        "step@step#3:tanh",
        "step@step#4",
        "step@step#4:tanh",
        "head",
    ]


def test_a_layer_whose_weight_alone_is_used_says_so(frames_of: FramesOf) -> None:
    def run(self: Any, x: Tensor) -> Tensor:
        result: Tensor = self.head(F.linear(x, self.one.weight))
        return result

    def make() -> nn.Module:
        return Of(run, one=nn.Linear(4, 6), head=nn.Linear(6, 3))

    frames = frames_of(train(make, classified).watch)
    reasons = {layer.name: layer.unseen for layer in frames.plan.layers}
    assert reasons == {
        "one": "no call of it was seen; its weight may be used without it",
        "head": "",
    }
    assert frames.of(What.WEIGHT_GRAD, "one") is not None
