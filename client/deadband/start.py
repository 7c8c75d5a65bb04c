"""`deadband.watch`: checks what it was given and starts a `Watch`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from deadband import endings
from deadband.identity import identify, is_interactive
from deadband.settings import LOSSES, from_environment
from deadband.watching import Watch

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer

ON_WATCH: list[Callable[[], None]] = []
"""Called when the user calls `watch`: a zero-code run stands aside."""


def watch(
    model: nn.Module | Mapping[str, nn.Module] | None = None,
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    *,
    name: str | None = None,
    every: int | None = None,
    budget: float | None = 0.01,
    credit_s: float = 1.0,
    stop_on: str | None = None,
    loss: str = "",
    compiled: str = "as-is",
) -> Watch:
    """Watch a training run.

    Args:
        model: the model; or names and models that train together, as a mapping or, with an
            optimiser for each, a `ModuleDict`; or None for a loop without torch, which shows its
            arrays with `observe`.
        optimizer: the optimiser or optimisers. With them known, `step` need not be called.
        name: name of the run; the script's by default.
        every: measure every so many steps exactly; 1 is every step.
        budget: share of training time that measuring may cost, where `every` is not given.
        credit_s: seconds of measuring time to spend on every step at the start.
        stop_on: `"critical"`: raise `Collapsed` at the next step once such a flag stands.
        loss: kind of the loss, where torch does not tell: of a loop without torch, or of a loss
            written by hand; `"cross_entropy"` of logits or probabilities, `"bce"`, `"mse"`, ...
        compiled: `"as-is"`: of compiled models the outside is seen, and not a bit of training
            changes. `"eager-samples"`: sampled steps run uncompiled, and the inside is seen too;
            dropout draws and roundings of those steps are others then.

    Returns:
        The watch; call its `step(loss=loss)` once a training step.

    Raises:
        ValueError: a setting has no sense; the text names it.
        TypeError: `model` is neither a module nor a mapping of modules.
    """
    settings = from_environment(
        every=every, budget=budget, credit_s=credit_s, stop_on=stop_on, compiled=compiled
    )
    if loss and loss not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {loss!r}")
    optimizers = _listed(optimizer)
    models = _named(model)
    if len(optimizers) > 1:
        models = _apart(models)
    if settings.enabled:
        for stand_aside in ON_WATCH:
            stand_aside()
        if is_interactive():
            endings.close_those_of(models.values())
    title, run = identify(name)
    return Watch(models, optimizers, name=title, run=run, settings=settings, loss=loss)


def _named(model: Any) -> dict[str, nn.Module]:
    if model is None:
        return {}
    models = dict(model) if isinstance(model, Mapping) else {"model": model}
    torch = sys.modules.get("torch")
    for name, each in models.items():
        if torch is None or not isinstance(each, torch.nn.Module):
            raise TypeError(
                "model must be an nn.Module or a mapping of names to them, "
                f"but {name} is a {type(each).__name__}"
            )
    return models


def _apart(models: dict[str, nn.Module]) -> dict[str, nn.Module]:
    """The models within a ModuleDict, which has no forward and is never called itself."""
    from torch import nn

    if len(models) != 1:
        return models
    (whole,) = models.values()
    return dict(whole.items()) if type(whole) is nn.ModuleDict else models


def _listed(optimizer: Any) -> list[Any]:
    if optimizer is None:
        return []
    if hasattr(optimizer, "param_groups"):
        return [optimizer]
    return list(optimizer.values() if isinstance(optimizer, Mapping) else optimizer)
