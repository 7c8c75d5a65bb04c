"""SageMaker Debugger's documented built-in rules, shown whole tensors at every tenth step.

Every rule that fires is an alarm; the service tells no severities. Ten steps are what
LossNotDecreasing compares by default. The service's sample settings save every 500th step, at which
runs of some hundred steps would be seen once. The first ten steps are saved too for
PoorWeightInitialization, which looks at no others, and each step before a saved one for
WeightUpdateRatio, as its description demands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from scoreboard.peers.peer import Finding, Moment, Peer, Watcher
from scoreboard.peers.sagemaker_rules import (
    RULES,
    LossNotDecreasing,
    PoorWeightInitialization,
    Saved,
    Tensors,
)

EVERY = 10

# Beside each: what its description says that it finds. AllZero, UnchangedTensor and
# LossNotDecreasing describe without naming what for.
CAUSES = {
    # "ReLU activation functions in a trial are considered dead"
    "DeadRelu": ("dying-relu",),
    # "non-finite values, either infinite or NaN"
    "ExplodingTensor": ("numerical-overflow",),
    # "if your model parameters have been poorly initialized"; "breaks the symmetry"
    "PoorWeightInitialization": ("bad-initialisation-scale", "constant-initialisation"),
    # "tanh and sigmoid activation layers are becoming saturated"
    "SaturatedActivation": ("saturating-activation",),
    # "gradients become extremely small or drop to a zero magnitude"
    "VanishingGradient": ("depth-vanishing",),
    # "Excessively large updates ...; very small updates result in very slow convergence"
    "WeightUpdateRatio": ("learning-rate-too-high", "learning-rate-too-low"),
    # "sampling imbalances between classes"
    "ClassImbalance": ("class-imbalance",),
    # "being overfit to the training data"
    "Overfit": ("overfitting",),
    # "if input images have been correctly normalized"
    "CheckInputImages": ("unnormalised-inputs",),
}


class _Watcher:
    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._rules = {name: rule() for name, rule in RULES.items()}
        self._found: list[Finding] = []
        self._relu_inputs: dict[str, Tensor] = {}
        self._relu_outputs: dict[str, Tensor] = {}
        self._tanh_inputs: dict[str, Tensor] = {}
        self._sigmoid_inputs: dict[str, Tensor] = {}
        self._images: Tensor | None = None
        self._previous: Tensors = {}
        self._evaluates = False
        self._saves = True
        self._hooks = [model.register_forward_pre_hook(self._on_input)]
        for name, module in model.named_modules():
            self._listen(name, module)

    def before_update(self, moment: Moment) -> None:
        if moment.eval_loss is not None and not self._evaluates:
            self._evaluates = True
            self._ask_again(LossNotDecreasing.__name__)
        step = moment.step
        full = step % EVERY == 1
        if full or step <= 10 or moment.eval_loss is not None:
            self._judge(self._saved(moment), full, moment.eval_loss is not None)
        # The weights before this step's update: what the next step's are compared with.
        self._previous = self._weights() if (step + 1) % EVERY == 1 else {}
        self._saves = (step + 1) % EVERY == 1 or step + 1 <= 10
        self._forget()

    def close(self) -> Sequence[Finding]:
        for hook in self._hooks:
            hook.remove()
        self._forget()
        return self._found

    def _judge(self, saved: Saved, full: bool, evaluated: bool) -> None:
        for name, rule in list(self._rules.items()):
            early = name == PoorWeightInitialization.__name__ and saved.step <= 10
            compares = evaluated and name in ("LossNotDecreasing", "Overfit")
            if (full or early or compares) and rule.fires(saved):
                self._found.append(Finding(what=name, step=saved.step))
                del self._rules[name]  # it has said what it has to say

    def _ask_again(self, name: str) -> None:
        """Where there are evaluation losses, the rule is asked of those from the start."""
        self._found = [found for found in self._found if found.what != name]
        self._rules[name] = RULES[name]()

    def _saved(self, moment: Moment) -> Saved:
        return Saved(
            step=moment.step,
            loss=moment.loss,
            eval_loss=moment.eval_loss,
            gradients={
                name: p.grad.detach()
                for name, p in self._model.named_parameters()
                if p.grad is not None and not p.grad.is_sparse
            },
            weights=self._weights(),
            previous=self._previous,
            relu_inputs=dict(self._relu_inputs),
            relu_outputs=dict(self._relu_outputs),
            tanh_inputs=dict(self._tanh_inputs),
            sigmoid_inputs=dict(self._sigmoid_inputs),
            images=self._images,
            compared=moment.compared,
        )

    def _weights(self) -> Tensors:
        """The collection `weights`: parameters of that name, so no biases."""
        return {
            name: p.detach().clone()
            for name, p in self._model.named_parameters()
            if "weight" in name and p.requires_grad
        }

    def _forget(self) -> None:
        for kept in (
            self._relu_inputs,
            self._relu_outputs,
            self._tanh_inputs,
            self._sigmoid_inputs,
        ):
            kept.clear()
        self._images = None

    def _listen(self, name: str, module: nn.Module) -> None:
        """Activations called as modules are seen, as the service's own hook for torch sees them."""
        if isinstance(module, nn.ReLU):
            self._hooks.append(
                module.register_forward_pre_hook(self._keep(self._relu_inputs, name))
            )
            self._hooks.append(module.register_forward_hook(self._keep(self._relu_outputs, name)))
        elif isinstance(module, nn.Tanh):
            self._hooks.append(
                module.register_forward_pre_hook(self._keep(self._tanh_inputs, name))
            )
        elif isinstance(module, nn.Sigmoid):
            keep = self._keep(self._sigmoid_inputs, name)
            self._hooks.append(module.register_forward_pre_hook(keep))

    def _keep(self, where: dict[str, Tensor], name: str) -> Callable[..., None]:
        def hook(module: nn.Module, *values: Any) -> None:
            value = values[-1][0] if isinstance(values[-1], tuple) else values[-1]
            if self._saves and module.training and torch.is_grad_enabled():
                where[name] = value.detach().clone()  # some are overwritten in place

        return hook

    def _on_input(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        if not (self._saves and module.training and inputs):
            return
        first = inputs[0]
        if isinstance(first, Tensor) and first.dim() == 4 and first.is_floating_point():
            self._images = first.detach()


def _watch(model: nn.Module, _: Any) -> Watcher:
    return _Watcher(model)


PEER = Peer(
    name="SageMaker Debugger's rules",
    watch=_watch,
    causes=CAUSES,
    without={"  without LossNotDecreasing": frozenset({"LossNotDecreasing"})},
)
